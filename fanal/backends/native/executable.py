"""A compiled program in memory: its table, its descriptors, and the call that runs it."""

from __future__ import annotations

import math
import weakref
from array import array
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from fanal.backends.native import diskcache, kernels
from fanal.backends.native.description import Description
from fanal.backends.native.early import split
from fanal.backends.native.merging import merge
from fanal.backends.native.program import Access, Phase, ProgramBuilder, Temp
from fanal.backends.native.runtime import (
    FLAG_CHECK_SIGNALS,
    FLAG_RELEASE_GIL,
    PROGRAM_MAGIC,
    Runtime,
    compile_object,
    link_object,
    load,
)
from fanal.backends.native.runtime.loader import check_interpreter
from fanal.backends.native.target import host_target
from fanal.graph.ir import Graph

if TYPE_CHECKING:
    from fanal.backends.native.loops.expression import Load

# Work (elements touched) above which releasing the GIL is worth its 50 ns.
RELEASE_ABOVE = 20_000



def _load_runtime() -> Runtime:
    """The runtime, from the disk cache where it is there."""
    check_interpreter()
    name = f"runtime-{kernels.generator_digest()[:40]}"
    data = diskcache.read(name)
    if data is None:
        data = compile_object()
        diskcache.write(name, data)
    return load(link_object(data))


runtime = _load_runtime()
launch = runtime.launch


class Table:
    """Phases in memory as the launcher reads them: `address` is what it is given."""

    __slots__ = (
        "__weakref__", "address", "captured", "description", "memory", "name", "results_bytes", "shapes",
    )  # fmt: skip

    def __init__(
        self, builder: ProgramBuilder, phases: Sequence[Phase], temps: Sequence[Temp], flags: int,
        name: str,
    ):  # fmt: skip
        self.name = name
        self.captured = False  # whether it is a user's function, so that its kernels are of interest
        self.shapes: tuple[tuple[int, ...], ...] = ()  # of its inputs
        self.results_bytes = 0  # of outputs that are not in its inputs' memory
        offsets, arena = plan_arena(temps)
        self.description = Description.of(phases, temps, offsets, arena)
        descriptors = [array("q", [_signed(w) for w in p.descriptor]) for p in phases]
        commit = next((i + 1 for i, p in enumerate(phases) if p.commits), 0)
        table = array("q", [PROGRAM_MAGIC, builder.arguments, len(offsets), len(phases), flags])
        table.extend([arena, commit, 0, *offsets])
        for phase, words in zip(phases, descriptors, strict=True):
            entry = kernels.address(phase.kernel)
            table.extend([entry, words.buffer_info()[0], phase.tasks, 0])
        self.memory = (table, descriptors, [p.kernel.owner for p in phases])
        self.address: int = table.buffer_info()[0]
        programs[self.address] = self

    @property
    def arena_bytes(self) -> int:
        return self.description.arena_bytes


class Executable(Table):
    """One program, ready to run: `launch(executable.address, *pointers)`.

    Pointers are those of the inputs, then of the outputs, in the graph's order. A program that keeps
    `kept_bytes` between calls takes the memory of these as its last argument; what fills it is a
    program of its own (`early`, which takes the same arguments and looks at inputs only).
    """

    __slots__ = ("arguments", "early", "kept_bytes")

    def __init__(
        self, builder: ProgramBuilder, work: int, name: str = "", kept: int | None = None
    ):
        parts = None if kept is None else split(builder, kept)
        builder.phases = merge(builder, builder.phases if parts is None else parts.late)
        builder.finish()
        long = work > RELEASE_ABOVE or builder.flow is not None  # loops may run for any time
        flags = FLAG_RELEASE_GIL | FLAG_CHECK_SIGNALS if long else 0
        temps = builder.temps if builder.flow else _lifetimes(builder, builder.phases)
        super().__init__(builder, builder.phases, temps, flags, name)
        self.arguments = builder.arguments
        self.kept_bytes = 0 if parts is None else parts.kept_bytes
        self.early: Table | None = None
        if parts is not None and self.kept_bytes:
            temps = _lifetimes(builder, parts.early)
            self.early = Table(builder, parts.early, temps, flags, name)


# All programs of this process by address, for messages and profiles.
programs: weakref.WeakValueDictionary[int, Table] = weakref.WeakValueDictionary()


def _lifetimes(builder: ProgramBuilder, phases: Sequence[Phase]) -> list[Temp]:
    """The temporaries that some phases without loops use, and from where to where."""
    found = [Temp(t.nbytes) for t in builder.temps]
    for number, phase in enumerate(phases):
        for buffer in phase.buffers:
            if buffer >= builder.arguments:
                temp = found[buffer - builder.arguments]
                temp.first = number if temp.first < 0 else temp.first
                temp.last = number
    return found


def _signed(word: int) -> int:
    word &= (1 << 64) - 1
    return word - (1 << 64) if word >> 63 else word


def plan_arena(temps: Sequence[Temp]) -> tuple[list[int], int]:
    """Offsets of temporaries in one arena such that those alive together don't overlap.

    Larger ones are placed first, each in the lowest gap that fits.
    """
    offsets = [0] * len(temps)
    placed: list[int] = []
    total = 0
    for number in sorted(range(len(temps)), key=lambda i: (-temps[i].nbytes, i)):
        temp = temps[number]
        if temp.first < 0:
            continue
        size = -(-max(temp.nbytes, 1) // 64) * 64
        busy = sorted(
            (offsets[o], offsets[o] + -(-max(temps[o].nbytes, 1) // 64) * 64)
            for o in placed
            if temps[o].first <= temp.last and temp.first <= temps[o].last
        )
        at = 0
        for start, end in busy:
            if at + size <= start:
                break
            at = max(at, end)
        offsets[number] = at
        placed.append(number)
        total = max(total, at + size)
    return offsets, total


def compile_graph(
    graph: Graph, inputs: Sequence[Load], outputs: Sequence[Access], name: str = ""
) -> Executable:
    """Compile a graph for inputs and outputs that lie in memory as their accesses say. `name` is what
    profiles call it."""
    from fanal.backends.native.lower import lower  # much code, needed only now

    builder = lower(graph, inputs, outputs, host_target())
    shapes = [v.shape for v in (*graph.inputs, *graph.outputs)]
    work = sum(math.prod(s) for s in shapes)
    return _described(Executable(builder, work, name), inputs, outputs)


def compile_whole(
    graph: Graph, inputs: Sequence[Load], outputs: Sequence[Access], name: str = "",
    steady: Collection[int] | None = None,
) -> Executable:
    """Compile a graph whose outputs may replace inputs: an access of an input's buffer.

    `steady`: inputs that are taken not to change from call to call. If it is given, the program takes
    one more argument than inputs and outputs: what it keeps between calls.
    """
    from fanal.backends.native.lower.whole import WholeLowering

    lowering = WholeLowering(graph, inputs, outputs, host_target(), steady)
    builder = lowering.run()
    shapes = [v.shape for v in (*graph.inputs, *graph.outputs)]
    made = Executable(builder, sum(math.prod(s) for s in shapes), name, lowering.kept)
    return _described(made, inputs, outputs)


def _described(made: Executable, inputs: Sequence[Load], outputs: Sequence[Access]) -> Executable:
    made.shapes = tuple(load.shape for load in inputs)
    made.results_bytes = sum(a.nbytes for a in outputs if a.buffer >= len(inputs))
    return made
