"""What a captured call did, step by step, and the tree of all that its calls ever did.

A step takes values by number and makes values with the next numbers. The steps that followed one
another are a path in a tree: a call that does what an earlier one did walks along known steps, and
only what is new is taken down. Where a segment of steps was run, its programs are kept by what was
still alive then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fanal.backends.native.saved import name_of
from fanal.compiler.windows import Window
from fanal.core.dtypes import DType
from fanal.graph.digest import Unnamed, digest
from fanal.graph.ir import Builder, Graph, Value
from fanal.graph.origin import Origin
from fanal.ops.promotion import constant
from fanal.tensor.layout import Layout


class Step:
    """One step of a path; `action` is None at the beginning of a segment."""

    __slots__ = ("action", "children", "first", "origin", "runs", "start")

    def __init__(self, action: Any, first: int, start: Step | None, origin: Origin | None = None):
        self.action = action
        self.first = first  # the number of its first value
        self.start = start or self  # the beginning of its segment
        self.origin = origin
        self.children: dict[Any, Step] = {}
        self.runs: dict[Any, Any] = {}  # what is alive → program


@dataclass(frozen=True, slots=True)
class TensorInput:
    """A tensor that came from outside."""

    layout: Layout

    def make(self, b: Builder, values: Sequence[Value]) -> Sequence[Value]:
        return [b.input(self.layout.dtype, self.layout.shape)]


@dataclass(frozen=True, slots=True)
class NumberInput:
    """A Python number that is passed at run time."""

    dtype: DType

    def make(self, b: Builder, values: Sequence[Value]) -> Sequence[Value]:
        v = b.input(self.dtype, ())
        v.weak = True
        return [v]


@dataclass(frozen=True, slots=True)
class Apply:
    """A function's graph applied to values."""

    graph: Graph
    operands: tuple[int, ...]

    def make(self, b: Builder, values: Sequence[Value]) -> Sequence[Value]:
        inputs = []
        for number, wanted in zip(self.operands, self.graph.inputs, strict=True):
            inputs.append(values[number])
            assert inputs[-1].dtype is wanted.dtype and inputs[-1].shape == wanted.shape, (
                f"{inputs[-1].type} for {wanted.type} of {self.graph}"
            )
        return b.inlined(self.graph, inputs)


@dataclass(frozen=True, slots=True)
class Look:
    """A window of a region's value."""

    value: int
    window: Window

    def make(self, b: Builder, values: Sequence[Value]) -> Sequence[Value]:
        return [self.window.read(values[self.value])]


@dataclass(frozen=True, slots=True)
class Put:
    """A region's value with a window replaced."""

    value: int
    part: int
    window: Window

    def make(self, b: Builder, values: Sequence[Value]) -> Sequence[Value]:
        return [self.window.put(values[self.value], values[self.part])]


@dataclass(frozen=True, slots=True)
class Blank:
    """Memory that nobody has written to: zeros, so that results don't depend on chance."""

    layout: Layout

    def make(self, b: Builder, values: Sequence[Value]) -> Sequence[Value]:
        return [constant(0, self.layout.dtype, self.layout.shape)]


def name(path: Sequence[Step], key: Any) -> str | None:
    """A name for the program of some steps (see `backends.native.saved`), in every process the same.

    None where a graph has none.
    """
    parts = []
    try:
        for step in path:
            a = step.action
            if type(a) is Apply:
                parts.append(f"{digest(a.graph)} {a.operands}")
            else:
                parts.append(repr(a))
    except Unnamed:
        return None
    return name_of([*parts, repr(key)])


def built(path: Sequence[Step]) -> tuple[Builder, list[Value]]:
    """The graph that the steps of a segment make, and its values by number."""
    b = Builder()
    values: list[Value] = []

    def run() -> None:
        for step in path:
            b.origin = step.origin
            values.extend(step.action.make(b, values))

    b.trace(run)
    return b, values
