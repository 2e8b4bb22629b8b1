"""A segment of a captured function as one native program, and the call that runs it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fanal.backends.native.executable import (
    Executable,
    compile_whole,
    launch,
    outline_of,
    runtime,
)
from fanal.backends.native.loops.expression import Load
from fanal.backends.native.outline import Written
from fanal.backends.native.pages import Pages
from fanal.backends.native.program import Access
from fanal.compiler.kept import Kept, steady_storages
from fanal.compiler.rounding import EXACT, Rounding
from fanal.compiler.samples import Samples
from fanal.compiler.steps import NumberInput, Step, TensorInput, built, name
from fanal.core.collector import held_back
from fanal.core.dtypes import DType
from fanal.core.errors import OutOfMemoryError, message
from fanal.core.stages import stage
from fanal.graph.ir import Graph
from fanal.ops.passes import Fired, improved
from fanal.tensor.launching import number_bits, raise_status
from fanal.tensor.layout import Layout
from fanal.tensor.tensor import Tensor

if TYPE_CHECKING:
    from fanal.compiler.gradient import CapturedGradient

_empty = runtime.empty
# Makes a program for inputs and outputs that lie so; the last argument describes it, if asked.
Program = Callable[[Sequence[Load], Sequence[Access], Callable[[], Written]], Executable]


class Segment:
    """A graph as a program: some outputs are new memory (`fresh` layouts), the others replace what
    lies at `targets`: an input's number, or the layout of memory that is no input. `steady` inputs are
    taken not to change from call to call: what the program makes of them alone is kept (`kept.py`).
    `rounding`: what may differ from eager mode's.

    `place` names all of this in every process. Where a program is found on disk under it, the graph,
    which `source` makes, only comes into being if somebody asks for it.
    """

    def __init__(
        self, source: Callable[[], Graph], place: str | None, inputs: Sequence[Layout | DType],
        fresh: Sequence[Layout], targets: Sequence[int | Layout], steady: Sequence[int] = (),
        rounding: Rounding = EXACT, program: Program | None = None,
    ):  # fmt: skip
        self._source, self._rounding = source, rounding
        loads, outputs = frame(inputs, fresh, targets)
        self.fresh = list(fresh)
        self.sizes = [layout.nbytes for layout in fresh]
        # Targets whose memory is no input.
        self.others = [n for n, target in enumerate(targets) if isinstance(target, Layout)]
        self.steady = steady
        self._kept: Kept | None = None
        with held_back():
            if program is None:
                self.executable: Executable = compile_whole(
                    lambda: self.graph, loads, outputs, "compiled", steady, place
                )
            else:
                self.executable = program(
                    loads, outputs,
                    lambda: outline_of(self.graph, *frame(inputs, fresh, targets), steady).written(),
                )  # fmt: skip
        self.samples = Samples()
        self.gradient: CapturedGradient | None = None  # whose forward program it is

    @functools.cached_property
    def _improved(self) -> tuple[Graph, Fired]:
        graph = self._source()
        with stage("passes"):
            return rounded(graph, self.steady, self._rounding)

    @property
    def graph(self) -> Graph:
        """What is computed, after all passes."""
        return self._improved[0]

    @property
    def rewrites(self) -> Fired:
        """How often each pass changed the graph."""
        return self._improved[1]

    def named(self, name: str) -> Segment:
        """The same, of a user's function: what profiles call it, and that its kernels are of interest."""
        for table in (self.executable, self.executable.early):
            if table is not None:
                table.name, table.captured = name, True
        if self.executable.early is not None:
            self.executable.early.name += " (kept)"
        return self

    @classmethod
    def of(cls, path: Sequence[Step], key: Any, rounding: Rounding = EXACT) -> Segment:
        """The program of some steps. `key`: (value, layout) of each cell that lives on, (value,
        target) of each written region, the steady inputs."""
        alive, writes, steady = key
        path = tuple(path)

        def source() -> Graph:
            with stage("graph"):
                builder, values = built(path)
                return builder.graph([values[n] for n, _ in (*alive, *writes)])

        kinds = inputs_of(path)
        fresh, targets = [layout for _, layout in alive], [t for _, t in writes]
        with stage("recall"):
            place = name(path, (key, rounding))
        return cls(source, place, kinds, fresh, targets, steady, rounding)

    def kept_for(self, inputs: Sequence[Any]) -> Kept:
        """What the program keeps between calls with these steady inputs: that of the last call, if it
        had the same ones."""
        if self._kept is None or not self._kept.serves(inputs):
            self._kept = Kept(self, steady_storages(self, inputs))
        return self._kept

    def share_kept(self, pages: Pages) -> None:
        """Hold what is kept between calls in pages that others have too."""
        if self._kept is not None:
            self._kept.share(pages)

    def launch(self, words: list[Any]) -> int:
        """Run on words and memories; the first few times are timed."""
        address = self.executable.address

        def launched(records: int) -> int:
            if records == 0:
                return launch(address, *words)
            return runtime.launch_recorded(records, address, *words)

        if self.samples.open:
            return int(self.samples.of(self.executable, launched))
        return launched(0)

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
        words.append(self.kept_for(inputs).memory_for(words))
        code = self.launch(words)
        if code:
            raise_status("compile", code, self.executable)
        return memories


def rounded(graph: Graph, steady: Sequence[int], rounding: Rounding) -> tuple[Graph, Fired]:
    """The graph after all passes that its options allow, and how often each changed it."""
    return improved(graph, () if rounding.exact else steady, rounding.winograd)


def inputs_of(path: Sequence[Step]) -> list[Layout | DType]:
    """What the steps of a segment take: tensors' layouts, and numbers' dtypes."""
    return [
        a.layout if isinstance(a, TensorInput) else a.dtype
        for a in (s.action for s in path)
        if isinstance(a, TensorInput | NumberInput)
    ]


def frame(
    inputs: Sequence[Layout | DType], fresh: Sequence[Layout], targets: Sequence[int | Layout]
) -> tuple[list[Load], list[Access]]:
    """Where a program's inputs and outputs lie."""
    loads = [
        _load(i, x) if isinstance(x, Layout) else Load(x, (), Access(i, x, (), ()), True)
        for i, x in enumerate(inputs)
    ]
    outputs = [_access(len(loads) + i, layout) for i, layout in enumerate(fresh)]
    count = len(loads) + len(outputs)
    for target in targets:
        if isinstance(target, Layout):
            outputs.append(_access(count, target))
            count += 1
        else:
            outputs.append(loads[target].access)
    return loads, outputs


def _access(buffer: int, layout: Layout) -> Access:
    return Access(buffer, layout.dtype, layout.shape, layout.strides)


def _load(buffer: int, layout: Layout) -> Load:
    return Load(layout.dtype, layout.shape, _access(buffer, layout))
