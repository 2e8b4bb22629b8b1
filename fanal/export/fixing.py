"""A program whose open dimensions, or some of them, have fixed sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fanal.core.errors import message, nearest
from fanal.core.symbols import is_symbolic
from fanal.export.dims import DimSymbols
from fanal.export.program import Program, Signature


def fixed(program: Program, sizes: Mapping[str, int]) -> Program:
    """The same program where dimensions have these sizes; it shares the state. ValueError for a name that there
    is not, a size out of its range, or sizes that don't fit together."""
    ranges = {r.name: r for r in program.dims}
    for name, size in sizes.items():
        if name not in ranges:
            raise ValueError(message("fix", "no dimension of that name", repr(name), ", ".join(ranges) or "none", " or ".join(nearest(name, ranges))))
        if type(size) is not int or not ranges[name].holds(size):
            raise ValueError(message("fix", f"dimension {name!r} is out of its range", size, ranges[name].span))
    symbols = DimSymbols()
    to: list[Any] = [
        sizes[name] if name in sizes else symbols.dim(name, program.symbols.by_name[name].example, low, high)
        for name, low, high in program.dims
    ]  # fmt: skip
    value = program.symbols.at(to)
    signatures = {s.name: _without_known(s.sized(value), sizes) for s in program.signatures.values()}
    rest = tuple(r for r in program.dims if r.name not in sizes)
    return Program(program.name, symbols, rest, program.state, signatures, program.card)


def _without_known(s: Signature, sizes: Mapping[str, int]) -> Signature:
    """The signature without relations that hold by now; ValueError for one that does not."""
    for zero, place in s.relations:
        if not is_symbolic(zero) and zero != 0:
            raise ValueError(message("fix", "sizes don't fit together" + (f" ({place})" if place else ""), dict(sizes)))
    return replace(s, relations=tuple(r for r in s.relations if is_symbolic(r.zero)))
