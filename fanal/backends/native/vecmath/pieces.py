"""Functions in pieces: a row of coefficients per interval, read lane by lane.

For functions without a short formula (gamma, Bessel, inverse error function) in double: the interval's
number comes from the argument's exponent and leading bits (geometric grid) or from a multiplication
(uniform grid); its row holds an anchor a and the coefficients of a polynomial in x - a, which is
exact. Where the function has a root, the anchor is the double nearest to it, so that the result is
right relative to itself there too.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.vecmath.core import F64
from fanal.backends.native.vecmath.lookup import gather

Rows = Sequence[Sequence[float]]


def geometric(b: Builder, x: V, low: float, bits: int, count: int) -> V:
    """The interval's number on a grid of 2^bits intervals a binade that starts at `low`."""
    base = struct.unpack("<q", struct.pack("<d", low))[0] >> (52 - bits)
    index = x.bits().lshr(52 - bits) - base
    return _bounded(b, index, count)


def uniform(b: Builder, x: V, per_unit: int, count: int) -> V:
    """The interval's number on a grid of `per_unit` intervals a unit that starts at 0."""
    # The nearest integer of a half less; at a tie either neighbour's polynomial will do.
    shifted = (x * float(per_unit) - 0.5) + F64.shifter
    index = shifted.bits() & ((1 << 20) - 1)
    return _bounded(b, index, count)


def _bounded(b: Builder, index: V, count: int) -> V:
    """0 ≤ index < count, whatever was asked: NaN and masked lanes must not read elsewhere."""
    index = b.select(index.gt(0), index, index & 0)
    return b.select(index.lt(count - 1), index, count - 1)


def evaluate(
    b: Builder,
    name: str,
    rows: Rows,
    x: V,
    index: V,
    terms: int | None = None,
    exact: tuple[V, V] | None = None,
) -> V:
    """The polynomial of each lane's interval at x; only its first `terms` coefficients if given.

    Coefficients fall geometrically, so leaving out the last ones is how float32 goes faster.
    `exact` is (condition, x - anchor) for lanes that know the difference better than x does.
    """
    width = len(rows[0])
    flat = [value for row in rows for value in row]
    anchor, *coefficients = gather(b, name, flat, index * width, (terms or width - 1) + 1)
    t = x - anchor
    if exact:
        t = b.select(exact[0], exact[1], t)
    total = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        total = b.fma(total, t, c)
    return total
