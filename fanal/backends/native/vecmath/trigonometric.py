"""sin, cos, tan.

After the reduction to |r| ≤ π/4 both polynomials are evaluated and the quadrant chooses:
sin r = r + r·(r²·S(r²)) and cos r = 1 + r²·(r²·C(r²) - ½), forms in which only the last addition
rounds at the size of the result.
"""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.vecmath.angle import (
    reduce_f32,
    reduce_f32_in_double,
    reduce_f64,
)
from fanal.backends.native.vecmath.coefficients import trigonometric as table
from fanal.backends.native.vecmath.coefficients.inverse_trigonometric import PI_F64 as PI
from fanal.backends.native.vecmath.core import F32, INF, const, format_of, horner, narrow, widen
from fanal.backends.native.vecmath.extended import Pair, divide, fast_two_sum, two_product


def _sin_cos(b: Builder, r: V) -> tuple[V, V]:
    """(sin r, cos r) for float32. The sum with +0 keeps the sign of a zero r: S is negative."""
    square = r * r
    w = b.fma(square, horner(b, square, table.SIN_F32), const(r, 0.0))
    inner = b.fma(square, horner(b, square, table.COS_F32), const(r, -0.5))
    return b.fma(w, r, r), b.fma(square, inner, const(r, 1.0))


def sin_cos_pairs(b: Builder, r: Pair) -> tuple[Pair, Pair]:
    """(sin r, cos r) of a pair, each with what its last addition lost."""
    square = r.hi * r.hi
    w = b.fma(square, horner(b, square, table.SIN_F64), const(r.hi, 0.0))
    # sin(r + l) ≈ sin r + l·(1 - r²/2), cos(r + l) ≈ cos r - l·r
    slope = b.fma(square, const(square, -0.5), const(square, 1.0))
    sin = fast_two_sum(r.hi, b.fma(w, r.hi, r.lo * slope))
    inner = b.fma(square, horner(b, square, table.COS_F64), const(square, -0.5))
    cos = fast_two_sum(const(square, 1.0), b.fma(square, inner, -(r.hi * r.lo)))
    return sin, cos


def _sin_of_turn(b: Builder, x: V, turn: int) -> V:
    """sin(x + turn·π/2)."""
    if format_of(x) is F32:
        r, quadrant = reduce_f32(b, x)
        sin, cos = _sin_cos(b, r)
    else:
        pair, quadrant = reduce_f64(b, x)
        sin, cos = (p.hi for p in sin_cos_pairs(b, pair))
    if turn:
        quadrant = quadrant + turn
    odd = (quadrant & 1).ne(0)
    flip = (quadrant & 2) << (format_of(x).bits - 2)
    return (b.select(odd, cos, sin).bits() ^ flip).as_float()


def sin(b: Builder, x: V) -> V:
    """sin x for every finite x; NaN at infinity."""
    return _sin_of_turn(b, x, 0)


def cos(b: Builder, x: V) -> V:
    """cos x for every finite x; NaN at infinity."""
    return _sin_of_turn(b, x, 1)


def tan(b: Builder, x: V) -> V:
    """tan x for every finite x: the quotient of both polynomials, float32 in double."""
    if format_of(x) is F32:
        r, quadrant = reduce_f32_in_double(b, x)
        square = r * r
        w = b.fma(square, horner(b, square, table.SIN_SHORT), const(r, 0.0))
        inner = b.fma(square, horner(b, square, table.COS_SHORT), const(r, -0.5))
        sin, cos = b.fma(w, r, r), b.fma(square, inner, const(r, 1.0))
        odd = (quadrant & 1).ne(0)
        return narrow(b.select(odd, -cos, sin) / b.select(odd, sin, cos))
    pair, quadrant = reduce_f64(b, x)
    s, c = sin_cos_pairs(b, pair)
    odd = (quadrant & 1).ne(0)
    above = Pair(b.select(odd, -c.hi, s.hi), b.select(odd, -c.lo, s.lo))
    below = Pair(b.select(odd, s.hi, c.hi), b.select(odd, s.lo, c.lo))
    quotient = divide(b, above, below)
    return b.select(x.eq(0.0), x, quotient.hi + quotient.lo)


def half_turns(b: Builder, a: V) -> tuple[Pair, Pair, V]:
    """(sin r, cos r, n) with π·a = n·π/2 + r for double a ≥ 0; n's low bits as an integer.

    a - n/2 is exact, so that multiples of ½ give exact zeros. Above 2^51 a is taken for 0 (it is a
    whole or half number there, and an integer from 2^52).
    """
    a = b.select(a.lt(2.0**51), a, const(a, 0.0))
    shifted = (a + a) + format_of(a).shifter
    n = shifted - format_of(a).shifter
    rest = a - n * 0.5
    r = two_product(b, rest, const(a, PI[0]))
    r = fast_two_sum(r.hi, b.fma(rest, const(a, PI[1]), r.lo))
    sin, cos = sin_cos_pairs(b, r)
    return sin, cos, shifted.bits()


def sinc(b: Builder, x: V) -> V:
    """sin(πx)/(πx), 1 at 0, NaN at infinity as PyTorch; float32 in double."""
    if format_of(x) is F32:
        return narrow(sinc(b, widen(x)))
    a = b.abs(x)
    s, c, n = half_turns(b, a)
    odd = (n & 1).ne(0)
    above = Pair(b.select(odd, c.hi, s.hi), b.select(odd, c.lo, s.lo))
    below = two_product(b, a, const(x, PI[0]))
    below = fast_two_sum(below.hi, b.fma(a, const(x, PI[1]), below.lo))
    quotient = divide(b, above, below)
    y = ((quotient.hi + quotient.lo).bits() ^ ((n & 2) << 62)).as_float()
    y = b.select(a.lt(2.0**-30), const(x, 1.0), y)
    return b.select(a.lt(2.0**1000), y, b.select(a.lt(INF), const(x, 0.0), a - a))
