"""Errors that help: what happened, what was got, what was expected, what to try.

Every message has one form: `[op] what happened: got …; expected …. Try: …`. The classes are
Python's own (TypeError, ValueError, IndexError, RuntimeError), as in PyTorch, so that `except`
clauses written for it keep working.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def message(op: str, what: str, got: object = None, expected: str = "", hint: str = "") -> str:
    """The one form of all messages.

    >>> message("add", "shapes do not broadcast", "(2, 3) and (4,)", "equal dims or 1", "unsqueeze")
    '[add] shapes do not broadcast: got (2, 3) and (4,); expected equal dims or 1. Try: unsqueeze.'
    """
    text = f"[{op}] {what}"
    if got is not None:
        text += f": got {got}"
    if expected:
        text += f"; expected {expected}" if got is not None else f": expected {expected}"
    text += "."
    if hint:
        text += f" Try: {hint}."
    return text


def nearest(name: str, candidates: Iterable[str], count: int = 3) -> list[str]:
    """Names that somebody who wrote `name` may have meant, best first."""
    return difflib.get_close_matches(name, list(candidates), n=count, cutoff=0.6)


class Limit(NotImplementedError):
    """Something that this operation, transform or backend does not do, and says so."""


class LinAlgError(RuntimeError):
    """A matrix has no such factorisation, inverse or solution; the message names which one."""


class DTypeError(NotImplementedError, TypeError):
    """An operation is not defined for a dtype (PyTorch's NotImplementedError; a TypeError as well)."""


class OutOfRangeError(IndexError, RuntimeError):
    """An index out of range where PyTorch raises RuntimeError; an IndexError as well."""


class DivisionError(ZeroDivisionError, RuntimeError):
    """A division of integers by zero, where PyTorch raises RuntimeError; a ZeroDivisionError as well."""


class OutOfMemoryError(RuntimeError, MemoryError):
    """A tensor could not be allocated."""


class DataError(ValueError):
    """A file or message is damaged or not what it claims to be."""
