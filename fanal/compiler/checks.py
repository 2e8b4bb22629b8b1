"""What a replay checks, as the runtime reads it: guards as records of words and of objects.

Native code compares objects by identity, and knows dicts, lists, cells and attributes. A guard of
something else (a set, a key of an unusual class) has no such form: then Python looks at every call.
"""

from __future__ import annotations

import gc
from array import array
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from fanal.autograd.mode import mode
from fanal.backends.native.runtime.layout import (
    CHECK_ATTRIBUTE,
    CHECK_DICT,
    CHECK_GRADIENT,
    CHECK_ITEM,
    CHECK_LIST,
)
from fanal.compiler.observer.guards import MISSING, PLAIN, Guards, same
from fanal.compiler.observer.places import place_in_cells
from fanal.core import dtypes
from fanal.core.dispatch import state
from fanal.tensor.layout import Layout
from fanal.tensor.tensor import Tensor


class Inexpressible(Exception):
    """A guard that only Python can check."""


class Checks:
    """Records of what stands where now: `words` {address, word}, `entries` {code, a, b, c}. Whatever they
    name is kept alive."""

    def __init__(self) -> None:
        self.words: list[int] = []
        self.entries: list[int] = []
        self._alive: list[Any] = []

    def _named(self, x: Any) -> int:
        """The address of an object that stands somewhere; 0 for none."""
        if x is MISSING:
            return 0
        self._alive.append(x)
        return id(x)

    def _listed(self, objects: list[Any]) -> int:
        """The address of an array of objects' addresses."""
        words = array("q", [self._named(x) for x in objects])
        self._alive.append(words)
        return words.buffer_info()[0]

    def item(self, container: Any, key: Any, value: Any) -> None:
        """A dict has this value at a key, or MISSING."""
        self.entries += (CHECK_ITEM, self._named(container), self._named(key), self._named(value))

    def attribute(self, x: Any, name: str, value: Any) -> None:
        """An object has this attribute, or MISSING."""
        self.entries += (CHECK_ATTRIBUTE, self._named(x), self._named(name), self._named(value))

    def content(self, container: Any, found: list[Any]) -> None:
        """A dict holds these keys and values, in turn; or a list these items."""
        code = CHECK_DICT if type(container) is dict else CHECK_LIST
        count = len(found) // 2 if code == CHECK_DICT else len(found)
        self.entries += (code, self._named(container), self._listed(found), count)

    def gradient(self, p: Tensor, layout: Layout | None) -> None:
        """A tensor has a gradient of this layout, or none."""
        self.entries += (CHECK_GRADIENT, self._named(p), 0 if layout is None else id(layout), 0)

    def modes(self) -> None:
        """The modes of this thread, and the default dtype."""
        self.attribute(state, "tracer", None)
        self.attribute(mode, "enabled", mode.enabled)
        self.attribute(mode, "inference", mode.inference)
        self.item(vars(dtypes), "_default", dtypes.get_default_dtype())

    def guards(self, guards: Guards) -> None:
        """All guards of a call that hold now, with the objects that stand there now.

        Raises Inexpressible where native code can't look, or where one has ceased to hold."""
        for container, key, value in guards.items.values():
            if type(key) not in PLAIN:
                raise Inexpressible
            d = _dict_of(container)
            self.item(d, key, _still(d.get(key, MISSING), value))
        for cell, value in guards.cells.values():
            place = place_in_cells()
            if place is None:
                raise Inexpressible
            found = _still(_content(cell), value)
            self.words += (self._named(cell) + place, self._named(found))
        for container, snapshot in guards.contents.values():
            if type(container) is dict:
                now = [x for pair in container.items() for x in pair]
                before = [x for pair in zip(*_halves(snapshot), strict=True) for x in pair]
            elif type(container) is list:
                now, before = list(container), list(snapshot)
            else:
                raise Inexpressible
            if len(now) != len(before):
                raise Inexpressible
            self.content(container, list(map(_still, now, before)))
        for x, name, value in guards.attributes.values():
            self.attribute(x, name, _still(getattr(x, name, MISSING), value))


def _still(found: Any, value: Any) -> Any:
    if found is not value and not same(found, value):
        raise Inexpressible
    return found


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


def _halves(snapshot: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    half = len(snapshot) // 2
    return snapshot[:half], snapshot[half:]


def _dict_of(container: Mapping[Any, Any]) -> dict[Any, Any]:
    """The dict that a guard's container is, or that a class's attributes stand in."""
    if isinstance(container, dict) and type(container).get is dict.get:
        return container
    if type(container) is MappingProxyType:
        found = gc.get_referents(container)
        if len(found) == 1 and type(found[0]) is dict:
            return found[0]
    raise Inexpressible


def checked(write: Callable[[Checks], None]) -> Checks | None:
    """Checks as `write` writes them; None if there is one that only Python can make."""
    checks = Checks()
    try:
        write(checks)
    except Inexpressible:
        return None
    return checks
