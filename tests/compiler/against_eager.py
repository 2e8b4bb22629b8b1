"""Running a program eagerly and compiled, call by call, and comparing everything that can be seen."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import fanal


@dataclass
class Program:
    """A function to be called again and again. `between(i)` happens before call i; `state()` is what
    can be seen besides the results; `inputs(i)` are the arguments of call i."""

    function: Callable[..., Any]
    inputs: Callable[[int], tuple[Any, ...]] = lambda i: (fanal.full((3,), float(i + 1)),)
    between: Callable[[int], None] = lambda i: None
    state: Callable[[], Any] = lambda: None
    compiled: Any = field(default=None)


def seen(x: Any) -> Any:
    """A value as bytes and plain data, so that bits are compared."""
    if isinstance(x, fanal.Tensor):
        array = np.ascontiguousarray(x.detach().numpy())
        return (str(x.dtype), tuple(x.shape), tuple(x.stride()), array.tobytes(), x.requires_grad)
    if isinstance(x, dict):
        return {k: seen(v) for k, v in x.items()}
    if isinstance(x, list | tuple):
        return [seen(v) for v in x]
    return x


def trail(
    make: Callable[[], Program], calls: int, compiled: bool, dynamic: bool | None = None
) -> tuple[list[Any], Program]:
    """What each call of a fresh program gives, and the program."""
    fanal.manual_seed(0)
    random.seed(0)
    program = make()
    function = program.function
    if compiled:
        function = program.compiled = fanal.compile(program.function, dynamic=dynamic)
    found = []
    for i in range(calls):
        program.between(i)
        result = function(*program.inputs(i))
        found.append((seen(result), seen(program.state())))
    return found, program


def check(make: Callable[[], Program], calls: int = 6, dynamic: bool | None = None) -> Program:
    """Assert that a program gives the same bits eagerly and compiled; returns the compiled one."""
    expected, _ = trail(make, calls, False)
    found, program = trail(make, calls, True, dynamic)
    for i, (a, b) in enumerate(zip(expected, found, strict=True)):
        assert a == b, f"call {i} differs: {program.compiled.history}"
    return program


def replays(program: Program) -> int:
    """How many replays there are."""
    return sum(len(kind.replays) for kind in program.compiled.kinds)


def reasons(program: Program) -> list[str]:
    """Why Python runs at every call."""
    return [kind.reason for kind in program.compiled.kinds if kind.reason]
