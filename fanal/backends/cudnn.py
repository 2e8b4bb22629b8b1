"""Switches of a library that is not used here, for programs that set them."""

from __future__ import annotations

enabled = False
benchmark = False
deterministic = True
allow_tf32 = False


def is_available() -> bool:
    """Whether cuDNN is used: no."""
    return False


def version() -> None:
    """The version of cuDNN: none."""
    return None
