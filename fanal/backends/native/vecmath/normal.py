"""The normal distribution: ndtr, log_ndtr, ndtri, and erfinv; float32 computes in double.

Quantiles: an odd polynomial in p - ½ for 1/8 ≤ p ≤ 7/8; in the tails a function of
w = √(-log q) (q the tail's mass), in which they are nearly straight, in pieces.
"""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.vecmath.coefficients import error_function as table
from fanal.backends.native.vecmath.core import (
    F32,
    INF,
    NAN,
    const,
    format_of,
    narrow,
    polynomial,
    widen,
    with_sign_of,
)
from fanal.backends.native.vecmath.error_function import (
    NEAR,
    erf_near,
    erfcx,
    exp_minus,
)
from fanal.backends.native.vecmath.exponential import clamp
from fanal.backends.native.vecmath.extended import Pair, two_product
from fanal.backends.native.vecmath.logarithm import log, log1p
from fanal.backends.native.vecmath.pieces import evaluate, geometric

_ROOT_HALF = 0.5**0.5
_SHORT_TAIL = 8


def _half_square(b: Builder, x: V) -> Pair:
    """x²/2."""
    p = two_product(b, x, x)
    return Pair(p.hi * 0.5, p.lo * 0.5)


def _upper_tail(b: Builder, a: V, short: bool) -> tuple[V, V, V]:
    """For a ≥ 0: (½·erfc(a/√2), ½·erfcx(a/√2), a/√2); the second is for a/√2 ≥ ½."""
    z = a * _ROOT_HALF
    limited = b.select(a.gt(40.0), const(a, 40.0), a)
    scaled = erfcx(b, clamp(b, z, NEAR, 1e60), short)
    half = Pair(scaled.hi * 0.5, scaled.lo * 0.5)
    tail = exp_minus(b, _half_square(b, limited), half)
    near = b.fma(erf_near(b, z, short), const(a, -0.5), const(a, 0.5))
    return b.select(z.lt(NEAR), near, tail), half.hi + half.lo, z


def ndtr(b: Builder, x: V) -> V:
    """The normal distribution function, right in both tails."""
    if format_of(x) is F32:
        return narrow(_ndtr(b, widen(x), True))
    return _ndtr(b, x, False)


def _ndtr(b: Builder, x: V, short: bool) -> V:
    tail, _, _ = _upper_tail(b, b.abs(x), short)
    return b.select(x.gt(0.0), 1.0 - tail, tail)


def log_ndtr(b: Builder, x: V) -> V:
    """log of the normal distribution function, without cancellation in either tail."""
    if format_of(x) is F32:
        return narrow(_log_ndtr(b, widen(x), True))
    return _log_ndtr(b, x, False)


def _log_ndtr(b: Builder, x: V, short: bool) -> V:
    tail, scaled, z = _upper_tail(b, b.abs(x), short)
    positive = x.gt(0.0)
    # x > 0: log(1 - tail); -0.7 < x ≤ 0: log(tail); below: log(scaled) - x²/2.
    right = log1p(b, -tail)
    far = z.ge(NEAR)
    left = log(b, b.select(far, scaled, tail))
    left = b.select(far, left - x * x * 0.5, left)
    y = b.select(positive, right, left)
    return b.select(x.eq(-INF), x, y)


def _quantile_tail(b: Builder, q: V, short: bool) -> V:
    """-Φ⁻¹(q) for 0 < q ≤ 1/8."""
    w = b.sqrt(-log(b, q))
    rows = table.QUANTILE_TAIL
    index = geometric(b, w, 1.25, 3, len(rows))
    terms = _SHORT_TAIL if short else None
    return evaluate(b, "vecmath_quantile", rows, w, index, terms)


def ndtri(b: Builder, x: V) -> V:
    """The inverse of ndtr; ∓∞ at 0 and 1, NaN outside."""
    if format_of(x) is F32:
        return narrow(_ndtri(b, widen(x), True))
    return _ndtri(b, x, False)


def _ndtri(b: Builder, p: V, short: bool) -> V:
    y = p - 0.5
    centre = y * polynomial(b, y * y, table.QUANTILE_SHORT if short else table.QUANTILE_F64)
    upper = y.gt(0.0)
    q = b.select(upper, 1.0 - p, p)
    in_tail = q.lt(0.125)
    tail = _quantile_tail(b, b.select(in_tail & q.gt(0.0), q, const(p, 0.125)), short)
    tail = b.select(q.gt(0.0), tail, const(p, INF))
    result = b.select(in_tail, b.select(upper, tail, -tail), centre)
    return b.select(q.lt(0.0), const(p, NAN), result)


def erfinv(b: Builder, x: V) -> V:
    """The inverse of erf; infinite at ±1, NaN beyond."""
    if format_of(x) is F32:
        return narrow(_erfinv(b, widen(x), True))
    return _erfinv(b, x, False)


def _erfinv(b: Builder, x: V, short: bool) -> V:
    # erfinv(x) = Φ⁻¹((1+x)/2)/√2.
    square = x * x * 0.25
    p = polynomial(b, square, table.QUANTILE_SHORT if short else table.QUANTILE_F64)
    centre = x * (p * (_ROOT_HALF / 2))
    a = b.abs(x)
    q = (1.0 - a) * 0.5
    in_tail = q.lt(0.125)
    tail = _quantile_tail(b, b.select(in_tail & q.gt(0.0), q, const(x, 0.125)), short)
    tail = b.select(q.gt(0.0), tail * _ROOT_HALF, const(x, INF))
    tail = b.select(q.lt(0.0), const(x, NAN), tail)
    return b.select(in_tail, with_sign_of(b, tail, x), centre)
