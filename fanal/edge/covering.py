"""All combinations of sizes at once: which of them fulfil conditions, and what follows from them.

The same code that a library carries out, on columns of sizes: a million combinations take a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from fanal.edge import expressions as x

# Combinations that are all looked at. Of more, each dimension is looked at in so many places that there are
# about as many: all the small sizes, all near the end, and some between at equal distances.
EXHAUSTIVE = 1 << 20
_DENSE = 0.25  # the part of the places that are small sizes, and that are near the end
_PART = 1 << 14


def columns(spans: Sequence[tuple[int, int]]) -> list[Any]:
    """Combinations of sizes, the largest first: a column for each dimension."""
    total = 1
    for low, high in spans:
        total *= high - low + 1
    places = [np.arange(high, low - 1, -1, dtype=np.int64) for low, high in spans]
    if total > EXHAUSTIVE:
        places = _thinned(places)
    return [column.ravel() for column in np.meshgrid(*places, indexing="ij")]


def _thinned(places: list[Any]) -> list[Any]:
    """Fewer places of each dimension, those of short ones first being kept whole."""
    found: dict[int, Any] = {}
    room = float(EXHAUSTIVE)
    for done, i in enumerate(sorted(range(len(places)), key=lambda i: len(places[i]))):
        most = max(2, int(room ** (1 / (len(places) - done))))
        column = places[i]
        if len(column) > most:
            ends = max(1, int(most * _DENSE))
            between = np.linspace(0, len(column) - 1, max(2, most - 2 * ends)).astype(np.int64)
            kept = np.unique(np.concatenate([np.arange(ends), between, np.arange(len(column) - ends, len(column))]))
            column = column[kept]
        found[i] = column
        room /= len(column)
    return [found[i] for i in range(len(places))]


def right_for(words: Sequence[int], sizes: Sequence[Any]) -> Any:
    """Which combinations fulfil all conditions of some code."""
    return np.concatenate([_evaluated(words, part)[0] for part in _parts(sizes)])


def most(words: Sequence[int], sizes: Sequence[Any], value: int) -> int:
    """The largest that a value of some code is, where its conditions are fulfilled; at least 0."""
    found = 0
    for part in _parts(sizes):
        good, values = _evaluated(words, part)
        found = max(found, int(np.max(np.broadcast_to(values[value], good.shape), where=good, initial=0)))
    return found


def _parts(sizes: Sequence[Any]) -> Iterator[list[Any]]:
    """A few combinations at a time: there may be hundreds of values of each."""
    for start in range(0, len(sizes[0]), _PART):
        yield [column[start : start + _PART] for column in sizes]


def _evaluated(words: Sequence[int], sizes: Sequence[Any]) -> tuple[Any, list[Any]]:
    """Which combinations fulfil all conditions, and all values (of those that don't they mean nothing)."""
    values = list(sizes)
    good = np.ones(len(sizes[0]), np.bool_)
    at = 0
    with np.errstate(all="ignore"):
        while (word := words[at]) & 255 != x.END:
            op = word & 255
            at += 1
            if op == x.CONST:
                values.append(np.int64(words[at]))
                at += 1
                continue
            a, b = values[(word >> 8) & 0xFFFFFFF], values[word >> 36]
            if op >= x.EQUAL:
                good &= _HOLDS[op](a, b)
                continue
            if op == x.DIVIDE:
                good &= np.not_equal(b, 0)
                b = np.where(np.equal(b, 0), 1, b)
            values.append(_MADE[op](a, b))
    return good, values


def _real(a: Any) -> Any:
    return np.asarray(a, np.int64).view(np.float64)


def _bits(a: Any) -> Any:
    return np.asarray(a, np.float64).view(np.int64)


_MADE: dict[int, Callable[[Any, Any], Any]] = {
    x.ADD: np.add,
    x.MULTIPLY: np.multiply,
    x.DIVIDE: np.floor_divide,
    x.MOST: np.maximum,
    x.LEAST: np.minimum,
    x.REAL: lambda a, _: _bits(np.asarray(a, np.float64)),
    x.SUM: lambda a, b: _bits(_real(a) + _real(b)),
    x.DIFFERENCE: lambda a, b: _bits(_real(a) - _real(b)),
    x.PRODUCT: lambda a, b: _bits(_real(a) * _real(b)),
    x.QUOTIENT: lambda a, b: _bits(_real(a) / _real(b)),
    x.SINGLE: lambda a, _: _real(a).astype(np.float32).view(np.int32).astype(np.int64),
}
_HOLDS: dict[int, Callable[[Any, Any], Any]] = {
    x.EQUAL: np.equal,
    x.DIFFERENT: np.not_equal,
    x.LESS: np.less,
    x.NOT_LESS: np.greater_equal,
}


def first_of(mask: Any) -> int:
    """The number of the first combination in a mask; -1 if there is none."""
    at = int(np.argmax(mask))
    return at if bool(mask[at]) else -1

