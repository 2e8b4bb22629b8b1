"""What is said of programs that can't be read."""

from __future__ import annotations

from fanal.core.errors import DataError, message


def damaged(what: str, got: object = None, expected: str = "") -> DataError:
    """The error for a program that no version of this package writes."""
    return DataError(message("load", f"the program is damaged: {what}", got, expected))
