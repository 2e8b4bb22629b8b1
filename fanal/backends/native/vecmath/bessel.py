"""Bessel functions of orders 0 and 1: I (plain and scaled by e^-|x|), J, Y; float32 in double.

Pieces below 16, anchored at the zeros so that the result is right relative to itself near them.
Beyond, √x·e^-x·I is a polynomial in 1/x, and J = M·cos θ, Y = M·sin θ, where the amplitude and
x·(θ - x + π/4 + …) are polynomials in 1/x² (DLMF 10.18) and θ is added to x modulo π/2 as a pair.
"""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.vecmath.angle import reduce_f64
from fanal.backends.native.vecmath.coefficients import bessel as table
from fanal.backends.native.vecmath.core import (
    F32,
    INF,
    NAN,
    choose,
    const,
    format_of,
    horner,
    narrow,
    polynomial,
    widen,
    with_sign_of,
)
from fanal.backends.native.vecmath.exponential import clamp, exp_reduced, reduce_exp, scale
from fanal.backends.native.vecmath.extended import Pair, add
from fanal.backends.native.vecmath.logarithm import log
from fanal.backends.native.vecmath.pieces import Rows, evaluate, geometric, uniform
from fanal.backends.native.vecmath.trigonometric import sin_cos_pairs

_HIGH = 16.0
# Terms that leave 2^-30 (I1's first piece, on a root at its end, needs nearly all).
_SHORT = {"i0e": 10, "i1e": 13, "j0": 10, "j1": 10, "y0": 11, "y1": 11}


def _halves(b: Builder, name: str, rows: Rows, a: V, short: bool) -> V:
    """A function on [0, 16) in pieces of ½."""
    a = b.select(a.gt(_HIGH), const(a, _HIGH), a)
    index = uniform(b, a, 2, len(rows))
    return evaluate(b, f"vecmath_{name}", rows, a, index, _SHORT[name] if short else None)


# -- modified: I0, I1 -------------------------------------------------------------------------------


def _scaled_i(b: Builder, order: int, x: V, short: bool) -> V:
    """e^-|x|·I(|x|)."""
    a = b.abs(x)
    near = _halves(b, f"i{order}e", (table.I0E, table.I1E)[order], a, short)
    far = a.ge(_HIGH)

    def compute() -> V:
        safe = b.select(a.lt(_HIGH), const(a, _HIGH), a)
        series = (table.I0E_FAR, table.I1E_FAR)[order]
        return polynomial(b, const(x, 1.0) / safe, series) / b.sqrt(safe)

    return choose(b, far, compute, near)


def _i(b: Builder, order: int, x: V, short: bool) -> V:
    """I(|x|) = (e^-|x|·I)·e^|x|, where e^|x| alone may overflow."""
    y = _scaled_i(b, order, x, short)
    a = b.abs(x)
    capped = b.select(a.gt(720.0), const(x, 720.0), a)
    r, shifted = reduce_exp(b, capped, 2 * format_of(x).bias)
    grown = scale(b.fma(exp_reduced(b, r), y, y), shifted)
    # Past the cap y alone falls: without this the product would come back from infinity.
    return b.select(a.le(720.0), grown, b.select(a.isnan(), a, const(x, INF)))


def i0e(b: Builder, x: V) -> V:
    """e^-|x|·I0(x)."""
    if format_of(x) is F32:
        return narrow(_scaled_i(b, 0, widen(x), True))
    return _scaled_i(b, 0, x, False)


def i1e(b: Builder, x: V) -> V:
    """e^-|x|·I1(x)."""
    if format_of(x) is F32:
        return with_sign_of(b, narrow(_scaled_i(b, 1, widen(x), True)), x)
    return with_sign_of(b, _scaled_i(b, 1, x, False), x)


def i0(b: Builder, x: V) -> V:
    """The modified Bessel function I0."""
    return narrow(_i(b, 0, widen(x), True)) if format_of(x) is F32 else _i(b, 0, x, False)


def i1(b: Builder, x: V) -> V:
    """The modified Bessel function I1."""
    y = narrow(_i(b, 1, widen(x), True)) if format_of(x) is F32 else _i(b, 1, x, False)
    return with_sign_of(b, y, x)


# -- J0, J1, Y0, Y1 -----------------------------------------------------------------------------------


