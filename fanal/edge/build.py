"""`build`: a program becomes a folder with a native library in it."""

from __future__ import annotations

import functools
import itertools
import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fanal.core.atomic import write_atomically
from fanal.core.errors import message, nearest
from fanal.edge import assembly, code, wasm, web
from fanal.edge.archive import archive
from fanal.edge.checking import check_library, check_wasm
from fanal.edge.covering import most
from fanal.edge.forms import combinations, forms_of
from fanal.edge.functions import Allowed, Function, Level, function_of
from fanal.edge.golden import Case, cases_of, drawn, golden_file, scratch_of
from fanal.edge.header import header
from fanal.edge.interface import Call, Interface, interface_of, takes_dim
from fanal.edge.levels import host_level, levels_of, machine_of, runs_here
from fanal.edge.link import shared_library, wasm_module
from fanal.edge.manifest import manifest, operations_of, work_of
from fanal.edge.objects import Elf, text_bytes
from fanal.edge.python_binding import python_binding
from fanal.edge.tables import Places, Table, aligned, table_of
from fanal.edge.trial import tried
from fanal.edge.weights import Weights, contents, keeper
from fanal.export.fixing import fixed
from fanal.export.program import Program
from fanal.tensor.tensor import Tensor

Progress = Callable[[str, int, int], None]
# Forms of a signature that are tried out, besides the least sizes; bytes of results that a golden case may have,
# if there are smaller ones.
_FORMS, _SMALL = 4, 1 << 18


@dataclass(frozen=True, slots=True)
class Built:
    """What was built: the folder, its files, and sizes in bytes.

    kernels: machine code by level; driver: all other code; tables: numbers that the driver reads.
    arena: of a signature, at its largest sizes; bound: the least that its temporaries need.
    """

    folder: Path
    prefix: str
    target: str
    files: dict[str, int]
    kernels: dict[str, int]
    driver: int
    tables: int
    weights: int
    arena: dict[str, int]
    bound: dict[str, int]
    rewrites: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)


def build(
    program: Program, out: str | os.PathLike[str], target: str = "x86_64-linux", name: str | None = None,
    levels: Sequence[str] | None = None, embed: bool = False, *,
    signatures: Sequence[str] | None = None, dims: Mapping[str, int] | None = None,
    adjustable: Collection[str] = (), samples: Mapping[str, Sequence[Mapping[str, Tensor]]] | None = None,
    fold_batch_norm: bool = False, winograd: bool = False, progress: Progress | None = None,
) -> Built:  # fmt: skip
    """Write a native library for a program into the folder `out`: header, static and shared library, weights,
    manifest, golden cases, bindings. It needs neither Python nor any other library.

    target: "x86_64-linux", "aarch64-linux", "armv7-linux", "riscv64-linux" or "wasm32".
    name: what its names begin with (the program's); levels: some of the target's instruction-set levels (all).
    embed: whether the weights are part of the library rather than a file beside it.
    signatures: some of the program's (all); dims: fixed sizes for dimensions, {name: size}.
    adjustable: names of state that no signature writes and that the caller may: an optimiser's rate, say. It lies
        in the block of state, beside what signatures write.
    samples: inputs for the golden cases, {signature: [{input: tensor}]}; else some are drawn.
    fold_batch_norm, winograd: allow rewrites whose rounding is another one than eager mode's.
    progress: called with (what is done, how many, of how many).

    Raises ValueError or Limit before any work where the program or an argument is no good.
    """
    say = progress or (lambda what, done, of: None)
    machine = machine_of(target)
    numbers = levels_of(machine, levels)
    if dims:
        program = fixed(program, dims)
    program = _chosen(program, signatures)
    _check_adjustable(program, adjustable)
    library = interface_of(program, program.constants - set(adjustable), machine, numbers, name)
    collected = Weights()
    by_level = _lowered(program, library, Allowed(fold_batch_norm, winograd), collected, say)
    functions = [f for forms in by_level.values() for f in forms]
    places, weights, identity = _placed(program, library, functions, collected, embed)
    kernels = code.compiled(functions, lambda done, of: say("compile kernels", done, of))
    say("link", 0, 1)
    made = _assembled(library, by_level, places, kernels, weights, identity)
    say("try out", 0, 1)
    cases = _cases(program, library, made, samples or {})
    library.selftest_bytes = max(scratch_of(c, library)[3] + _arena_of(c, library, made) for c in cases)
    exact = -1 if any(f.rewrites for f in functions) else host_level(machine)
    golden = golden_file(cases, library, identity, exact)
    files: dict[str, bytes] = {f"{library.prefix}.h": header(library).encode()}
    if machine.is_wasm:
        module = wasm_module(made.objects, library.functions)
        check_wasm(wasm.imports(module))
        files[f"{library.prefix}.wasm"] = module
        files[f"{library.prefix}.mjs"] = web.module(library, module).encode()
        files |= {name: text.encode() for name, text in web.declarations(library).items()}
        if web.shows_images(library):
            files[f"{library.prefix}.html"] = web.page(library, module, b"" if embed else weights).encode()
    else:
        shared = shared_library(made.objects, machine, library.prefix, library.functions)
        check_library(shared, library.functions)
        runs = [level for level in runs_here(machine) if level in numbers]
        tried(shared, library, golden, b"" if embed else weights, runs)
        files[f"lib{library.prefix}.so"] = shared
        files[f"lib{library.prefix}.a"] = static_library(made.objects)
    if library.has_weights and not embed:
        files[f"{library.prefix}.weights"] = weights
    files["golden.bin"] = golden
    if not machine.is_wasm:
        files[f"bindings/python/{library.prefix}.py"] = python_binding(library, assembly.ABI).encode()
    built = _report(library, functions, made, Path(out), files)
    say("write", 0, 1)
    files[f"{library.prefix}.json"] = manifest(library, files, _facts(built, functions, made))
    for path, data in files.items():
        whole = Path(out, path)
        whole.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(whole, data)
    say("write", 1, 1)
    return built


