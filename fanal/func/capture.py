"""Taking a function down for a transform: its graph, what it takes from outside, what it writes.

The function's Python runs at every call, so it may do what it likes with closures, parameters and
Python's state. What it computes is a path of steps (see `compiler.steps`); paths that are the same are the
same object, whichever function walked them, so a transform's program hangs on the end of the path and
is made once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fanal.autograd.mode import mode, no_grad
from fanal.autograd.tape import PythonNode
from fanal.compiler.regions import Region
from fanal.compiler.steps import Step, built
from fanal.compiler.trace import TraceRecorder
from fanal.compiler.traced import TracedTensor
from fanal.core.dispatch import call_eager, tracing
from fanal.core.errors import message
from fanal.graph.ir import Graph
from fanal.tensor import inplace
from fanal.tensor.layout import Layout, extent_bytes, layout
from fanal.tensor.lazy import Cell, place
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
        self.given_tensors.append(out)
        if wanted and x._current_node() is not None:
            # No leaf either, so that it may be written to; behind the node is one, as outside.
            return out._alias(PythonNode("input", (out,), _passed), 0)
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
        if type(storage) is not Cell or storage.recorder is not self:
            memory, _ = self._locate(t)
            if any(self._read_apart(t, memory)):
                raise self._mixed(t)

    def _locate(self, t: Tensor) -> tuple[Any, tuple[int, Layout]]:
        count = len(self.outside)
        found = super()._locate(t)
        if len(self.outside) > count and any(r.written for r in self._read_apart(t, found[0])):
            raise self._mixed(t)
        return found

    def _read_apart(self, t: Tensor, memory: Any) -> Iterator[Region]:
        """What is known of a tensor's elements under another name than `memory`'s."""
        low, high = _span(t)
        for other in self.outside.values():
            if other.storage is t._storage and other is not memory:
                for r in other.regions:
                    first, last = r.span()
                    if low < last and first < high:
                        yield r

    def _mixed(self, t: Tensor) -> RuntimeError:
        return RuntimeError(
            message(
                self.name, "a tensor is written to that the function also has under another name",
                tuple(t.shape), hint="giving it to the function once, as an argument",
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
                given = targets[position]
                same = [x for x in targets if x._storage is given._storage and _overlap(x, given)]
                if len(same) > 1 or any(self._read_apart(given, None)):
                    raise self._mixed(given)
                found.append(Write(given, region.number, position))
        for memory in self.outside.values():
            for region in memory.regions:
                if region.written:
                    target = region.tensor
                    assert target is not None
                    if target._layout.shape != region.layout.shape:
                        target = shared(target, region.layout)
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

    def run(self, function: Any, tensors: Sequence[Any], numbers: Sequence[int]) -> list[Tensor]:
        """Call a program whose first outputs are the values of these numbers; those that no gradient
        may follow leave the tape."""
        results = list(call_eager(function, tuple(tensors), {}))
        for i, (value, number) in enumerate(zip(results, numbers, strict=False)):
            if value._layout.grad and number not in self.taped:
                results[i] = value._alias(None, 0)
        return results

    def close(self) -> None:
        """Let go of the function's tensors (which this object and its tensors would hold in a circle)."""
        for held in (self.inputs, self.given_tensors, self.outside, self.cells, self.path):
            held.clear()

    def graph(self, numbers: Sequence[int]) -> Graph:
        """What was taken down, as a graph with these values for outputs."""
        b, values = built(self.path)
        return b.graph([values[n] for n in numbers])


def _span(t: Tensor) -> tuple[int, int]:
    """The addresses of a tensor's first and behind its last element (within its cell, if lazy)."""
    start = place(t) if type(t._storage) is Cell else t._ptr
    low, high = extent_bytes(t._layout.shape, t._layout.strides, t._layout.dtype.itemsize)
    return start + low, start + high


def _overlap(a: Tensor, b: Tensor) -> bool:
    (low, high), (first, last) = _span(a), _span(b)
    return low < last and first < high


def _passed(grad: Any) -> tuple[Any]:
    return (grad,)




def write_back(writes: Sequence[Write], values: Sequence[Tensor]) -> None:
    """Make the writes of a function that was taken down."""
    for write, value in zip(writes, values, strict=True):
        target = write.target
        if target._layout.grad and target._current_node() is None:
            with no_grad():  # as it was written to: otherwise it would have been refused
                inplace.copy_(target, value)
        else:
            inplace.copy_(target, value)
