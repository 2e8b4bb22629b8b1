"""A library as its callers see it: functions with records of named pointers, dimensions, state, sizes.

The header, the bindings, the manifest and the golden file are all written from this one description.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from fanal.core.dtypes import DType
from fanal.core.errors import Limit, message
from fanal.core.symbols import is_symbolic
from fanal.core.symbols.polynomials import Terms
from fanal.edge.levels import Machine
from fanal.edge.naming import identifier, identifiers
from fanal.export.program import Program, Range, Signature, TensorSpec

MOST_DIMS = 11  # that one signature takes
# Ends of names that the library itself uses: no signature may be called so.
_OWN = ("abi", "check", "arena_bytes", "cpu_level", "status_text", "selftest", "state_init", "status", "how")


@dataclass(frozen=True, slots=True)
class Field:
    """An input or an output: its name in C, what it is, its dims as C writes them, and as trees: a number, the
    name of a dimension, or [operation, two more]."""

    c: str
    spec: TensorSpec
    dims: tuple[str, ...]
    trees: tuple[Any, ...]


@dataclass(slots=True)
class Call:
    """A signature as a function. `dims`: numbers of the program's dimensions that it takes."""

    c: str
    signature: Signature
    inputs: list[Field]
    outputs: list[Field]
    dims: list[int]
    stateful: bool
    arena_bytes: int = 0


@dataclass(frozen=True, slots=True)
class StateField:
    """A tensor of the state, and where in the caller's block it lies."""

    c: str
    name: str
    dtype: DType
    shape: tuple[int, ...]
    offset: int


@dataclass(slots=True)
class Interface:
    """All of it. Sizes in bytes are filled in as they become known."""

    prefix: str
    program: Program
    constants: Collection[str]
    machine: Machine
    levels: list[int]
    dims: list[tuple[str, Range]]
    calls: list[Call]
    state: list[StateField]
    state_bytes: int
    card: dict[str, Any]
    state_initial: int = 0
    arena_max: int = 0
    selftest_bytes: int = 0
    weights_bytes: int = 0
    has_weights: bool = False
    embedded: bool = False
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def functions(self) -> list[str]:
        """Names of all functions that can be called."""
        own = ["abi", "check", "arena_bytes", "cpu_level", "status_text", "selftest"]
        own += ["state_init"] if self.state else []
        return [f"{self.prefix}_{name}" for name in (*own, *(c.c for c in self.calls))]

    @property
    def macro(self) -> str:
        """What constants begin with."""
        return self.prefix.upper()


def interface_of(
    program: Program, constants: Collection[str], machine: Machine, levels: Sequence[int], name: str | None
) -> Interface:
    """The description of a program's library; `constants` are names of state that is always the same."""
    signatures = list(program.signatures.values())
    prefix = identifier(name or program.name)
    ranges = list(program.dims)
    named = identifiers([r.name for r in ranges], ["arena"])  # NAME_ARENA_MAX is there
    dims = [(named[r.name], r) for r in ranges]
    calls_named = identifiers([s.name for s in signatures], _OWN + _records(signatures))
    state, state_bytes = _state(program, constants)
    own = {f.name for f in state}
    calls = []
    for s in signatures:
        used = [i for i, d in enumerate(ranges) if takes_dim(s, program, d.name)]
        if len(used) > MOST_DIMS:
            raise Limit(
                message("build", f"signature {s.name!r} has many open dimensions", len(used), f"at most {MOST_DIMS}",
                        "fixed sizes, by dims=")
            )  # fmt: skip
        fields = identifiers([t.name for t in s.inputs], [dims[i][0] for i in used])
        results = identifiers([t.name for t in s.outputs])
        calls.append(
            Call(
                calls_named[s.name], s,
                [_field(fields[t.name], t, program, named) for t in s.inputs],
                [_field(results[t.name], t, program, named) for t in s.outputs],
                used, bool(own.intersection((*s.reads, *s.writes))),
            )
        )  # fmt: skip
    return Interface(
        prefix, program, constants, machine, list(levels), dims, calls, state, state_bytes, dict(program.card)
    )


def _records(signatures: Sequence[Signature]) -> tuple[str, ...]:
    """What the types of records of inputs and outputs are called."""
    return tuple(f"{identifier(s.name)}_{end}" for s in signatures for end in ("in", "out"))


def takes_dim(signature: Signature, program: Program, name: str) -> bool:
    """Whether a dimension occurs in the sizes of inputs or results."""
    number = program.symbols.by_name[name].terms[0][0][0]
    shapes = (t.shape for t in (*signature.inputs, *signature.outputs))
    sizes = [n for shape in shapes for n in shape if is_symbolic(n)]
    return any(number in m for n in sizes for m, _ in n.terms)


def _field(c: str, spec: TensorSpec, program: Program, named: dict[str, str]) -> Field:
    trees = tuple(tree_of(n, program, named) for n in spec.shape)
    return Field(c, spec, tuple(map(text_of, trees)), trees)


def tree_of(n: Any, program: Program, named: dict[str, str]) -> Any:
    """A size as numbers, names of dimensions and operations on these."""
    if not is_symbolic(n):
        return int(n)
    return _polynomial(n.terms, program, named)


def _polynomial(terms: Terms, program: Program, named: dict[str, str]) -> Any:
    total: Any = None
    for monomial, factor in terms:
        product: Any = None if factor == 1 and monomial else factor
        for a in monomial:
            atom = _atom(a, program, named)
            product = atom if product is None else ["*", product, atom]
        total = product if total is None else ["+", total, product]
    return 0 if total is None else total


def _atom(number: int, program: Program, named: dict[str, str]) -> Any:
    symbols = program.symbols
    atom = symbols.atoms[number]
    if atom.name:
        return named[next(n for n, e in symbols.by_name.items() if e.terms[0][0][0] == number)]
    if atom.found is None:
        return ["//", _polynomial(atom.over, program, named), _polynomial(atom.by, program, named)]
    function, given, _ = atom.found
    if function not in (max, min):
        raise Limit(message("build", "a size is found by a function of Python's", function.__name__))
    parts = [tree_of(x, program, named) for x in (given[0] if len(given) == 1 else given)]
    return functools.reduce(lambda a, b: [function.__name__, a, b], parts)


def text_of(tree: Any) -> str:
    """A size as C writes it, but for max and min, which it lacks."""
    if not isinstance(tree, list):
        return str(tree)
    operation, a, b = tree[0], text_of(tree[1]), text_of(tree[2])
    if operation in ("max", "min"):
        return f"{operation}({a}, {b})"
    if operation == "+":
        return f"{a} - {b[1:]}" if b.startswith("-") else f"{a} + {b}"
    a, b = (f"({x})" if " " in x else x for x in (a, b))
    return f"{a} / {b}" if operation == "//" else f"{a} * {b}"


def _state(program: Program, constants: Collection[str]) -> tuple[list[StateField], int]:
    """The tensors that may change, one behind the other."""
    used = {n for s in program.signatures.values() for n in (*s.reads, *s.writes)}
    names = [n for n in program.state if n in used and n not in constants]
    named = identifiers(names, ["bytes"])  # NAME_STATE_BYTES is there
    found, at = [], 0
    for name in names:
        t = program.state[name]
        found.append(StateField(named[name], name, t.dtype, tuple(t.shape), at))
        at += -(-max(t.numel() * t.dtype.itemsize, 1) // 64) * 64
    return found, at