def _number(n: Any) -> int:
    return int(n)


def _chosen(program: Program, names: Sequence[str] | None) -> Program:
    """The program with some of its signatures, and what these take."""
    for n in names or ():
        if n not in program.signatures:
            raise ValueError(
                message("build", "no signature of that name", repr(n), ", ".join(program.signatures),
                        " or ".join(nearest(n, program.signatures)))
            )  # fmt: skip
    if names is None:
        return program
    left = {n: s for n, s in program.signatures.items() if n in names}
    state = {n: t for n, t in program.state.items() if any(n in (*s.reads, *s.writes) for s in left.values())}
    reduced = Program(program.name, program.symbols, program.dims, state, left, program.card)
    unused = {r.name: r.min for r in program.dims if not any(takes_dim(s, program, r.name) for s in left.values())}
    return fixed(reduced, unused) if unused else reduced


def _check_adjustable(program: Program, names: Collection[str]) -> None:
    for n in names:
        if n not in program.state:
            raise ValueError(
                message("build", "no state of that name", repr(n), f"one of {len(program.state)} names",
                        " or ".join(nearest(n, program.state)))
            )  # fmt: skip


def _lowered(
    program: Program, library: Interface, allowed: Allowed, weights: Weights, say: Progress
) -> dict[tuple[str, int], list[Function]]:
    """Every signature for every level, in as many forms as its sizes need."""
    found: dict[tuple[str, int], list[Function]] = {}
    keep = keeper(weights, program.state)
    total = len(library.calls) * len(library.levels)
    for call in library.calls:
        s = call.signature
        sizes = combinations([r for _, r in library.dims], call.dims) if library.dims else []
        for number in library.levels:
            say("lower", len(found), total)
            level = Level(number, library.machine.levels[number])
            make = functools.partial(function_of, program, library.constants, s, level, allowed, keep)
            found[s.name, number] = forms_of(make, sizes, s.name) if library.dims else [make()]
    say("lower", total, total)
    return found


