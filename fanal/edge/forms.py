"""Forms of a signature: programs each of which is right for some of the sizes, and together for all.

A signature is lowered at the largest sizes. What the lowering asks about sizes on its way are the conditions under
which its result is right; where they don't hold for some sizes, it is lowered at the largest of these again, and
so on. A library tries one form after another. That every combination of sizes has one is looked up, by the very
code that the library carries out; of very many combinations, for the ends and some in between.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

from fanal.core.errors import Limit, message
from fanal.edge.expressions import EQUAL, Values, evaluated
from fanal.edge.functions import Function
from fanal.export.dims import samples
from fanal.export.program import Range

# Combinations of sizes that are all looked at; forms that one signature may have at one level.
EXHAUSTIVE, MOST = 20_000, 256


def forms_of(
    make: Callable[[Sequence[int]], Function], ranges: Sequence[Range], used: Sequence[int], name: str
) -> list[Function]:
    """The forms of a signature at one level. `make` lowers it at sizes of all dimensions, of which only
    those in `used` (numbers) count."""
    found: list[Function] = []
    tests: list[list[int]] = []
    for sizes in combinations(ranges, used):
        if any(_fits(code, sizes) for code in tests):
            continue
        if found and not _related(found[0], sizes):
            continue
        made = make(sizes)
        code = conditions(made)
        code.end()
        if not _fits(code.words, sizes):
            if not _related(made, sizes):
                continue
            raise RuntimeError(f"[build] {name} is not right at the sizes that it was lowered at: {sizes}")
        found.append(made)
        tests.append(code.words)
        if len(found) > MOST:
            raise Limit(
                message("build", f"signature {name!r} needs another program at too many sizes", f"more than {MOST}",
                        hint="a smaller range of its dimensions, or fixed sizes, by dims=")
            )  # fmt: skip
    if not found:
        raise ValueError(message("build", f"no sizes fulfil the relations of signature {name!r}"))
    return found


def conditions(function: Function) -> Values:
    """Code that ends early where a form is not right."""
    values = Values(len(function.sizes))
    if function.symbols is not None:
        for zero in function.relations:
            values.require(EQUAL, values.number(zero), values.constant(0))
        for condition in list(function.symbols.conditions):
            values.condition(function.symbols, condition)
    return values


def combinations(ranges: Sequence[Range], used: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Sizes to look at, the largest first; dimensions that don't count have their least size."""
    spans = [(r.min, _end(r)) if i in used else (r.min, r.min) for i, r in enumerate(ranges)]
    total = 1
    for low, high in spans:
        total *= high - low + 1
    if total <= EXHAUSTIVE:
        yield from itertools.product(*(range(high, low - 1, -1) for low, high in spans))
    else:
        yield from sorted(samples(spans), reverse=True)


def is_exhaustive(ranges: Sequence[Range], used: Sequence[int]) -> bool:
    """Whether all combinations of sizes are looked at."""
    total = 1
    for i in used:
        total *= _end(ranges[i]) - ranges[i].min + 1
    return total <= EXHAUSTIVE


def _end(r: Range) -> int:
    if r.max is None:
        raise ValueError(
            message("build", f"dimension {r.name!r} has no end", None, "a largest size: its memory has to be known",
                    f"Dim({r.name!r}, max=...), or a fixed size, by dims=")
        )  # fmt: skip
    return r.max


def _fits(code: Sequence[int], sizes: Sequence[int]) -> bool:
    return evaluated(code, list(sizes))


def _related(function: Function, sizes: Sequence[int]) -> bool:
    """Whether sizes fulfil the relations of a signature."""
    values = Values(len(sizes))
    for zero in function.relations:
        values.require(EQUAL, values.number(zero), values.constant(0))
    values.end()
    return _fits(values.words, sizes)
