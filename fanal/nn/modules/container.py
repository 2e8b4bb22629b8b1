"""Modules that hold modules: in sequence, as a list, as a dictionary."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from fanal.core.epoch import Table, epoch
from fanal.core.errors import message
from fanal.nn.module import Module, indented


def numbered_text(name: str, texts: list[str]) -> str:
    """The text of a list, equal neighbours as one line `(0-3): 4 x …`."""
    if not texts:
        return f"{name}()"
    runs: list[list[Any]] = []  # [first, last, text]
    for i, text in enumerate(texts):
        if runs and runs[-1][2] == text:
            runs[-1][1] = i
        else:
            runs.append([i, i, text])
    lines = []
    for first, last, text in runs:
        line = f"({first}): {text}"
        if last > first:
            line = f"({first}-{last}): {last - first + 1} x {text}"
        lines.append(indented(line))
    return f"{name}(\n  " + "\n  ".join(lines) + "\n)"


class _Numbered(Module):
    """What Sequential and ModuleList share: children under the names "0", "1", …"""

    def _key(self, index: Any) -> str:
        """The name of a child by its number, which may be negative."""
        number = operator.index(index)
        if not -len(self) <= number < len(self):
            raise IndexError(f"index {number} is out of range")
        return next(islice(self._modules, number % len(self), None))

    def _rebuild(self, modules: Iterable[Module]) -> None:
        self.__dict__["_modules"] = Table({str(i): m for i, m in enumerate(modules)})
        epoch.count += 1

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def __dir__(self) -> list[str]:
        return [n for n in super().__dir__() if not n.isdigit()]

    def __delitem__(self, idx: slice | int) -> None:
        modules = list(self)
        if isinstance(idx, slice):
            del modules[idx]
        else:
            self._key(idx)
            del modules[idx]
        self._rebuild(modules)

    def pop(self, key: int | slice) -> Any:
        """Remove a child and return it."""
        found = self[key]  # type: ignore[index]
        del self[key]
        return found

    def append(self, module: Module) -> Any:
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def insert(self, index: int, module: Module) -> Any:
        """Insert a module before an index."""
        if not isinstance(module, Module):
            raise TypeError(
                message("insert", "not a module", type(module).__name__, "an nn.Module")
            )
        modules = list(self)
        if not -len(modules) <= index <= len(modules):
            raise IndexError(f"Index out of range: {index}")
        modules.insert(index, module)
        self._rebuild(modules)
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        """Add several modules at the end."""
        if not isinstance(modules, Iterable):
            raise TypeError(
                f"{type(self).__name__}.extend should be called with an iterable, but got "
                f"{type(modules).__name__}"
            )
        for module in list(modules):
            self.append(module)
        return self


class Sequential(_Numbered):
    """Modules called one after another, each with the output of the one before.

    `Sequential(a, b, c)`, or `Sequential(OrderedDict(name=module, …))` to name them.

    >>> nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))(x)
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], OrderedDict):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            for i, module in enumerate(args):
                self.add_module(str(i), module)

    def forward(self, input: Any) -> Any:
        for module in self._modules.values():
            input = module(input)
        return input

    def __getitem__(self, idx: slice | int) -> Any:
        if isinstance(idx, slice):
            return type(self)(OrderedDict(list(self._modules.items())[idx]))
        return self._modules[self._key(idx)]

    def __setitem__(self, idx: int, module: Module) -> None:
        setattr(self, self._key(idx), module)

    def __delitem__(self, idx: slice | int) -> None:
        keys = list(self._modules)[idx] if isinstance(idx, slice) else [self._key(idx)]
        for key in keys:
            delattr(self, key)
        self._rebuild(list(self))

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, Sequential):
            raise ValueError(
                "add operator supports only objects of Sequential class, but "
                f"{type(other).__name__} is given."
            )
        return Sequential(*self, *other)

    def __iadd__(self, other: Any) -> Any:
        if not isinstance(other, Sequential):
            raise ValueError(
                "add operator supports only objects of Sequential class, but "
                f"{type(other).__name__} is given."
            )
        return self.extend(other)

    def _times(self, other: Any) -> int:
        if not isinstance(other, int):
            raise TypeError(
                f"unsupported operand type(s) for *: {type(self)} and {type(other)}"
            )
        if other <= 0:
            raise ValueError(
                f"Non-positive multiplication factor {other} for {type(self)}"
            )
        return other

    def __mul__(self, other: int) -> Any:
        return Sequential(*(m for _ in range(self._times(other)) for m in self))

    __rmul__ = __mul__

    def __imul__(self, other: int) -> Any:
        modules = list(self)
        for _ in range(self._times(other) - 1):
            self.extend(modules)
        return self


class ModuleList(_Numbered):
    """A list of modules that are registered as children."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def __getitem__(self, idx: slice | int) -> Any:
        if isinstance(idx, slice):
            return type(self)(list(self)[idx])
        return self._modules[self._key(idx)]

    def __setitem__(self, idx: int, module: Module) -> None:
        setattr(self, self._key(idx), module)

    def __iadd__(self, modules: Iterable[Module]) -> Any:
        return self.extend(modules)

    def __add__(self, other: Iterable[Module]) -> Any:
        return ModuleList([*self, *other])

    def __repr__(self) -> str:
        return numbered_text(self._get_name(), [repr(m) for m in self])


class ModuleDict(Module):
    """A dictionary of modules that are registered as children, in order of insertion."""

    def __init__(self, modules: Any = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]
        epoch.count += 1

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: str) -> bool:
        return key in self._modules

    def clear(self) -> None:
        """Remove all modules."""
        self._modules.clear()
        epoch.count += 1

    def pop(self, key: str) -> Any:
        """Remove a module and return it."""
        found = self[key]
        del self[key]
        return found

    def keys(self) -> Any:
        """The names."""
        return self._modules.keys()

    def items(self) -> Any:
        """The names with their modules."""
        return self._modules.items()

    def values(self) -> Any:
        """The modules."""
        return self._modules.values()

    def update(self, modules: Any) -> None:
        """Add (or replace) modules from a mapping or from pairs of name and module."""
        for key, module in pairs_of("ModuleDict.update", modules):
            self[key] = module


def pairs_of(name: str, given: Any) -> list[tuple[str, Any]]:
    """(key, value) pairs of a mapping or of an iterable of pairs; raises TypeError or ValueError."""
    if isinstance(given, Mapping | ModuleDict) or hasattr(given, "items"):
        return list(given.items())
    if not isinstance(given, Iterable):
        raise TypeError(
            f"{name} should be called with an iterable of key/value pairs, but got "
            f"{type(given).__name__}"
        )
    pairs = []
    for j, pair in enumerate(given):
        if not isinstance(pair, Iterable):
            raise TypeError(
                f"{name}: sequence element #{j} should be Iterable; is {type(pair).__name__}"
            )
        both = tuple(pair)
        if len(both) != 2:
            raise ValueError(f"{name}: sequence element #{j} has length {len(both)}; 2 is required")
        pairs.append((both[0], both[1]))
    return pairs