def _placed(
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
class _Made:
    objects: dict[str, bytes]
    tables: dict[tuple[str, int], list[Table]]
    kernels: dict[str, int]  # bytes of code by level
    driver: int


def _assembled(
    library: Interface, functions: Mapping[tuple[str, int], Sequence[Function]], places: Mapping[str, Places],
    kernels: Mapping[str, code.Code], weights: bytes, identity: int,
) -> _Made:  # fmt: skip
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
    return _Made(objects, tables, by_level, size(own))


def most_bytes(table: Table, library: Interface, call: Call) -> int:
    """The most that a form's arena takes at any sizes (that are looked at)."""
    if not table.code:
        return table.fixed
    return most(table.code, combinations([r for _, r in library.dims], call.dims), table.total)


def _cases(
    program: Program, library: Interface, made: _Made, samples: Mapping[str, Sequence[Mapping[str, Tensor]]]
) -> list[Case]:
    """Golden cases of all signatures: samples, or inputs that are drawn, at the sizes of each form and the least."""
    found = []
    for call in library.calls:
        given = samples.get(call.signature.name, ())
        if given or not library.dims:
            found += cases_of(program, call, given or [drawn(call, _number)])
            continue
        forms = made.tables[call.signature.name, library.levels[-1]]
        least = tuple(r.min for _, r in library.dims)
        wanted = [t.sizes for t in forms[:_FORMS]]
        if forms[0].arena_bytes(least) is not None or len(forms) > 1:
            wanted.append(least)
        fit = [s for s in dict.fromkeys(wanted) if any(t.arena_bytes(s) is not None for t in forms)]
        small = [s for s in fit if result_bytes(program, call, s) <= _SMALL] or fit[-1:]
        if sum(program.state[n].nbytes for n in call.signature.writes) > _SMALL:
            small = list(dict.fromkeys((small[0], small[-1])))  # each case holds all new state
        for sizes in small:
            found += cases_of(program, call, [drawn(call, program.symbols.at(sizes))])
    return found


def result_bytes(program: Program, call: Call, sizes: Sequence[int]) -> int:
    """Bytes of a call's results at sizes."""
    value = program.symbols.at(sizes)
    return sum(math.prod(map(value, f.spec.shape)) * f.spec.dtype.itemsize for f in call.outputs)


def _arena_of(case: Case, library: Interface, made: _Made) -> int:
    """The most bytes of arena that a case takes, at any level."""
    found = 0
    for level in library.levels:
        tables = made.tables[case.call.signature.name, level]
        found = max(found, next(n for t in tables if (n := t.arena_bytes(case.sizes)) is not None))
    return found


def static_library(objects: Mapping[str, bytes]) -> bytes:
    """The objects as one static library."""
    symbols = {
        name: [s.name for s in Elf.read(data).symbols() if s.binding == 1 and s.place != 0]
        for name, data in objects.items()
    }
    return archive(objects, symbols)


def _report(
    library: Interface, functions: Sequence[Function], made: _Made, folder: Path, files: Mapping[str, bytes]
) -> Built:
    bound: dict[str, int] = {}
    for (name, _), (largest, *_) in made.tables.items():
        bound[name] = max(bound.get(name, 0), largest.least_bytes(largest.sizes))
    return Built(
        folder, library.prefix, library.machine.name, {n: len(d) for n, d in files.items()}, made.kernels, made.driver,
        sum(8 * len(t.words) for ts in made.tables.values() for t in ts), library.weights_bytes,
        {c.signature.name: c.arena_bytes for c in library.calls}, bound,
        {f.signature.name: dict(f.rewrites) for f in functions},
    )  # fmt: skip


def _facts(built: Built, functions: Sequence[Function], made: _Made) -> dict[str, Any]:
    signatures: dict[str, Any] = {}
    for f in functions:
        graph = f.signature.graph
        signatures[f.signature.name] = {
            "operations": operations_of(graph), "arithmetic": work_of(graph),
            "rewrites": {n: list(p) for n, p in f.rewrites.items()},
            "arena_bound": built.bound[f.signature.name],
            "forms": [list(t.sizes) for t in made.tables[f.signature.name, f.level.number]],
        }  # fmt: skip
    return {
        "signatures": signatures,
        "code": {"kernels": made.kernels, "driver": made.driver, "tables": built.tables},
    }
