"""Golden cases for a library: which sizes are tried out, and with which inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fanal.edge.assembling import Made
from fanal.edge.golden import Case, cases_of, drawn
from fanal.edge.interface import Call, Interface
from fanal.export.program import Program
from fanal.tensor.tensor import Tensor

# Forms of a signature that are tried out, besides the least sizes; bytes of results that a golden case may have,
# if there are smaller ones.
_FORMS, _SMALL = 4, 1 << 18


def golden_cases(
    program: Program, library: Interface, made: Made, samples: Mapping[str, Sequence[Mapping[str, Tensor]]]
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


def arena_of(case: Case, library: Interface, made: Made) -> int:
    """The most bytes of arena that a case takes, at any level."""
    found = 0
    for level in library.levels:
        tables = made.tables[case.call.signature.name, level]
        found = max(found, next(n for t in tables if (n := t.arena_bytes(case.sizes)) is not None))
    return found


def _number(n: Any) -> int:
    return int(n)
