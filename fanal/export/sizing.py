"""What the shapes at a call say: the sizes of a program's dimensions, or what does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from fanal.core.errors import message
from fanal.core.symbols import is_symbolic
from fanal.export.dims import DimSymbols
from fanal.export.program import Range, Relation, TensorSpec


class _Dimensions(Protocol):
    @property
    def symbols(self) -> DimSymbols: ...

    @property
    def dims(self) -> tuple[Range, ...]: ...


class _Interface(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def relations(self) -> tuple[Relation, ...]: ...


class Sizes:
    """Finds the sizes of a program's dimensions in the shapes that one of its signatures is given."""

    def __init__(self, program: _Dimensions, signature: _Interface):
        self._dims, self._symbols, self._signature = program.dims, program.symbols, signature
        # Of each input, its dimensions: those that are one of the program's, the others, and what of these
        # says one (of 2*half = 8, half is 4): name, offset, factor.
        self._named: list[tuple[TensorSpec, int, str]] = []
        self._other: list[tuple[TensorSpec, int, Any]] = []
        self._solvable: list[tuple[TensorSpec, int, str, int, int]] = []
        atoms = {e.terms[0][0][0]: name for name, e in program.symbols.by_name.items()}
        for spec in signature.inputs:
            for d, wanted in enumerate(spec.shape):
                linear = _linear(wanted, atoms)
                if linear is not None and linear[1:] == (0, 1):
                    self._named.append((spec, d, linear[0]))
                    continue
                self._other.append((spec, d, wanted))
                if linear is not None:
                    self._solvable.append((spec, d, *linear))

    def __call__(self, shapes: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
        """The dimensions' sizes, for shapes of the right rank; ValueError where a shape is not the signature's."""
        s, symbols = self._signature, self._symbols
        found: dict[str, int] = {}
        for spec, d, name in self._named:
            n = shapes[spec.name][d]
            if found.setdefault(name, n) != n:
                raise ValueError(message(s.name, f"{name!r} has several sizes", f"{found[name]} and {n} (dimension {d} of {spec.name!r})", "one"))
        for spec, d, name, offset, factor in self._solvable:
            found.setdefault(name, (shapes[spec.name][d] - offset) // factor)
        # Dimensions that only others' signatures have are as in the example.
        sizes = tuple(found.get(r.name, symbols.by_name[r.name].example) for r in self._dims)
        for r in self._dims:
            if r.name in found and not r.holds(found[r.name]):
                raise ValueError(message(s.name, f"{r.name!r} is out of its range", f"{found[r.name]}{self._place(r.name)}", r.span))
        value = symbols.at(sizes)
        for spec, d, wanted in self._other:
            n = shapes[spec.name][d]
            if value(wanted) != n:
                raise ValueError(message(s.name, f"dimension {d} of input {spec.name!r} has another size", n, symbols.shape((wanted,))[1:-2]))
        for zero, place in s.relations:
            if value(zero) != 0:
                raise ValueError(
                    message(s.name, "sizes don't fit together" + (f" ({place})" if place else ""),
                            ", ".join(f"{k}={n}" for k, n in found.items()), f"{symbols.named(zero.terms)} = 0")
                )  # fmt: skip
        return sizes

    def _place(self, name: str) -> str:
        return next((f" in dimension {d} of {spec.name!r}" for spec, d, n in self._named if n == name), "")


def _linear(size: Any, atoms: Mapping[int, str]) -> tuple[str, int, int] | None:
    """A size as the name of a dimension, an offset and a factor; None if it is another one."""
    if not is_symbolic(size):
        return None
    terms = dict(size.terms)
    offset = terms.pop((), 0)
    if len(terms) != 1:
        return None
    ((monomial, factor),) = terms.items()
    return (atoms[monomial[0]], offset, factor) if len(monomial) == 1 and monomial[0] in atoms else None
