"""Small functions made of the others: hypot, cbrt, logaddexp, xlogy, xlog1py, entr."""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.vecmath.coefficients import power as table
from fanal.backends.native.vecmath.core import (
    F32,
    INF,
    const,
    format_of,
    horner,
    narrow,
    through_double,
    widen,
    with_sign_of,
)
from fanal.backends.native.vecmath.exponential import exp
from fanal.backends.native.vecmath.extended import Pair, square_root, two_product, two_sum
from fanal.backends.native.vecmath.logarithm import log, log1p


def hypot(b: Builder, x: V, y: V) -> V:
    """√(x² + y²) without undue overflow; infinite if either is, even beside NaN."""
    infinite = b.abs(x).eq(INF) | b.abs(y).eq(INF)
    if format_of(x) is F32:
        wide, other = widen(x), widen(y)
        root = narrow(b.sqrt(b.fma(wide, wide, other * other)))
        return b.select(infinite, const(x, INF), root)
    p, q = b.abs(x), b.abs(y)
    larger = b.select(p.gt(q), p, q)
    up = b.select(larger.lt(2.0**-450), const(x, 2.0**600), const(x, 1.0))
    down = b.select(larger.lt(2.0**-450), const(x, 2.0**-600), const(x, 1.0))
    up = b.select(larger.gt(2.0**500), const(x, 2.0**-600), up)
    down = b.select(larger.gt(2.0**500), const(x, 2.0**600), down)
    p, q = p * up, q * up
    first, second = two_product(b, p, p), two_product(b, q, q)
    total = two_sum(first.hi, second.hi)
    positive = total.hi.gt(0.0)
    safe = Pair(b.select(positive, total.hi, const(x, 1.0)), total.lo + (first.lo + second.lo))
    h = square_root(b, safe)
    result = b.select(positive, h.hi + h.lo, total.hi) * down
    return b.select(infinite, const(x, INF), result)


@through_double
def cbrt(b: Builder, x: V) -> V:
    """The real cube root: a polynomial on [1, 8), two steps of Newton, the last with an exact rest."""
    a = b.abs(x)
    subnormal = a.lt(2.0**-1022)
    scaled = b.select(subnormal, a * 2.0**54, a)
    exponent = scaled.bits().lshr(52)
    third = (exponent * 21846).lshr(16)  # exponent/3, exact below 2^15
    rest = exponent - third * 3  # 1023 is a multiple of 3
    m = ((scaled.bits() & ((1 << 52) - 1)) | ((rest + 1023) << 52)).as_float()
    r = horner(b, m, table.CBRT)
    # Halley's method: relative error 2^-12 → 2^-36.
    cube = r * r * r
    r = r * ((cube + m + m) / (cube + cube + m))
    square = two_product(b, r, r)
    cube_pair = two_product(b, square.hi, r)
    error = (m - cube_pair.hi) - b.fma(square.lo, r, cube_pair.lo)
    factor = ((third + (1023 - 341)) << 52).as_float()
    y = (r + error / (square.hi * 3.0)) * factor
    y = b.select(subnormal, y * 2.0**-18, y)
    return with_sign_of(b, b.select(a.gt(0.0) & a.lt(INF), y, a), x)


@through_double
def logaddexp(b: Builder, x: V, y: V) -> V:
    """log(e^x + e^y) = max + log1p(e^-|x-y|)."""
    larger = b.select(x.gt(y), x, y)
    distance = b.select(x.eq(y), const(x, 0.0), b.abs(x - y))
    return larger + log1p(b, exp(b, -distance))


def _zero_times(b: Builder, x: V, y: V, product: V) -> V:
    """0 where x is 0, unless y is NaN."""
    return b.select(x.eq(0.0) & y.eq(y), const(x, 0.0), product)


@through_double
def xlogy(b: Builder, x: V, y: V) -> V:
    """x·log(y), 0 where x is 0."""
    return _zero_times(b, x, y, x * log(b, y))


@through_double
def xlog1py(b: Builder, x: V, y: V) -> V:
    """x·log(1 + y), 0 where x is 0."""
    return _zero_times(b, x, y, x * log1p(b, y))


@through_double
def entr(b: Builder, x: V) -> V:
    """-x·log(x), 0 at 0, -∞ below."""
    positive = b.select(x.gt(0.0), x, const(x, 1.0))
    y = b.select(x.gt(0.0), -(positive * log(b, positive)), const(x, 0.0))
    y = b.select(x.lt(0.0), const(x, -INF), y)
    return b.select(x.isnan(), x, y)
