"""Arguments of captured calls: their key, and their tensors.

Containers and dataclasses are looked into; numbers, strings and their like count by value, everything
else by identity.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from fanal.compiler.observer.guards import PLAIN
from fanal.tensor.tensor import Tensor


class Given:
    """The tensors of one call's arguments, in order."""

    __slots__ = ("tensors",)

    def __init__(self, tensors: list[Tensor]):
        self.tensors = tensors


class Arguments(Given):
    """One call's arguments. `key` is what makes calls alike, `tensors` are the leaves in order."""

    __slots__ = ("_args", "containers", "key", "objects")

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._args = None if kwargs else args
        super().__init__([])
        self.objects: list[Any] = []  # that the key names by identity
        self.containers: list[Any] = []
        key: list[Any] = []
        for a in args:
            if type(a) is Tensor:
                self.tensors.append(a)
                key.append(a._layout)
            else:
                self._add(a, key)
        for name, a in kwargs.items():
            key.append(name)
            self._add(a, key)
        storages = [t._storage for t in self.tensors]
        if len(set(map(id, storages))) < len(storages):  # some share memory
            first = {id(s): i for i, s in reversed(list(enumerate(storages)))}
            key.append(tuple(first[id(s)] for s in storages))
            key.append(tuple(t._ptr - s.ptr for t, s in zip(self.tensors, storages, strict=True)))
        self.key = tuple(key)

    def whole(self) -> set[int]:
        """The tensors, by identity, of which any view of what they are views of is one, too."""
        return {id(t) for t in self.tensors if t._layout.dense and not t._layout.grad}

    def fixed(self) -> list[tuple[Any, Any]] | None:
        """What tells calls with this key without looking into containers: of each argument, a tensor's
        class and layout, or None and the very object. None if there is more to a call, or less: tensors
        that share memory, keywords, containers."""
        if self._args is None or len({id(t._storage) for t in self.tensors}) < len(self.tensors):
            return None
        found: list[tuple[Any, Any]] = []
        for a in self._args:
            if isinstance(a, Tensor):
                found.append((type(a), a._layout))
            elif type(a) in PLAIN or any(a is x for x in self.objects):
                found.append((None, a))
            else:
                return None
        return found

    def _add(self, x: Any, key: list[Any]) -> None:
        kind = type(x)
        if isinstance(x, Tensor):
            self.tensors.append(x)
            key += (kind, x._layout)
        elif kind in PLAIN:
            key += (kind, x.hex() if kind is float else x)
        elif kind is list or kind is tuple or isinstance(x, tuple):
            self.containers.append(x)
            key += (kind, len(x))
            for y in x:
                self._add(y, key)
        elif isinstance(x, dict):
            self.containers.append(x)
            key += (kind, len(x))
            for k, y in x.items():
                self._add(k, key)
                self._add(y, key)
        elif dataclasses.is_dataclass(x) and not isinstance(x, type):
            self.containers += (x, x.__dict__) if hasattr(x, "__dict__") else (x,)
            key.append(kind)
            for field in dataclasses.fields(x):
                self._add(getattr(x, field.name, None), key)
        else:
            self.objects.append(x)
            key += (kind, id(x))
