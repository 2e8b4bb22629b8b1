"""A compiled program in memory: its table, its descriptors, and the call that runs it."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fanal.backends.native import diskcache, kernels, saved
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
from fanal.backends.native.table import Table, table_of
from fanal.backends.native.target import host_target
from fanal.core.stages import stage
from fanal.graph.digest import Unnamed, digest
from fanal.graph.ir import Graph

if TYPE_CHECKING:
    from fanal.backends.native.loops.expression import Load

# Work (elements touched) above which releasing the GIL is worth its 50 ns.
RELEASE_ABOVE = 20_000
# Nodes from which on a single function's program is kept on disk.
WORTH_KEEPING = 24


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

    __slots__ = (
        "address", "arena_bound", "arena_bytes", "arguments", "kernels", "memory", "owners"
    )  # fmt: skip

    def __init__(
        self, table: Table, addresses: Mapping[str, int], owners: Sequence[object] = ()
    ):
        self.arena_bytes, self.arena_bound = table.arena_bytes, table.arena_bound
        self.arguments = table.arguments
        self.kernels = [table.kernels[n] for n in table.entries]
        self.owners = owners  # of code that is no kernel of ours
        descriptors = array("q", table.words)
        count = len(table.entries)
        whole = array("q", [PROGRAM_MAGIC, table.arguments, len(table.offsets), count, table.flags])
        whole.extend([table.arena_bytes, 0, 0, *table.offsets])
        at = descriptors.buffer_info()[0]
        for key, tasks, length in zip(self.kernels, table.tasks, table.lengths, strict=True):
            whole.extend([addresses[key], at, tasks, 0])
            at += 8 * length
        self.memory = (whole, descriptors)
        self.address = whole.buffer_info()[0]


def _finished(builder: ProgramBuilder, graph: Graph, name: str | None) -> Executable:
    """The program that a lowering has written; kept on disk under a name."""
    builder.finish()
    work = sum(math.prod(v.shape) for v in (*graph.inputs, *graph.outputs))
    long = work > RELEASE_ABOVE or builder.flow is not None  # loops may run for any time
    table = table_of(builder, FLAG_RELEASE_GIL | FLAG_CHECK_SIGNALS if long else 0)
    used = [p.kernel for p in builder.phases]
    kernels.prepare(used)
    owners = [k.owner for k in used if k.owner is not None]
    if name is not None and not owners:
        saved.keep(name, table)
    return Executable(table, {k.key: kernels.address(k) for k in used}, owners)


def compile_graph(
    graph: Graph, inputs: Sequence[Load], outputs: Sequence[Access]
) -> Executable:
    """Compile a graph for inputs and outputs that lie in memory as their accesses say."""
    name = _name(graph, inputs, outputs) if len(graph.nodes) >= WORTH_KEEPING else None
    found = None if name is None else recalled(name)
    if found is not None:
        return found
    from fanal.backends.native.lower import lower  # much code, needed only now

    return _finished(lower(graph, inputs, outputs, host_target()), graph, name)


def compile_whole(
    graph: Graph, inputs: Sequence[Load], outputs: Sequence[Access], name: str | None = None
) -> Executable:
    """Compile a graph whose outputs may replace inputs: an access of an input's buffer.

    `name`: for what the graph computes and where everything lies (see `saved`); `recalled` finds the
    program by it in other processes.
    """
    from fanal.backends.native.lower.whole import WholeLowering

    with stage("lower"):
        builder = WholeLowering(graph, inputs, outputs, host_target()).run()
    with stage("plan"):
        return _finished(builder, graph, name)


def recalled(name: str) -> Executable | None:
    """The program that is kept on disk under a name."""
    with stage("recall"):
        found = saved.recalled(name)
        return None if found is None else Executable(*found)


def _name(graph: Graph, inputs: Sequence[Load], outputs: Sequence[Access]) -> str | None:
    try:
        return saved.name_of([digest(graph), repr(list(inputs)), repr(list(outputs))])
    except Unnamed:
        return None
