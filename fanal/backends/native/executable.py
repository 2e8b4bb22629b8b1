"""A compiled program in memory: its table, its descriptors, and the call that runs it."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fanal.backends.native import diskcache, kernels
from fanal.backends.native.arena import lower_bound, plan_arena
from fanal.backends.native.program import Access, ProgramBuilder
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
from fanal.core.stages import stage
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


class Executable:
    """One program, ready to run: `launch(executable.address, *pointers)`.

    Pointers are those of the inputs, then of the outputs, in the graph's order.
    """

    __slots__ = ("address", "arena_bound", "arena_bytes", "arguments", "kernels", "memory")

    def __init__(self, builder: ProgramBuilder, work: int):
        builder.finish()
        phases = builder.phases
        offsets, arena = plan_arena(builder.temps)
        self.arena_bytes, self.arena_bound = arena, lower_bound(builder.temps)
        descriptors = [array("q", [_signed(w) for w in p.descriptor]) for p in phases]
        long = work > RELEASE_ABOVE or builder.flow is not None  # loops may run for any time
        flags = FLAG_RELEASE_GIL | FLAG_CHECK_SIGNALS if long else 0
        table = array("q", [PROGRAM_MAGIC, builder.arguments, len(offsets), len(phases), flags])
        table.extend([arena, 0, 0, *offsets])
        self.kernels = [p.kernel.key for p in phases]
        kernels.prepare(p.kernel for p in phases)
        for phase, words in zip(phases, descriptors, strict=True):
            entry = kernels.address(phase.kernel)
            table.extend([entry, words.buffer_info()[0], phase.tasks, 0])
        self.memory = (table, descriptors, [p.kernel.owner for p in phases])
        self.address = table.buffer_info()[0]
        self.arguments = builder.arguments


def _signed(word: int) -> int:
    word &= (1 << 64) - 1
    return word - (1 << 64) if word >> 63 else word


def compile_graph(
    graph: Graph, inputs: Sequence[Load], outputs: Sequence[Access]
) -> Executable:
    """Compile a graph for inputs and outputs that lie in memory as their accesses say."""
    from fanal.backends.native.lower import lower  # much code, needed only now

    builder = lower(graph, inputs, outputs, host_target())
    shapes = [v.shape for v in (*graph.inputs, *graph.outputs)]
    work = sum(math.prod(s) for s in shapes)
    return Executable(builder, work)


def compile_whole(graph: Graph, inputs: Sequence[Load], outputs: Sequence[Access]) -> Executable:
    """Compile a graph whose outputs may replace inputs: an access of an input's buffer."""
    from fanal.backends.native.lower.whole import WholeLowering

    with stage("lower"):
        builder = WholeLowering(graph, inputs, outputs, host_target()).run()
    shapes = [v.shape for v in (*graph.inputs, *graph.outputs)]
    with stage("plan"):
        return Executable(builder, sum(math.prod(s) for s in shapes))
