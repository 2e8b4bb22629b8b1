"""A program whose open dimensions, or some of them, have fixed sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fanal.core.errors import message, nearest
from fanal.core.symbols import is_symbolic
from fanal.export.dims import DimSymbols
from fanal.export.program import Program, Relation, TensorSpec
from fanal.graph.sizes import sized


def fixed(program: Program, sizes: Mapping[str, int]) -> Program:
    """The same program where dimensions have these sizes; it shares the state. ValueError for a name that there
    is not, a size out of its range, or sizes that don't fit together."""
    ranges = {r.name: r for r in program.dims}
    for name, size in sizes.items():
        if name not in ranges:
            raise ValueError(message("fix", "no dimension of that name", repr(name), ", ".join(ranges) or "none", " or ".join(nearest(name, ranges))))
        _, low, high = ranges[name]
        if type(size) is not int or size < low or (high is not None and size > high):
            raise ValueError(message("fix", f"dimension {name!r} is out of its range", size, f"{low} to {high if high is not None else 'any size'}"))
    symbols = DimSymbols()
    to: list[Any] = [
        sizes[name] if name in sizes else symbols.dim(name, program.symbols.by_name[name].example, low, high)
        for name, low, high in program.dims
    ]  # fmt: skip
    value = program.symbols.at(to)

    def specs(some: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
        return tuple(replace(t, shape=tuple(map(value, t.shape))) for t in some)

    def relations(some: Sequence[Relation]) -> tuple[Relation, ...]:
        found = [Relation(value(zero), place) for zero, place in some]
        for zero, place in found:
            if not is_symbolic(zero) and zero != 0:
                raise ValueError(message("fix", "sizes don't fit together" + (f" ({place})" if place else ""), dict(sizes)))
        return tuple(r for r in found if is_symbolic(r.zero))

    signatures = {
        s.name: replace(
            s, graph=sized(s.graph, value), inputs=specs(s.inputs), outputs=specs(s.outputs), relations=relations(s.relations)
        )
        for s in program.signatures.values()
    }  # fmt: skip
    rest = tuple(r for r in program.dims if r.name not in sizes)
    return Program(program.name, symbols, rest, program.state, signatures, program.card)
