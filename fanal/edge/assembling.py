"""From lowered functions to object files: what lies where, all tables, the library's own module."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fanal.edge import assembly, code, wasm
from fanal.edge.archive import archive
from fanal.edge.covering import most
from fanal.edge.forms import combinations
from fanal.edge.functions import Function
from fanal.edge.interface import Call, Interface
from fanal.edge.objects import Elf, text_bytes
from fanal.edge.tables import Places, Table, aligned, table_of
from fanal.edge.weights import Weights, contents
from fanal.export.program import Program


def placed(
    program: Program, library: Interface, functions: Sequence[Function], weights: Weights, embed: bool
) -> tuple[dict[str, Places], bytes, int]:
    """The places of what each signature reads, and the file of weights with its identity."""
    constants = {
        name: weights.add(contents(program.state[name]))
        for name in dict.fromkeys(n for f in functions for n in sorted(f.read_constants))
    }
    if library.state:
        initial = bytearray(library.state_bytes)
        for entry in library.state:
            data = contents(program.state[entry.name])
            initial[entry.offset : entry.offset + len(data)] = data
        library.state_initial = weights.add(bytes(initial))
    data, identity = weights.file()
    library.has_weights = weights.size > aligned(1)
    library.weights_bytes = len(data) if library.has_weights else 0
    library.embedded = embed and library.has_weights
    state = {f.name: f.offset for f in library.state}
    places = {
        c.signature.name: Places(
            constants, state, library.has_weights, library.machine.pointer_bytes, len(c.dims)
        )
        for c in library.calls
    }
    return places, data, identity


@dataclass(frozen=True, slots=True)
class Made:
    """Object files by name, the tables of each signature and level, and the sizes of the code."""

    objects: dict[str, bytes]
    tables: dict[tuple[str, int], list[Table]]
    kernels: dict[str, int]  # bytes of code by level
    driver: int


def assembled(
    library: Interface, functions: Mapping[tuple[str, int], Sequence[Function]], places: Mapping[str, Places],
    kernels: Mapping[str, code.Code], weights: bytes, identity: int,
) -> Made:  # fmt: skip
    """All object files of the library."""
    machine = library.machine
    numbers = {symbol: i for i, symbol in enumerate(kernels)}
    words: list[int] = []
    starts: dict[tuple[str, int], int] = {}
    tables: dict[tuple[str, int], list[Table]] = {}
    for (name, level), forms in functions.items():
        made = tables[name, level] = []
        for f in forms:
            known = {key: numbers[code.symbol(key, f.level.target)] for key in code.kernels_of(f)}
            made.append(table_of(f, places[name], known))
        starts[name, level] = at = 8 * len(words)
        for table, following in itertools.zip_longest(made, made[1:]):
            at += 8 * len(table.words)
            if following is not None:
                table.before(at)
        words += [w for table in made for w in table.words]
    for call in library.calls:
        call.arena_bytes = max(
            most_bytes(t, library, call) for (name, _), ts in tables.items() if name == call.signature.name for t in ts
        )  # fmt: skip
    library.arena_max = max(c.arena_bytes for c in library.calls)
    module = assembly.Library(
        prefix=library.prefix, machine=machine, kernels=list(kernels), tables=words,
        signatures={
            c.c: [
                next((starts[c.signature.name, b] for b in reversed(library.levels) if b <= level), -1)
                for level in range(len(machine.levels))
            ]
            for c in library.calls
        },
        stateful={c.c for c in library.calls if c.stateful},
        ranges=[(r.min, r.max or 0) for _, r in library.dims], dims={c.c: c.dims for c in library.calls},
        values=max(t.values_before for ts in tables.values() for t in ts) + 1, arena_bytes=library.arena_max,
        identity=identity, state_bytes=library.state_bytes, state_initial=library.state_initial,
        has_weights=library.has_weights, embedded=weights if library.embedded else b"",
    )  # fmt: skip
    own = assembly.compiled(assembly.module(module), machine)
    objects = {"library.o": own, **{f"k{i}.o": k.data for i, k in enumerate(kernels.values())}}
    size = wasm.code_bytes if machine.is_wasm else text_bytes
    by_level = {
        machine.levels[b].name: sum(size(k.data) for k in kernels.values() if k.level == b) for b in library.levels
    }
    return Made(objects, tables, by_level, size(own))


def most_bytes(table: Table, library: Interface, call: Call) -> int:
    """The most that a form's arena takes at any sizes (that are looked at)."""
    if not table.code:
        return table.fixed
    return most(table.code, combinations([r for _, r in library.dims], call.dims), table.total)


def static_library(objects: Mapping[str, bytes]) -> bytes:
    """The objects as one static library."""
    symbols = {
        name: [s.name for s in Elf.read(data).symbols() if s.binding == 1 and s.place != 0]
        for name, data in objects.items()
    }
    return archive(objects, symbols)
