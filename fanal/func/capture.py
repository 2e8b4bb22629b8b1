"""Taking a function down for a transform: its graph, what it takes from outside, what it writes.

The function's Python runs at every call, so it may do what it likes with closures, parameters and
Python's state. What it computes is a path of steps (see `compiler.steps`); paths that are the same are the
same object, whichever function walked them, so a transform's program hangs on the end of the path and
is made once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fanal.autograd.mode import mode
from fanal.autograd.tape import PythonNode
from fanal.compiler.steps import Step, built
from fanal.compiler.trace import TracedTensor, TraceRecorder
from fanal.core.dispatch import call_eager, tracing
from fanal.core.errors import message
from fanal.graph.ir import Graph
from fanal.tensor import inplace
from fanal.tensor.lazy import Cell
from fanal.tensor.layout import Layout, layout
from fanal.tensor.tensor import Tensor, shared

_PROGRAMS = 4000  # kept before all are forgotten


class _Paths:
    """The beginning of all paths."""

    root = Step(None, 0, None)
    programs = 0


class Write:
    """A tensor that the function wrote to: the tensor outside, and the number of its value.

    `position`: which of the given tensors it is; None for one from a closure.
    """

    __slots__ = ("number", "position", "target")

    def __init__(self, target: Tensor, number: int, position: int | None):
        self.target, self.number, self.position = target, number, position


class Capture(TraceRecorder):
    """One call of a function, taken down.

    >>> with capture.running():
    ...     result = function(capture.input(x), ...)
    """

    def __init__(self, name: str, randomness: str = "same"):
        super().__init__(name, _Paths.root)
        self.randomness = randomness
        self.given_tensors: list[Tensor] = []

    def input(self, x: Tensor, shape: tuple[int, ...], known: bool, moving: bool) -> Tensor:
        """An input in the place of a tensor: of this shape, with x's place on the tape.

        `known`: its elements are x's. `moving`: the transform derives with respect to it.
        """
        wanted = x._layout.grad and mode.enabled
        kind = layout(x.dtype, shape).wanting(wanted)
        value = x if known else None
        out = self.given(kind, value, moving or isinstance(x, TracedTensor))
        if wanted and x._current_node() is not None:
            out._node = PythonNode("input", (), _nothing)
        self.given_tensors.append(out)
        return out

    def running(self) -> tracing:
        """The block in which calls are taken down."""
        return tracing(self)  # type: ignore[arg-type]

    def drawn(self, generator: Any, key: Tensor) -> None:
        if self.randomness == "error":
            raise RuntimeError(
                "vmap: called random operation while in randomness error mode. Please either use the "
                "'same' or 'different' randomness flags on vmap or perform the randomness operation "
                "out of vmap"
            )
        super().drawn(generator, key)

    def _check_write(self, t: Tensor) -> None:
        # Unlike in a traced function in general, writes to tensors from outside are made afterwards.
        storage = t._storage
        if type(storage) is Cell and storage.recorder is self:
            self._check_past(t, storage)
            return
        memory, _ = self._locate(t)
        others = [m for m in self.outside.values() if m.storage is storage and m is not memory]
        if any(m.regions for m in others):
            raise self._mixed(t)
        self._check_past(t, memory)

    def _locate(self, t: Tensor) -> tuple[Any, tuple[int, Layout]]:
        count = len(self.outside)
        found = super()._locate(t)
        if len(self.outside) > count:
            self._check_apart(t, found[0])
        return found

    def _check_apart(self, t: Tensor, memory: Any) -> None:
        """Refuse to read a memory under one name that was written to under another."""
        for other in self.outside.values():
            same = other.storage is memory.storage and other is not memory
            if same and any(r.written for r in other.regions):
                raise self._mixed(t)

    def _mixed(self, t: Tensor) -> RuntimeError:
        return RuntimeError(
            message(
                self.name, "a tensor from outside is written to, and read with a gradient",
                tuple(t.shape), hint="giving it to the function as an argument",
            )
        )  # fmt: skip

    def captured(self) -> list[Any]:
        """What the function took from outside: the further inputs."""
        return self.inputs[len(self.given_tensors) :]

    def writes(self, targets: Sequence[Tensor]) -> list[Write]:
        """The tensors written to; `targets` are those that the inputs stand for."""
        self.ended = True
        found = []
        for position, t in enumerate(self.given_tensors):
            region = t._storage.regions[0]
            if region.written:
                found.append(Write(targets[position], region.number, position))
        for memory in self.outside.values():
            for region in memory.regions:
                if region.written:
                    t = region.tensor
                    whole = t._layout.shape == region.layout.shape
                    target = t if whole else shared(t, region.layout)
                    found.append(Write(target, region.number, None))
        return found

    def program(self, key: Any, make: Callable[[], Any]) -> Any:
        """The program of a transform for this path; made when it is first walked."""
        found = self.at.runs.get(key)
        if found is None:
            found = self.at.runs[key] = make()
            _Paths.programs += 1
            if _Paths.programs > _PROGRAMS:
                _Paths.root, _Paths.programs = Step(None, 0, None), 0
        return found

    def graph(self, numbers: Sequence[int]) -> Graph:
        """What was taken down, as a graph with these values for outputs."""
        b, values, _ = built(self.path)
        return b.graph([values[n] for n in numbers])


def _nothing(grad: Any) -> tuple[()]:
    return ()


def run(function: Any, tensors: Sequence[Any]) -> Sequence[Tensor]:
    """Call a program made by a transform."""
    results: Sequence[Tensor] = call_eager(function, tuple(tensors), {})
    return results


def write_back(writes: Sequence[Write], values: Sequence[Tensor]) -> None:
    """Make the writes of a function that was taken down."""
    for write, value in zip(writes, values, strict=True):
        inplace.copy_(write.target, value)
