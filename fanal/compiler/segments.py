"""A segment of a captured function as one native program, and the call that runs it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fanal.backends.native.executable import Executable, compile_whole, launch, recalled, runtime
from fanal.backends.native.loops.expression import Load
from fanal.backends.native.program import Access
from fanal.compiler.kept import Kept
from fanal.compiler.steps import Line, NumberInput, Step, TensorInput, built
from fanal.compiler.steps import name as name_of_steps
from fanal.core.collector import held_back
from fanal.core.dtypes import DType
from fanal.core.errors import OutOfMemoryError, message
from fanal.core.stages import stage
from fanal.graph.ir import Graph, Node
from fanal.ops.passes import improved
from fanal.tensor.launching import number_bits, raise_status
from fanal.tensor.layout import Layout
from fanal.tensor.tensor import Tensor

_empty = runtime.empty


class Segment:
    """A graph as a program: some outputs are new memory (`fresh` layouts), the others replace what
    lies at `targets`: an input's number, or the layout of memory that is no input. `steady` inputs are
    taken not to change from call to call: what the program makes of them alone is kept (`kept.py`).

    `source` gives the graph and its nodes' lines; `name` names the program in every process. Where it
    is found on disk the graph is only made if somebody asks for it.
    """

    def __init__(
        self, source: Callable[[], tuple[Graph, Mapping[Node, Line | None]]], name: str | None,
        inputs: Sequence[Layout | DType], fresh: Sequence[Layout], targets: Sequence[int | Layout],
        steady: Sequence[int] = (),
    ):  # fmt: skip
        self._source = source
        loads = [
            _load(i, x) if isinstance(x, Layout) else Load(x, (), Access(i, x, (), ()), True)
            for i, x in enumerate(inputs)
        ]
        outputs = [_access(len(loads) + i, layout) for i, layout in enumerate(fresh)]
        self.sizes = [layout.nbytes for layout in fresh]
        self.others: list[int] = []  # targets whose memory is no input
        count = len(loads) + len(outputs)
        for number, target in enumerate(targets):
            if isinstance(target, Layout):
                outputs.append(_access(count, target))
                self.others.append(number)
                count += 1
            else:
                outputs.append(loads[target].access)
        found = None if name is None else recalled(name)
        self.steady = steady
        self.kept: Kept | None = None
        with held_back():
            self.executable: Executable = found or compile_whole(
                self.graph, loads, outputs, steady, name
            )

    @functools.cached_property
    def _improved(self) -> tuple[Graph, dict[Node, Line | None]]:
        graph, lines = self._source()
        with stage("passes"):
            graph, where = improved(graph)
        return graph, {node: lines.get(old) for node, old in where.items()}

    @property
    def graph(self) -> Graph:
        """What it computes, as it was lowered."""
        return self._improved[0]

    @property
    def lines(self) -> Mapping[Node, Line | None]:
        """The user's line of each node."""
        return self._improved[1]

    @classmethod
    def of(cls, path: Sequence[Step], key: Any) -> Segment:
        """The program of some steps. `key`: (value, layout) of each cell that lives on, (value,
        target) of each written region, the steady inputs."""
        alive, writes, steady = key
        path = tuple(path)

        def source() -> tuple[Graph, Mapping[Node, Line | None]]:
            with stage("graph"):
                builder, values, lines = built(path)
                graph = builder.graph([values[n] for n, _ in (*alive, *writes)])
            return graph, dict(zip(builder.nodes, lines, strict=True))

        kinds = [
            a.layout if isinstance(a, TensorInput) else a.dtype
            for a in (s.action for s in path)
            if isinstance(a, TensorInput | NumberInput)
        ]
        with stage("recall"):
            known = name_of_steps(path, key)
        fresh, targets = [layout for _, layout in alive], [t for _, t in writes]
        return cls(source, known, kinds, fresh, targets, steady)

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
        if self.kept is None or not self.kept.serves(inputs):
            self.kept = Kept(self, inputs)
        words.append(self.kept.memory_for(words))
        code = launch(self.executable.address, *words)
        if code:
            raise_status("compile", code)
        return memories


def _access(buffer: int, layout: Layout) -> Access:
    return Access(buffer, layout.dtype, layout.shape, layout.strides)


def _load(buffer: int, layout: Layout) -> Load:
    return Load(layout.dtype, layout.shape, _access(buffer, layout))