def _far(b: Builder, order: int, a: V) -> tuple[V, V]:
    """(M·cos w, M·sin w) with w = a - π/4 + phase, for a ≥ 16."""
    inverse = const(a, 1.0) / a
    u = inverse * inverse
    amplitude = polynomial(b, u, (table.AMPLITUDE_0, table.AMPLITUDE_1)[order])
    phase = inverse * polynomial(b, u, (table.PHASE_0, table.PHASE_1)[order])
    r, n = reduce_f64(b, a)
    # Keep |r| below π/4: add π/4 and step one quadrant back, or subtract it.
    below = r.hi.lt(0.0)
    quarter, low = table.QUARTER_PI
    shift = Pair(
        b.select(below, const(a, quarter), const(a, -quarter)),
        b.select(below, const(a, low), const(a, -low)),
    )
    w = add(add(r, shift), Pair(phase, const(a, 0.0)))
    n = b.select(below, n - 1, n)
    sin, cos = sin_cos_pairs(b, w)
    m = amplitude * (table.ROOT_TWO_OVER_PI / b.sqrt(a))
    odd = (n & 1).ne(0)
    first = b.select(odd, sin.hi, cos.hi)
    second = b.select(odd, cos.hi, sin.hi)
    cos_flip = ((n + 1) & 2) << 62
    sin_flip = (n & 2) << 62
    return (
        m * (first.bits() ^ cos_flip).as_float(),
        m * (second.bits() ^ sin_flip).as_float(),
    )


def _j(b: Builder, order: int, x: V, short: bool) -> V:
    a = b.abs(x)
    near = _halves(b, f"j{order}", (table.J0, table.J1)[order], a, short)
    safe = b.select(a.gt(_HIGH), a, const(a, _HIGH))
    y = choose(b, a.ge(_HIGH), lambda: _far(b, order, safe)[order], near)
    y = b.select(a.lt(INF), y, b.select(x.isnan(), x, const(x, 0.0)))
    if order == 0:
        return y
    return (y.bits() ^ (x.bits() & -(1 << 63))).as_float()


def _y(b: Builder, order: int, x: V, short: bool) -> V:
    rows = (table.Y0, table.Y1)[order]
    inside = clamp(b, x, 0.5, _HIGH - 2.0**-49)
    index = geometric(b, inside, 0.5, 3, len(rows))
    terms = _SHORT[f"y{order}"] if short else None
    y = evaluate(b, f"vecmath_y{order}", rows, inside, index, terms)
    y = choose(b, x.lt(0.5) & x.gt(0.0), lambda: _y_near_zero(b, order, x, short), y)
    safe = b.select(x.gt(_HIGH), x, const(x, _HIGH))

    def far() -> V:
        cos, sin = _far(b, order, safe)
        return sin if order == 0 else -cos

    y = choose(b, x.ge(_HIGH), far, y)
    y = b.select(x.lt(INF), y, b.select(x.isnan(), x, const(x, 0.0)))
    y = b.select(x.eq(0.0), const(x, -INF), y)
    return b.select(x.lt(0.0), const(x, NAN), y)


def _y_near_zero(b: Builder, order: int, x: V, short: bool) -> V:
    """(2/π)·(log x·J(x) [- 1/x]) + R(x²) for 0 < x < ½."""
    small = b.select(x.lt(0.5) & x.gt(0.0), x, const(x, 0.25))
    j = _halves(b, f"j{order}", (table.J0, table.J1)[order], small, short)
    rest = horner(b, small * small, (table.Y0_NEAR, table.Y1_NEAR)[order])
    logarithm = log(b, small) * table.TWO_OVER_PI
    if order == 0:
        return b.fma(logarithm, j, rest)
    return b.fma(logarithm, j, rest * small) - table.TWO_OVER_PI / small


def bessel_j0(b: Builder, x: V) -> V:
    """Bessel function of the first kind, order 0."""
    return narrow(_j(b, 0, widen(x), True)) if format_of(x) is F32 else _j(b, 0, x, False)


def bessel_j1(b: Builder, x: V) -> V:
    """Bessel function of the first kind, order 1."""
    return narrow(_j(b, 1, widen(x), True)) if format_of(x) is F32 else _j(b, 1, x, False)


def bessel_y0(b: Builder, x: V) -> V:
    """Bessel function of the second kind, order 0; -∞ at 0, NaN below."""
    return narrow(_y(b, 0, widen(x), True)) if format_of(x) is F32 else _y(b, 0, x, False)


def bessel_y1(b: Builder, x: V) -> V:
    """Bessel function of the second kind, order 1; -∞ at 0, NaN below."""
    return narrow(_y(b, 1, widen(x), True)) if format_of(x) is F32 else _y(b, 1, x, False)
