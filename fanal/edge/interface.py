"""A library as its callers see it: functions with records of named pointers, dimensions, state, sizes.

The header, the bindings, the manifest and the golden file are all written from this one description.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fanal.core.dtypes import DType
from fanal.core.symbols import is_symbolic
from fanal.edge.levels import Machine
from fanal.edge.naming import identifier, identifiers
from fanal.export.program import Program, Range, Signature, TensorSpec

# Ends of names that the library itself uses: no signature may be called so.
_OWN = ("abi", "check", "arena_bytes", "cpu_level", "status_text", "selftest", "state_init", "status", "how")


@dataclass(frozen=True, slots=True)
class Field:
    """An input or an output: its name in C, what it is, and its dims as C writes them."""

    c: str
    spec: TensorSpec
    dims: tuple[str, ...]


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
    program: Program, signatures: Sequence[Signature], machine: Machine, levels: Sequence[int],
    name: str | None, open_dims: Sequence[int],
) -> Interface:  # fmt: skip
    """The description of a library of some signatures; `open_dims` are numbers of the dimensions that are
    no fixed sizes."""
    prefix = identifier(name or program.name)
    ranges = [program.dims[i] for i in open_dims]
    named = identifiers([r.name for r in ranges])
    dims = [(named[r.name], r) for r in ranges]
    calls_named = identifiers([s.name for s in signatures], _OWN)
    state, state_bytes = _state(program, signatures)
    own = {f.name for f in state}
    calls = []
    for s in signatures:
        used = [i for i, d in enumerate(ranges) if _uses(s, program, d.name)]
        fields = identifiers([t.name for t in s.inputs], [dims[i][0] for i in used])
        results = identifiers([t.name for t in s.outputs])
        calls.append(
            Call(
                calls_named[s.name], s,
                [Field(fields[t.name], t, _shown(t, program, named)) for t in s.inputs],
                [Field(results[t.name], t, _shown(t, program, named)) for t in s.outputs],
                used, bool(own.intersection((*s.reads, *s.writes))),
            )
        )  # fmt: skip
    return Interface(
        prefix, program, machine, list(levels), dims, calls, state, state_bytes, dict(program.card)
    )


def _uses(signature: Signature, program: Program, name: str) -> bool:
    """Whether a dimension occurs in the sizes of inputs or results."""
    number = program.symbols.by_name[name].terms[0][0][0]
    shapes = (t.shape for t in (*signature.inputs, *signature.outputs))
    sizes = [n for shape in shapes for n in shape if is_symbolic(n)]
    return any(number in m for n in sizes for m, _ in n.terms)


def _shown(t: TensorSpec, program: Program, named: dict[str, str]) -> tuple[str, ...]:
    found = []
    for n in t.shape:
        text = program.symbols.named(n.terms) if is_symbolic(n) else str(n)
        for name, c in named.items():
            text = text.replace(name, c)
        found.append(text)
    return tuple(found)


def _state(program: Program, signatures: Sequence[Signature]) -> tuple[list[StateField], int]:
    """The tensors that some signature writes, one behind the other."""
    constants = program.constants
    used = {n for s in signatures for n in (*s.reads, *s.writes)}
    names = [n for n in program.state if n in used and n not in constants]
    named = identifiers(names)
    found, at = [], 0
    for name in names:
        t = program.state[name]
        found.append(StateField(named[name], name, t.dtype, tuple(t.shape), at))
        at += -(-max(t.numel() * t.dtype.itemsize, 1) // 64) * 64
    return found, at
