"""What a captured call returns, to be made again from other tensors."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from fanal.compiler.arguments import Arguments
from fanal.compiler.observer.guards import PLAIN, same
from fanal.compiler.observer.watch import Observer
from fanal.core.symbols import example_of
from fanal.tensor.tensor import Tensor


class Unknown(Exception):
    """A result that can't be made again."""


class Result:
    """The shape of a result: containers with places for tensors. `tensors` are those of this call, until
    `forget`."""

    def __init__(self, result: Any, given: Arguments, observer: Observer):
        self.tensors: list[Tensor] = []
        self._arguments = {id(t): i for i, t in enumerate(given.tensors)}
        self._old = observer.is_old
        self._values = observer.values
        self._plan = self._planned(result)

    def _planned(self, x: Any) -> Any:
        kind = type(x)
        if isinstance(x, Tensor):
            if id(x) in self._arguments:
                return ("argument", self._arguments[id(x)])
            if self._old(x):
                return ("object", x)
            for i, t in enumerate(self.tensors):
                if t is x:
                    return ("tensor", i)
            self.tensors.append(x)
            return ("tensor", len(self.tensors) - 1)
        slot = self._values.slot(x)
        if slot is not None:
            return ("value", slot)
        if kind in PLAIN or self._old(x):
            return ("object", x)
        if isinstance(x, dict):
            if kind is not dict:
                raise Unknown(kind)
            return ("dict", list(x), [self._planned(y) for y in x.values()])
        if kind is list or kind is tuple:
            return (kind.__name__, [self._planned(y) for y in x])
        if isinstance(x, tuple) and hasattr(kind, "_fields"):
            return ("named", kind, [self._planned(y) for y in x])
        if dataclasses.is_dataclass(x) and hasattr(x, "__dict__"):
            names = list(x.__dict__)
            return ("data", kind, names, [self._planned(y) for y in x.__dict__.values()])
        raise Unknown(kind)

    def tensors_like(self, result: Any, arguments: Sequence[Any]) -> tuple[list[Tensor], Result]:
        """The tensors of another result of the same shape, and a result with its numbers (which may
        follow from symbols). `arguments`: what was given in the call's place. Raises Unknown if it is
        of another shape."""
        tensors: dict[int, Tensor] = {}

        def plan_of(plan: Any, x: Any) -> Any:
            what, inside = plan[0], plan[-1]
            if what == "tensor" and isinstance(x, Tensor) and tensors.setdefault(inside, x) is x:
                return plan
            if what == "argument" and x is arguments[inside]:
                return plan
            if what == "object" and (x is inside or same(example_of(x), inside)):
                return ("object", x)
            if what == "dict" and list(x) == plan[1]:
                x = list(x.values())
            elif what == "data" and list(x.__dict__) == plan[2]:
                x = list(x.__dict__.values())
            elif what not in ("list", "tuple", "named"):
                raise Unknown(type(x))
            if len(x) != len(inside):
                raise Unknown(type(x))
            return (*plan[:-1], [plan_of(p, y) for p, y in zip(inside, x, strict=True)])

        made = copy.copy(self)
        made._plan = plan_of(self._plan, result)
        return [tensors[i] for i in range(len(tensors))], made

    def sized(self, value: Callable[[Any], Any]) -> Result:
        """The same with its numbers as `value` says."""

        def plan_of(plan: Any) -> Any:
            if plan[0] == "object":
                return ("object", value(plan[1]))
            if plan[0] in ("tensor", "argument"):
                return plan
            return (*plan[:-1], [plan_of(p) for p in plan[-1]])

        made = copy.copy(self)
        made._plan = plan_of(self._plan)
        return made

    def forget(self) -> None:
        """Hold on to nothing of this call but its shape."""
        self.tensors, self._arguments = [], {}
        del self._old, self._values

    def again(
        self, tensors: list[Tensor], given: Sequence[Tensor], values: Sequence[Any] = ()
    ) -> Any:
        """The result with other tensors in the places of this call's, of the arguments that it was
        given, and other numbers in the places of values that it asked for."""

        def make(plan: Any) -> Any:
            what = plan[0]
            if what == "tensor":
                return tensors[plan[1]]
            if what == "object":
                return plan[1]
            if what == "argument":
                return given[plan[1]]
            if what == "value":
                return values[plan[1]]
            if what == "list":
                return [make(p) for p in plan[1]]
            if what == "tuple":
                return tuple(make(p) for p in plan[1])
            if what == "dict":
                return dict(zip(plan[1], map(make, plan[2]), strict=True))
            if what == "named":
                return plan[1](*map(make, plan[2]))
            made = object.__new__(plan[1])
            made.__dict__.update(zip(plan[2], map(make, plan[3]), strict=True))
            return made

        return make(self._plan)

    @property
    def is_tensor(self) -> bool:
        """Whether it is one tensor and nothing else."""
        return bool(self._plan[0] == "tensor")
