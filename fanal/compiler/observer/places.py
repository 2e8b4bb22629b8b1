"""Attributes in slots, compared all at once by native code: which objects stood where.

CPython keeps an object's slots at fixed places in its memory, so "these attributes of these objects
are the very objects that they were" is a comparison of words, a nanosecond each. Objects that are looked
at, and those that stood there, are kept alive, so that no address is ever used again. The places are
found by looking for a known object.
"""

from __future__ import annotations

import ctypes
import functools
from array import array
from collections.abc import Iterable
from types import CellType
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
    place = _place_within(made, kind.__basicsize__, known)
    descriptor.__delete__(made)
    return place


def known_place(kind: Any, name: str) -> int:
    """The same, of a class that nothing works without."""
    place = place_of(kind, name)
    if place is None:
        raise ImportError(f"[fanal] this Python keeps {kind.__name__}.{name} at an unknown place")
    return place


def _place_within(made: Any, size: int, known: Any) -> int | None:
    words = (ctypes.c_int64 * (size // 8)).from_address(id(made))
    found = [8 * i for i, word in enumerate(words) if word == id(known) and 8 * i >= _HEADER]
    return found[0] if len(found) == 1 else None


@functools.cache
def place_in_cells() -> int | None:
    """Where in its memory a closure's cell has its value."""
    known = _Known()
    return _place_within(CellType(known), CellType.__basicsize__, known)


class Slots:
    """Objects of one class, and what stood in some of their slots. `same()`: it still does."""

    __slots__ = ("_address", "_alive", "_count", "records")

    def __init__(self, objects: Iterable[Any], names: Iterable[str], kind: Any):
        self._alive: list[Any] = []
        self.records = array("q")  # {address, word} of each
        self.add(objects, names, kind)

    def add(self, objects: Iterable[Any], names: Iterable[str], kind: Any) -> None:
        """Compare these slots of these objects, too."""
        places = {name: known_place(kind, name) for name in names}
        for x in objects:
            for name, place in places.items():
                value = getattr(x, name)
                self._alive += (x, value)
                self.records.extend((id(x) + place, id(value)))
        self._count = len(self.records) // 2
        self._address = self.records.buffer_info()[0]

    def same(self) -> bool:
        """Whether all is as it was."""
        return runtime.same_words(self._address, self._count)
