"""What a captured call read from outside: if it reads the same again, it does the same again.

A guard compares one place (a global, an attribute, an item, a cell, the contents of a container) with
what stood there. Objects are compared by identity; numbers, strings and their like by type and value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import is_
from types import CellType
from typing import Any

MISSING = object()
PLAIN = frozenset({int, float, bool, str, bytes, complex, type(None), type(Ellipsis)})


def same(a: Any, b: Any) -> bool:
    """Whether two values are one object, or plain values that nothing tells apart."""
    if a is b:
        return True
    kind = type(a)
    if kind is not type(b):
        return False
    if kind is float:
        return a.hex() == b.hex()
    if kind in PLAIN:
        return bool(a == b)
    return kind is tuple and len(a) == len(b) and all(map(same, a, b))


class Guards:
    """The guards of one captured call. `failed` tells the first that does not hold."""

    __slots__ = ("attributes", "cells", "contents", "items", "named")

    def __init__(self) -> None:
        self.items: dict[tuple[int, Any], tuple[Mapping[Any, Any], Any, Any]] = {}
        self.cells: dict[int, tuple[CellType, Any]] = {}
        self.contents: dict[int, tuple[Any, tuple[Any, ...]]] = {}
        self.attributes: dict[tuple[int, str], tuple[Any, str, Any]] = {}
        self.named: dict[Any, str] = {}  # what to call a guard by when it fails

    def after(self) -> Guards:
        """Guards of what is read from now on, for the first time in this call."""
        made = Guards()
        made.named = self.named
        return made

    def __len__(self) -> int:
        return len(self.items) + len(self.cells) + len(self.contents) + len(self.attributes)

    def item(self, container: Mapping[Any, Any], key: Any, name: str) -> None:
        """`container[key]` is what it is now (perhaps missing)."""
        place = (id(container), key)
        if place not in self.named:
            self.items[place] = (container, key, container.get(key, MISSING))
            self.named[place] = name

    def cell(self, cell: CellType, name: str) -> None:
        """A closure's variable is what it is now."""
        if id(cell) not in self.named:
            try:
                value = cell.cell_contents
            except ValueError:
                value = MISSING
            self.cells[id(cell)] = (cell, value)
            self.named[id(cell)] = name

    def content(self, container: Any, name: str) -> None:
        """A list, set or dict holds what it holds now."""
        if id(container) not in self.named:
            self.contents[id(container)] = (container, _snapshot(container))
            self.named[id(container)] = name

    def attribute(self, x: Any, attribute: str, name: str) -> None:
        """An attribute that is in no dict (a slot, a function's defaults) is what it is now."""
        place = (id(x), attribute)
        if place not in self.named:
            self.attributes[place] = (x, attribute, getattr(x, attribute, MISSING))
            self.named[place] = name

    def failed(self) -> str | None:
        """What has changed; None if nothing has."""
        for place, (container, key, value) in self.items.items():
            found = container.get(key, MISSING)
            if found is not value and not same(found, value):
                return f"{self.named[place]} changed: {_short(value)} → {_short(found)}"
        for place_, (cell, value) in self.cells.items():
            try:
                found = cell.cell_contents
            except ValueError:
                found = MISSING
            if found is not value and not same(found, value):
                return f"{self.named[place_]} changed: {_short(value)} → {_short(found)}"
        for place_, (container, snapshot) in self.contents.items():
            if not _holds(container, snapshot):
                return f"the contents of {self.named[place_]} changed"
        for place, (x, name, value) in self.attributes.items():
            found = getattr(x, name, MISSING)
            if found is not value and not same(found, value):
                return f"{self.named[place]} changed: {_short(value)} → {_short(found)}"
        return None


def _snapshot(container: Any) -> tuple[Any, ...]:
    if isinstance(container, Mapping):
        return (*container.keys(), *container.values())
    return tuple(container)


def _holds(container: Any, snapshot: tuple[Any, ...]) -> bool:
    if isinstance(container, Mapping):
        if 2 * len(container) != len(snapshot):
            return False
        now: Iterable[Any] = (*container.keys(), *container.values())
    elif len(container) != len(snapshot):
        return False
    else:
        now = container
    return all(map(is_, now, snapshot)) or all(map(same, now, snapshot))


def _short(value: Any) -> str:
    if value is MISSING:
        return "missing"
    text = repr(value) if type(value) in PLAIN else f"<{type(value).__name__}>"
    return text if len(text) <= 60 else text[:57] + "..."
