"""A compiled program in memory: its table, its descriptors, and the call that runs it."""

from __future__ import annotations

import functools
import math
import weakref
from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fanal.backends.native import diskcache, kernels, saved
from fanal.backends.native.description import Description
from fanal.backends.native.listing import Listing, Listings
from fanal.backends.native.outline import Outline, Written, outline
from fanal.backends.native.program import Access, ProgramBuilder
from fanal.backends.native.runtime import (
    PROGRAM_MAGIC,
    Runtime,
    compile_object,
    link_object,
    load,
)
from fanal.backends.native.runtime.loader import check_interpreter
from fanal.backends.native.target import Target, host_target
from fanal.core.stages import stage
from fanal.graph.digest import Unnamed, digest
from fanal.graph.ir import Graph

if TYPE_CHECKING:
    from fanal.backends.native.loops.expression import Load

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


class Table:
    """Phases in memory as the launcher reads them: `address` is what it is given."""

    __slots__ = (
        "__weakref__", "_describe", "_description", "address", "arena_bound", "arena_bytes", "captured",
        "loops", "memory", "name", "phases", "results_bytes", "shapes",
    )  # fmt: skip

    def __init__(
        self, listing: Listing, addresses: Mapping[str, int], owners: Sequence[object], name: str,
        describe: Callable[[], Description],
    ):  # fmt: skip
        self.name = name
        self.captured = False  # whether it is a user's function, so that its kernels are of interest
        self.shapes: tuple[tuple[int, ...], ...] = ()  # of its inputs
        self.results_bytes = 0  # of outputs that are not in its inputs' memory
        self.arena_bytes, self.arena_bound = listing.arena_bytes, listing.arena_bound
        self.phases = len(listing.entries)
        self.loops = min(listing.tasks, default=0) < 0
        self._describe, self._description = describe, None
        words = array("q", listing.words)
        table = array("q", [PROGRAM_MAGIC, listing.arguments, len(listing.offsets), self.phases])
        table.extend([listing.flags, listing.arena_bytes, listing.commit, 0, *listing.offsets])
        at = words.buffer_info()[0]
        entries = zip(listing.entries, listing.tasks, listing.light, listing.lengths, strict=True)
        for number, tasks, light, length in entries:
            table.extend([addresses[listing.kernels[number]], at, tasks, light])
            at += 8 * length
        self.memory = (table, words, owners)
        self.address: int = table.buffer_info()[0]
        programs[self.address] = self

    def numbers(self) -> tuple[array[int], array[int]]:
        """All that it consists of but addresses of descriptors."""
        table, words, _ = self.memory
        places = array("q", table)
        for i in range(len(table) - 4 * self.phases, len(table), 4):
            places[i + 1] -= words.buffer_info()[0]
        return places, words

    @property
    def description(self) -> Description:
        """What it consists of; of a program from disk that is only found out when somebody asks."""
        if self._description is None:
            self._description = self._describe()
        return self._description

    _description: Description | None


class Executable(Table):
    """One program, ready to run: `launch(executable.address, *pointers)`.

    Pointers are those of the inputs, then of the outputs, in the graph's order. A program that keeps
    `kept_bytes` between calls takes the memory of these as its last argument; what fills it is a
    program of its own (`early`, which takes the same arguments and looks at inputs only).
    """

    __slots__ = ("arguments", "early", "kept_bytes")

    def __init__(
        self, listings: Listings, addresses: Mapping[str, int], owners: Sequence[object], name: str,
        written: Callable[[], Written],
    ):  # fmt: skip
        super().__init__(listings.main, addresses, owners, name, lambda: written().main)
        self.arguments, self.kept_bytes = listings.main.arguments, listings.kept_bytes
        self.early: Table | None = None
        if listings.early is not None:
            self.early = Table(listings.early, addresses, owners, name, lambda: written().early)


def same_program(a: Executable, b: Executable) -> bool:
    """Whether two programs do the same with whatever they are given."""
    if (a.early is None) is not (b.early is None) or a.kept_bytes != b.kept_bytes:
        return False
    tables = [(a, b)] if a.early is None or b.early is None else [(a, b), (a.early, b.early)]
    return all(x.numbers() == y.numbers() for x, y in tables)


# All programs of this process by address, for messages and profiles.
programs: weakref.WeakValueDictionary[int, Table] = weakref.WeakValueDictionary()


