"""Forms of a signature: programs each of which is right for some of the sizes, and together for all.

A signature is lowered at the largest sizes. What the lowering asks about sizes on its way are the conditions under
which its result is right; where they don't hold for some sizes, it is lowered at the largest of these again, and
so on. A library tries one form after another. That every combination of sizes has one is looked up, by the very
code that the library carries out (`covering.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fanal.core.errors import Limit, message
from fanal.edge.covering import columns, first_of, right_for
from fanal.edge.expressions import EQUAL, Values
from fanal.edge.functions import Function
from fanal.export.program import Range

MOST = 256  # forms that one signature may have at one level


def forms_of(make: Callable[[Sequence[int]], Function], sizes: Sequence[Any], name: str) -> list[Function]:
    """The forms of a signature at one level, for columns of sizes (`combinations`). `make` lowers it at
    some."""
    found: list[Function] = []
    left = None
    while (at := 0 if left is None else first_of(left)) >= 0:
        chosen = [int(column[at]) for column in sizes]
        made = make(chosen)
        code = conditions(made)
        code.end()
        if left is None:
            left = _related(made, sizes)
            if not left[at]:  # a place at which it may be lowered is not this one
                continue
        good = right_for(code.words, sizes)
        if not good[at]:
            raise RuntimeError(f"[build] {name} is not right at the sizes that it was lowered at: {chosen}")
        left &= ~good
        found.append(made)
        if len(found) > MOST:
            raise Limit(
                message("build", f"signature {name!r} needs another program at too many sizes", f"more than {MOST}",
                        hint="a smaller range of its dimensions, or fixed sizes, by dims=")
            )  # fmt: skip
    if not found:
        raise ValueError(message("build", f"no sizes fulfil the relations of signature {name!r}"))
    return found


def combinations(ranges: Sequence[Range], used: Sequence[int]) -> list[Any]:
    """Columns of sizes to look at; dimensions that are not `used` (numbers) have their least size."""
    return columns([(r.min, _end(r)) if i in used else (r.min, r.min) for i, r in enumerate(ranges)])


def conditions(function: Function) -> Values:
    """Code that ends early where a form is not right."""
    values = _relations(function)
    if function.symbols is not None:
        for condition in list(function.symbols.conditions):
            values.condition(function.symbols, condition)
    return values


def _relations(function: Function) -> Values:
    values = Values(len(function.sizes))
    for zero in function.relations:
        values.require(EQUAL, values.number(zero), values.constant(0))
    return values


def _related(function: Function, sizes: Sequence[Any]) -> Any:
    """The combinations that fulfil the relations of a signature."""
    values = _relations(function)
    values.end()
    return right_for(values.words, sizes)


def _end(r: Range) -> int:
    if r.max is None:
        raise ValueError(
            message("build", f"dimension {r.name!r} has no end", None, "a largest size: its memory has to be known",
                    f"Dim({r.name!r}, max=...), or a fixed size, by dims=")
        )  # fmt: skip
    return r.max
