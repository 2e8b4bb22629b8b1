"""Names for the tensors that a function holds: paths from its module, its closure, its globals.

A module's tensors have the keys of its `state_dict`. In a function, the variable comes in front:
`model.fc.weight`. An optimiser's states are named by their parameter: `optimizer.model.fc.weight.exp_avg`.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping
from typing import Any

from fanal.nn import Module
from fanal.optim.optimizer import Optimizer
from fanal.random.generator import Generator
from fanal.tensor.layout import extent_bytes
from fanal.tensor.tensor import Tensor

_DEEP = 3  # how many containers and objects are looked into


class Names:
    """Names by object. Those of earlier functions come first, so that shared tensors keep theirs."""

    def __init__(self) -> None:
        self._tensors: dict[Any, tuple[str, Tensor]] = {}
        self._in: dict[int, list[Tensor]] = {}  # by the identity of their memory
        self._owners: dict[int, tuple[str, Any]] = {}
        self._taken: set[str] = set()
        self._states: list[tuple[str, str, Tensor]] = []  # of optimisers: owner, key, tensor

    def add(self, function: Any) -> None:
        """Name what a function (or a module) holds."""
        if isinstance(function, Module):
            self._module("", function)
            return
        optimisers: list[tuple[str, Optimizer]] = []
        for name, value in _variables(function):
            self._visit(name, value, optimisers, _DEEP)
        for name, optimiser in optimisers:
            self._optimiser(name, optimiser)

    def of(self, t: Tensor, kind: str = "tensor") -> str:
        """The name of a tensor; one that is held by no way that is known gets a number."""
        found = self._tensors.get(_key(t))
        if found is not None:
            return found[0]
        # States that lie side by side are one tensor to an optimiser's step: optimizer.step.
        for owner, key, state in self._states:
            if state._storage is t._storage:
                return self._tensor(f"{owner}.{key}", t)
        return self._tensor(kind, t)

    def around(self, t: Tensor) -> Tensor | None:
        """What a tensor is a part of: what it is a view of, or something with a name that holds it."""
        base = None if t._rare is None else t._rare.base
        while base is not None and base._storage is t._storage:
            t, base = base, None if base._rare is None else base._rare.base
        span = _span(t)
        for other in self._in.get(id(t._storage), ()):
            if other._storage is t._storage and _span(other)[0] <= span[0] and span[1] <= _span(other)[1]:
                return other
        return t

    def owner(self, x: Any, otherwise: str) -> str:
        """The name of an optimiser or a generator."""
        found = self._owners.get(id(x))
        if found is None:
            found = self._owners[id(x)] = (self._free(otherwise), x)
        return found[0]

    # -- looking ------------------------------------------------------------------------------------

    def _visit(self, name: str, x: Any, optimisers: list[tuple[str, Optimizer]], deep: int) -> None:
        if isinstance(x, Tensor):
            self._tensor(name, x)
        elif isinstance(x, Module):
            self._module(name, x)
        elif isinstance(x, Optimizer):
            optimisers.append((name, x))
        elif isinstance(x, Generator):
            self._owners.setdefault(id(x), (name, x))
        elif deep == 0:
            return
        elif isinstance(x, Mapping):
            for key, value in x.items():
                self._visit(f"{name}.{key}", value, optimisers, deep - 1)
        elif isinstance(x, list | tuple):
            for i, value in enumerate(x):
                self._visit(f"{name}.{i}", value, optimisers, deep - 1)
        elif isinstance(x, types.FunctionType | functools.partial | types.MethodType):
            for inner, value in _variables(x):
                self._visit(inner, value, optimisers, deep - 1)
        elif type(x).__module__ != "builtins" and isinstance(getattr(x, "__dict__", None), dict):
            for key, value in vars(x).items():
                if isinstance(value, Tensor | Module | Optimizer | Generator):
                    self._visit(f"{name}.{key}", value, optimisers, deep - 1)

    def _module(self, prefix: str, m: Module) -> None:
        dot = f"{prefix}." if prefix else ""
        for name, t in (*m.named_parameters(), *m.named_buffers()):
            self._tensor(dot + name, t)
        for name, inner in m.named_modules():  # other tensors that modules hold
            for key, value in vars(inner).items():
                if isinstance(value, Tensor):
                    self._tensor(f"{dot}{name}{'.' if name else ''}{key}", value)

    def _optimiser(self, name: str, optimiser: Optimizer) -> None:
        if id(optimiser) in self._owners:
            return
        self._owners[id(optimiser)] = (name, optimiser)
        begin = getattr(optimiser, "begin", None)
        if begin is not None:
            begin()
        for group in optimiser.param_groups:
            for p in group["params"]:
                for key, value in optimiser.state.get(p, {}).items():
                    if isinstance(value, Tensor):
                        self._states.append((name, key, value))
                        self._tensor(f"{name}.{self.of(p, 'parameter')}.{key}", value)

    def _tensor(self, name: str, t: Tensor) -> str:
        found = self._tensors.get(_key(t))
        if found is None:
            found = self._tensors[_key(t)] = (self._free(name), t)
            self._in.setdefault(id(t._storage), []).append(t)
        return found[0]

    def _free(self, name: str) -> str:
        free, number = name, 1
        while free in self._taken:
            number += 1
            free = f"{name}_{number}"
        self._taken.add(free)
        return free


def _span(t: Tensor) -> tuple[int, int]:
    layout = t._layout
    low, high = extent_bytes(layout.shape, layout.strides, layout.dtype.itemsize)
    return t._ptr + low, t._ptr + high


def _key(t: Tensor) -> Any:
    layout = t._layout
    return id(t._storage), t._ptr, layout.dtype, layout.shape, layout.strides


def _variables(function: Any) -> Iterator[tuple[str, Any]]:
    """What a function can see: its own object's attributes, its closure, the globals that it names."""
    if isinstance(function, functools.partial):
        for i, x in enumerate((*function.args, *function.keywords.values())):
            yield f"argument_{i}", x
        yield from _variables(function.func)
        return
    if isinstance(function, types.MethodType):
        yield "self", function.__self__
        function = function.__func__
    inner = getattr(function, "function", None)  # of a compiled function
    if not isinstance(function, types.FunctionType):
        if inner is not None:
            yield from _variables(inner)
        else:
            yield type(function).__name__.lower(), function
        return
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not filled yet
            continue
    for name in _global_names(code):
        if name in function.__globals__:
            value = function.__globals__[name]
            if not isinstance(value, types.ModuleType | type):
                yield name, value


def _global_names(code: types.CodeType) -> list[str]:
    found = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found += _global_names(constant)
    return list(dict.fromkeys(found))