def _work(graph: Graph) -> int:
    return sum(math.prod(v.shape) for v in (*graph.inputs, *graph.outputs))


def compile_graph(
    graph: Graph, inputs: Sequence[Load], outputs: Sequence[Access], name: str = ""
) -> Executable:
    """Compile a graph for inputs and outputs that lie in memory as their accesses say. `name` is what
    profiles call it."""

    def written() -> Written:
        from fanal.backends.native.lower import lower  # much code, needed only now

        return outline(lower(graph, inputs, outputs, host_target()), _work(graph)).written()

    place = _place(graph, inputs, outputs) if len(graph.nodes) >= WORTH_KEEPING else None
    return _executable(written, name, place, inputs, outputs)


def compile_whole(
    graph: Graph | Callable[[], Graph], inputs: Sequence[Load], outputs: Sequence[Access],
    name: str = "", steady: Collection[int] | None = None, place: str | None = None,
) -> Executable:
    """Compile a graph whose outputs may replace inputs: an access of an input's buffer.

    `steady`: inputs that are taken not to change from call to call. If it is given, the program takes
    one more argument than inputs and outputs: what it keeps between calls. `place`: a name for all of
    this (see `saved`), by which other processes find the program, without asking for the graph.
    """

    def written() -> Written:
        whole = graph if isinstance(graph, Graph) else graph()
        return outline_of(whole, inputs, outputs, steady).written()

    return _executable(written, name, place, inputs, outputs)


def outline_of(
    graph: Graph, inputs: Sequence[Load], outputs: Sequence[Access],
    steady: Collection[int] | None = None, target: Target | None = None,
) -> Outline:  # fmt: skip
    """The same before anything is planned or compiled; sizes may follow from symbols, and it may be for
    another processor."""
    from fanal.backends.native.lower.chunks import in_chunks
    from fanal.backends.native.lower.whole import WholeLowering

    target = target or host_target()
    with stage("lower"):
        graph = in_chunks(graph, target)
        lowering = WholeLowering(graph, inputs, outputs, target, steady)
        builder = lowering.run()
    with stage("plan"):
        return outline(builder, _work(graph), lowering.kept)


class Sized:
    """A program for all sizes that fulfil some conditions: `of` gives that of one of them. They share
    their machine code; each has a table and an arena of its own."""

    def __init__(self, outline: Outline, name: str):
        self.outline, self._name = outline, name
        kernels.prepare(outline.kernels)
        self._addresses = {k.key: kernels.address(k) for k in outline.kernels}

    def of(
        self, value: Callable[[Any], Any], outputs: Sequence[Access], inputs: Sequence[Load],
        written: Callable[[], Written],
    ) -> Executable:  # fmt: skip
        """The program where sizes are what `value` says; `written` describes it, if somebody asks."""
        listings = self.outline.listings(value)
        return _made(
            Executable(listings, self._addresses, (), self._name, functools.cache(written)),
            inputs, outputs,
        )  # fmt: skip


def _made(made: Executable, inputs: Sequence[Load], outputs: Sequence[Access]) -> Executable:
    made.shapes = tuple(load.shape for load in inputs)
    made.results_bytes = sum(a.nbytes for a in outputs if a.buffer >= len(inputs))
    return made


def _executable(
    write: Callable[[], Written], name: str, place: str | None, inputs: Sequence[Load],
    outputs: Sequence[Access],
) -> Executable:  # fmt: skip
    """The program that is kept on disk at a place, or is written now and kept there."""
    written = functools.cache(write)
    with stage("recall"):
        found = None if place is None else saved.recalled(place)
    if found is not None:
        made = Executable(*found, (), name, written)
    else:
        new = written()
        kernels.prepare(new.kernels)
        owners = [k.owner for k in new.kernels if k.owner is not None]
        if place is not None and not owners:
            saved.keep(place, new.listings)
        addresses = {k.key: kernels.address(k) for k in new.kernels}
        made = Executable(new.listings, addresses, owners, name, written)
    return _made(made, inputs, outputs)


def program_of(builder: ProgramBuilder, work: int) -> Executable:
    """The program of phases that somebody wrote by hand."""
    return _executable(lambda: outline(builder, work).written(), "", None, (), ())


def _place(graph: Graph, inputs: Sequence[Load], outputs: Sequence[Access]) -> str | None:
    try:
        return saved.name_of([digest(graph), repr(list(inputs)), repr(list(outputs))])
    except Unnamed:
        return None
