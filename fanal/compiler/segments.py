"""A segment of a captured function as one native program, and the call that runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.backends.native.executable import Executable, compile_whole, launch, runtime
from fanal.backends.native.loops.expression import Load
from fanal.backends.native.program import Access
from fanal.compiler.steps import Step, TensorInput, built
from fanal.core.errors import OutOfMemoryError, message
from fanal.graph.ir import Graph
from fanal.tensor.launching import number_bits, raise_status
from fanal.tensor.layout import Layout
from fanal.tensor.tensor import Tensor

_empty = runtime.empty


class Segment:
    """The program of some steps, for what is alive and written when they are run.

    `key`: (value, layout) of each cell that lives on, (value, target) of each written region, where
    a target is an input's number or the layout of memory that is no input.
    """

    def __init__(self, path: Sequence[Step], key: Any, inputs: Sequence[Any]):
        alive, writes = key
        builder, values, lines = built(path)
        self.lines = dict(zip(builder.nodes, lines, strict=True))
        self.graph: Graph = builder.graph(
            [values[n] for n, _ in alive] + [values[n] for n, _ in writes]
        )
        actions = [s.action for s in path]
        layouts = [a.layout for a in actions if isinstance(a, TensorInput)]
        loads, found = [], iter(layouts)
        for i, (value, given) in enumerate(zip(self.graph.inputs, inputs, strict=True)):
            if isinstance(given, Tensor):
                loads.append(_load(i, next(found)))
            else:
                loads.append(Load(value.dtype, (), Access(i, value.dtype, (), ()), True))
        outputs = []
        self.sizes = [layout.nbytes for _, layout in alive]
        self.others: list[int] = []  # written regions whose memory is no input
        count = len(loads)
        for _, layout in alive:
            outputs.append(_access(count, layout))
            count += 1
        for number, (_, target) in enumerate(writes):
            if isinstance(target, Layout):
                outputs.append(_access(count, target))
                self.others.append(number)
                count += 1
            else:
                outputs.append(loads[target].access)
        self.executable: Executable = compile_whole(self.graph, loads, outputs)

    def run(self, inputs: Sequence[Any], written: Sequence[Tensor]) -> list[Any]:
        """Launch; returns the memory of the cells that live on."""
        try:
            memories = [_empty(n) for n in self.sizes]
        except MemoryError as error:
            raise OutOfMemoryError(
                message("compile", "not enough memory for the results", f"{sum(self.sizes)} bytes",
                        hint="a smaller batch")
            ) from error
        words = [x._ptr if isinstance(x, Tensor) else number_bits(x) for x in inputs]
        words += memories
        words += [written[i]._ptr for i in self.others]
        code = launch(self.executable.address, *words)
        if code:
            raise_status("compile", code)
        return memories


def _access(buffer: int, layout: Layout) -> Access:
    return Access(buffer, layout.dtype, layout.shape, layout.strides)


def _load(buffer: int, layout: Layout) -> Load:
    return Load(layout.dtype, layout.shape, _access(buffer, layout))
