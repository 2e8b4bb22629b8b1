"""Apple's GPUs, which are not used here."""

from __future__ import annotations


def is_available() -> bool:
    """Whether there is such a device: no."""
    return False


def is_built() -> bool:
    """Whether this program could use one: no."""
    return False
