"""A compiled program in memory: its table, its descriptors, and the call that runs it."""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from fanal.backends.native import diskcache, kernels, saved
from fanal.backends.native.early import split
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
from fanal.backends.native.table import Table, Tables, table_of
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

    Pointers are those of the inputs, then of the outputs, in the graph's order. A program that keeps
    `kept_bytes` between calls takes the memory of these as its last argument; what fills it is a
    program of its own (`early`, which takes the same arguments and looks at inputs only).
    """

    __slots__ = (
        "address", "arena_bound", "arena_bytes", "arguments", "early", "kept_bytes", "kernels", "memory",
        "owners",
    )  # fmt: skip

    def __init__(
        self, tables: Tables, addresses: Mapping[str, int], owners: Sequence[object] = ()
    ):
        main = tables.main
        self.arena_bytes, self.arena_bound = main.arena_bytes, main.arena_bound
        self.arguments, self.kept_bytes = main.arguments, tables.kept_bytes
        self.kernels = [main.kernels[n] for n in main.entries]
        self.owners = owners  # of code that is no kernel of ours
        self.memory = _laid_out(main, addresses)
        self.address = self.memory[0].buffer_info()[0]
        self.early = None if tables.early is None else _laid_out(tables.early, addresses)


Memory = tuple[array, array]  # type: ignore[type-arg]


def _laid_out(table: Table, addresses: Mapping[str, int]) -> Memory:
    """A table as the launcher reads it, and the descriptors that it points to."""
    descriptors = array("q", table.words)
    count = len(table.entries)
    whole = array("q", [PROGRAM_MAGIC, table.arguments, len(table.offsets), count, table.flags])
    whole.extend([table.arena_bytes, 0, 0, *table.offsets])
    at = descriptors.buffer_info()[0]
    for number, tasks, length in zip(table.entries, table.tasks, table.lengths, strict=True):
        whole.extend([addresses[table.kernels[number]], at, tasks, 0])
        at += 8 * length
    return whole, descriptors


def _finished(
    builder: ProgramBuilder, graph: Graph, name: str | None, kept: int | None = None
) -> Executable:
    """The program that a lowering has written; kept on disk under a name. `kept`: the argument that
    is what the program keeps between calls."""
    used = [p.kernel for p in builder.phases]
    parts = None if kept is None else split(builder, kept)
    if parts is not None:
        builder.phases = parts.late
    builder.finish()
    work = sum(math.prod(v.shape) for v in (*graph.inputs, *graph.outputs))
    long = work > RELEASE_ABOVE or builder.flow is not None  # loops may run for any time
    flags = FLAG_RELEASE_GIL | FLAG_CHECK_SIGNALS if long else 0
    main, early, kept_bytes = table_of(builder, builder.phases, flags), None, 0
    if parts is not None and parts.kept_bytes:
        early, kept_bytes = table_of(builder, parts.early, flags), parts.kept_bytes
    tables = Tables(main, early, kept_bytes)
    kernels.prepare(used)
    owners = [k.owner for k in used if k.owner is not None]
    if name is not None and not owners:
        saved.keep(name, tables)
    return Executable(tables, {k.key: kernels.address(k) for k in used}, owners)


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
    graph: Graph, inputs: Sequence[Load], outputs: Sequence[Access],
    steady: Collection[int] | None = None, name: str | None = None,
) -> Executable:
    """Compile a graph whose outputs may replace inputs: an access of an input's buffer.

    `steady`: inputs that are taken not to change from call to call. If it is given, the program takes
    one more argument than inputs and outputs: what it keeps between calls. `name`: for what is computed
    and where everything lies (see `saved`); `recalled` finds the program by it in other processes.
    """
    from fanal.backends.native.lower.whole import WholeLowering

    with stage("lower"):
        lowering = WholeLowering(graph, inputs, outputs, host_target(), steady)
        builder = lowering.run()
    with stage("plan"):
        return _finished(builder, graph, name, lowering.kept)


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
