"""Attributes in slots, compared all at once by native code: which objects stood where.

CPython keeps an object's slots at fixed places in its memory, so "these attributes of these objects
are the very objects that they were" is a comparison of words, a nanosecond each. Objects that are looked
at, and those that stood there, are kept alive, so that no address is ever used again. The places are
found by looking for a known object; where that fails, nothing is known and the caller looks itself.
"""

from __future__ import annotations

import ctypes
import functools
from array import array
from collections.abc import Iterable
from typing import Any

from fanal.backends.native.executable import runtime

_HEADER = 16  # of every object: its reference count and class


class _Known:
    """An object that is looked for."""


@functools.cache
def place_of(kind: Any, name: str) -> int | None:
    """Where in an instance's memory a slot lies; None where that can't be told."""
    made, known = kind.__new__(kind), _Known()
    descriptor: Any = next((c.__dict__[name] for c in kind.__mro__ if name in c.__dict__), None)
    try:
        descriptor.__set__(made, known)
    except (AttributeError, TypeError):
        return None
    words = (ctypes.c_int64 * (kind.__basicsize__ // 8)).from_address(id(made))
    found = [8 * i for i, word in enumerate(words) if word == id(known) and 8 * i >= _HEADER]
    descriptor.__delete__(made)
    return found[0] if len(found) == 1 else None


class Slots:
    """Objects of one class, and what stood in some of their slots. `same()`: it still does."""

    __slots__ = ("_address", "_alive", "_count", "_records")

    def __init__(self, objects: Iterable[Any], names: Iterable[str], kind: Any):
        records: list[int] = []
        self._alive: list[Any] = []
        places = {name: place_of(kind, name) for name in names}
        for x in objects:
            for name, place in places.items():
                value = getattr(x, name)
                self._alive += (x, value)
                records += (0 if place is None else id(x) + place, id(value))
        self._count = len(records) // 2 if None not in places.values() else -1
        self._records = array("q", records or [0])
        self._address = self._records.buffer_info()[0]

    def same(self) -> bool:
        """Whether all is as it was; False also where only the caller can tell."""
        return self._count >= 0 and runtime.same_words(self._address, self._count)
