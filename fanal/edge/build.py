"""`build`: a program becomes a folder with a native library in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fanal.core.atomic import write_atomically
from fanal.core.errors import message, nearest
from fanal.edge import assembly, code, wasm, web
from fanal.edge.archive import archive
from fanal.edge.checking import check_library, check_wasm
from fanal.edge.functions import Function, function_of, improved_graph
from fanal.edge.golden import cases_of, golden_file, scratch_of
from fanal.edge.header import header
from fanal.edge.interface import Interface, interface_of
from fanal.edge.levels import Machine, host_level, levels_of, machine_of, runs_here
from fanal.edge.link import shared_library, wasm_module
from fanal.edge.manifest import manifest, operations_of, work_of
from fanal.edge.objects import Elf, text_bytes
from fanal.edge.python_binding import python_binding
from fanal.edge.tables import Places, Table, aligned, table_of
from fanal.edge.trial import tried
from fanal.edge.weights import Weights, contents, kept_block
from fanal.export.program import Program, Signature
from fanal.graph.sizes import sized
from fanal.tensor.tensor import Tensor

Progress = Callable[[str, int, int], None]


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
    samples: Mapping[str, Sequence[Mapping[str, Tensor]]] | None = None,
    fold_batch_norm: bool = False, winograd: bool = False, progress: Progress | None = None,
) -> Built:  # fmt: skip
    """Write a native library for a program into the folder `out`: header, static and shared library, weights,
    manifest, golden cases, bindings. It needs neither Python nor any other library.

    target: "x86_64-linux", "aarch64-linux", "armv7-linux", "riscv64-linux" or "wasm32".
    name: what its names begin with (the program's); levels: some of the target's instruction-set levels (all).
    embed: whether the weights are part of the library rather than a file beside it.
    signatures: some of the program's (all); dims: fixed sizes for dimensions, {name: size}.
    samples: inputs for the golden cases, {signature: [{input: tensor}]}; else some are drawn.
    fold_batch_norm, winograd: allow rewrites whose rounding is another one than eager mode's.
    progress: called with (what is done, how many, of how many).

    Raises ValueError or Limit before any work where the program or an argument is no good.
    """
    say = progress or (lambda what, done, of: None)
    machine = machine_of(target)
    numbers = levels_of(machine, levels)
    chosen = _chosen(program, signatures)
    program, chosen, open_dims = _fixed(program, chosen, dims or {})
    library = interface_of(program, chosen, machine, numbers, name, open_dims)
    functions = _lowered(program, chosen, machine, numbers, fold_batch_norm, winograd, say)
    places, weights, identity = _placed(program, library, functions, machine, embed, say)
    kernels = code.compiled(functions, lambda done, of: say("compile kernels", done, of))
    say("link", 0, 1)
    made = _assembled(library, functions, places, kernels, weights if embed else b"", identity)
    cases = [
        case
        for call in library.calls
        for case in cases_of(
            program, call, (), _number, (samples or {}).get(call.signature.name, ())
        )
    ]
    library.selftest_bytes = max(
        scratch_of(c, library)[3] + c.call.arena_bytes for c in cases
    )
    golden = golden_file(cases, library, identity, host_level(machine))
    files: dict[str, bytes] = {f"{library.prefix}.h": header(library).encode()}
    if machine.is_wasm:
        module = wasm_module(made.objects, library.functions)
        check_wasm(wasm.imports(module))
        files[f"{library.prefix}.wasm"] = module
        files[f"{library.prefix}.mjs"] = web.module(library, module).encode()
        files[f"{library.prefix}.d.ts"] = web.declarations(library).encode()
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


def _chosen(program: Program, names: Sequence[str] | None) -> list[Signature]:
    for n in names or ():
        if n not in program.signatures:
            raise ValueError(
                message("build", "no signature of that name", repr(n), ", ".join(program.signatures),
                        " or ".join(nearest(n, program.signatures)))
            )  # fmt: skip
    return [s for n, s in program.signatures.items() if names is None or n in names]


def _fixed(
    program: Program, signatures: list[Signature], dims: Mapping[str, int]
) -> tuple[Program, list[Signature], list[int]]:
    """The program with dimensions of fixed sizes, and the numbers of those that stay open."""
    known = {r.name: r for r in program.dims}
    for n, size in dims.items():
        if n not in known:
            raise ValueError(message("build", "no dimension of that name", repr(n), ", ".join(known) or "none", " or ".join(nearest(n, known))))
        low, high = known[n].min, known[n].max
        if size < low or (high is not None and size > high):
            raise ValueError(message("build", f"dimension {n!r} is out of its range", size, f"{low} to {high}"))
    rest = [r for r in program.dims if r.name not in dims]
    if not program.dims or not dims:
        if rest:
            raise ValueError(message("build", "open dimensions", ", ".join(r.name for r in rest), "fixed ones, by dims="))
        return program, signatures, []
    if rest:
        raise ValueError(message("build", "some dimensions are fixed and others are not", ", ".join(r.name for r in rest), "all or none"))
    value = program.symbols.at([dims[r.name] for r in program.dims])
    fixed = [
        replace(
            s, graph=sized(s.graph, value), inputs=tuple(replace(t, shape=tuple(map(value, t.shape))) for t in s.inputs),
            outputs=tuple(replace(t, shape=tuple(map(value, t.shape))) for t in s.outputs),
        )
        for s in signatures
    ]  # fmt: skip
    return (
        Program(program.name, program.symbols, (), program.state, {s.name: s for s in fixed}, program.card),
        fixed, [],
    )  # fmt: skip


def _lowered(
    program: Program, signatures: Sequence[Signature], machine: Machine, levels: Sequence[int], fold: bool,
    winograd: bool, say: Progress,
) -> list[Function]:  # fmt: skip
    functions: list[Function] = []
    for s in signatures:
        graph, rewrites = improved_graph(program, s, fold, winograd)
        for level in levels:
            say("lower", len(functions), len(signatures) * len(levels))
            functions.append(function_of(program, s, level, machine.levels[level], graph, rewrites))
    say("lower", len(functions), len(functions))
    return functions


def _placed(
    program: Program, library: Interface, functions: Sequence[Function], machine: Machine, embed: bool,
    say: Progress,
) -> tuple[list[Places], bytes, int]:  # fmt: skip
    """The places of what each function reads, and the file of weights with its identity."""
    weights = Weights()
    constants: dict[str, int] = {}
    kept: list[int] = []
    for i, f in enumerate(functions):
        say("pack weights", i, len(functions))
        for name in f.read_constants:
            if name not in constants:
                constants[name] = weights.add(contents(program.state[name]))
        kept.append(weights.add(kept_block(f, program.state)) if f.outline.kept_bytes else 0)
    say("pack weights", len(functions), len(functions))
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
    calls = {c.signature.name: len(c.dims) for c in library.calls}
    places = [
        Places(constants, state, k, machine.pointer_bytes, calls[f.signature.name])
        for f, k in zip(functions, kept, strict=True)
    ]
    return places, data, identity


@dataclass(frozen=True, slots=True)
class _Made:
    objects: dict[str, bytes]
    tables: dict[tuple[str, int], Table]
    kernels: dict[str, int]  # bytes of code by level
    driver: int


def _assembled(
    library: Interface, functions: Sequence[Function], places: Sequence[Places], kernels: Mapping[str, code.Code],
    embedded: bytes, identity: int,
) -> _Made:  # fmt: skip
    """All object files of the library."""
    machine = library.machine
    numbers = {symbol: i for i, symbol in enumerate(kernels)}
    words: list[int] = []
    starts: dict[tuple[str, int], int] = {}
    tables: dict[tuple[str, int], Table] = {}
    for f, place in zip(functions, places, strict=True):
        table = table_of(f, place, {key: numbers[code.symbol(key, f.target)] for key in code.kernels_of(f)})
        starts[f.signature.name, f.level] = 8 * len(words)
        tables[f.signature.name, f.level] = table
        words += table.words
    rows: dict[str, list[int]] = {}
    for call in library.calls:
        s = call.signature.name
        call.arena_bytes = max(t.arena_bytes for (name, _), t in tables.items() if name == s)
        rows[call.c] = [
            next((starts[s, b] for b in reversed(library.levels) if b <= level), -1)
            for level in range(len(machine.levels))
        ]
    library.arena_max = max(c.arena_bytes for c in library.calls)
    module = assembly.Library(
        library.prefix, machine, list(kernels), words, rows, {c.c for c in library.calls if c.stateful},
        library.arena_max, identity, library.state_bytes, library.state_initial, library.has_weights,
        embedded if library.embedded else b"",
    )  # fmt: skip
    own = assembly.compiled(assembly.module(module), machine)
    objects = {"library.o": own, **{f"k{i}.o": k.data for i, k in enumerate(kernels.values())}}
    size = wasm.code_bytes if machine.is_wasm else text_bytes
    by_level = {machine.levels[b].name: sum(size(k.data) for k in kernels.values() if k.level == b) for b in library.levels}
    return _Made(objects, tables, by_level, size(own))


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
    for (name, _), t in made.tables.items():
        bound[name] = max(bound.get(name, 0), t.arena_bound)
    return Built(
        folder, library.prefix, library.machine.name, {n: len(d) for n, d in files.items()}, made.kernels, made.driver,
        sum(8 * len(t.words) for t in made.tables.values()), library.weights_bytes,
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
        }  # fmt: skip
    return {
        "signatures": signatures,
        "code": {"kernels": made.kernels, "driver": made.driver, "tables": built.tables},
    }
