"""The form of a case: a layer or function, how it is made, what it is given.

A case imports neither PyTorch nor Fanal; `tests.nn.runner` runs it on either. Tensors are described
(`X`), and filled from a generator seeded by the case's key, with numbers that float32 holds exactly.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class X:
    """A tensor: kind normal, uniform (low..high), int (low..high-1), bool, or `values` themselves."""

    shape: tuple[int, ...] = ()
    kind: str = "normal"
    low: float = 0.0
    high: float = 1.0
    grad: bool = True
    values: Any = None

    def array(self, rng: np.random.Generator) -> np.ndarray:
        if self.values is not None:
            return np.array(self.values)
        if self.kind == "int":
            return rng.integers(int(self.low), int(self.high), self.shape)
        if self.kind == "bool":
            return rng.random(self.shape) < self.high
        found = rng.standard_normal(self.shape)
        if self.kind == "uniform":
            found = rng.random(self.shape) * (self.high - self.low) + self.low
        return found.astype(np.float32).astype(np.float64)


def x(*shape: int, **options: Any) -> X:
    """Normal numbers with a gradient."""
    return X(shape, **options)


def u(*shape: int, low: float = 0.0, high: float = 1.0, grad: bool = True) -> X:
    """Uniform numbers."""
    return X(shape, "uniform", low, high, grad)


def n(high: int, *shape: int, low: int = 0) -> X:
    """Integers below `high`."""
    return X(shape, "int", low, high, False)


def b(*shape: int, p: float = 0.5) -> X:
    """Bools."""
    return X(shape, "bool", 0, p, False)


def v(values: Any, grad: bool = False) -> X:
    """Given values."""
    return X(values=values, grad=grad)


@dataclass(frozen=True)
class M:
    """A layer as an argument of another."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Function:
    """A function of nn.functional as an argument."""

    name: str


@dataclass
class Case:
    """`name` is a layer ("Linear"), a function ("F.gelu"), or `body` is given."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[Any, ...] = ()
    call: dict[str, Any] = field(default_factory=dict)
    tag: str = ""
    train: bool = True
    body: Callable[..., Any] | None = None
    # Relative error against the recorded float64 numbers, and of float32 runs.
    rtol: float = 1e-9
    rtol32: float = 2e-5

    @property
    def key(self) -> str:
        return f"{self.name}/{self.tag}" if self.tag else self.name

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(self.key.encode()))


class Cases(list):  # type: ignore[type-arg]
    """A list of cases that numbers those of one name (after `prefix`)."""

    def __init__(self, prefix: str = "") -> None:
        super().__init__()
        self.prefix = prefix

    def layer(self, name: str, *args: Any, on: Any = (), call: Any = None, **options: Any) -> None:
        """A layer with constructor arguments, called on inputs."""
        fields = {k: options.pop(k) for k in ("train", "rtol", "rtol32", "tag") if k in options}
        inputs = on if isinstance(on, tuple) else (on,)
        self._add(Case(name, args, options, inputs, call or {}, **fields))

    def function(self, name: str, *inputs: Any, **options: Any) -> None:
        """A function of nn.functional."""
        fields = {k: options.pop(k) for k in ("rtol", "rtol32", "tag") if k in options}
        self._add(Case(f"F.{name}", inputs=inputs, call=options, **fields))

    def body(self, name: str, body: Callable[..., Any], *inputs: Any, **fields: Any) -> None:
        """Any function of the library and inputs."""
        self._add(Case(name, inputs=inputs, body=body, **fields))

    def _add(self, case: Case) -> None:
        if not case.tag:
            case.tag = self.prefix + str(sum(c.name == case.name for c in self))
        self.append(case)
