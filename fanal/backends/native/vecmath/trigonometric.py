"""sin, cos, tan.

After the reduction to |r| ≤ π/4 both polynomials are evaluated and the quadrant chooses:
sin r = r + r·(r²·S(r²)) and cos r = 1 + r²·(r²·C(r²) - ½), forms in which only the last addition
rounds at the size of the result.
"""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.vecmath.angle import reduce_angle, reduce_angle_in_double
from fanal.backends.native.vecmath.coefficients import trigonometric as table
from fanal.backends.native.vecmath.coefficients.inverse_trigonometric import PI_F64 as PI
from fanal.backends.native.vecmath.core import F32, INF, const, format_of, horner, narrow, widen
from fanal.backends.native.vecmath.extended import Pair, divide, fast_two_sum, two_product


def _sin_reduced(b: Builder, r: V, square: V) -> V:
    """sin r. The sum with +0 keeps the sign of a zero r: S is negative."""
    coefficients = table.SIN_F32 if format_of(r) is F32 else table.SIN_F64
    return b.fma(b.fma(square, horner(b, square, coefficients), const(r, 0.0)), r, r)


def _cos_reduced(b: Builder, r: V, square: V) -> V:
    coefficients = table.COS_F32 if format_of(r) is F32 else table.COS_F64
    inner = b.fma(square, horner(b, square, coefficients), const(r, -0.5))
    return b.fma(square, inner, const(r, 1.0))


def _both(b: Builder, r: Pair | V) -> tuple[V, V]:
    """(sin r, cos r)."""
    if isinstance(r, V):
        square = r * r
        return _sin_reduced(b, r, square), _cos_reduced(b, r, square)
    sin, cos = sin_cos_pairs(b, r)
    return sin.hi, cos.hi


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


def _turned(b: Builder, r: Pair | V, quadrant: V) -> V:
    """sin(r + quadrant·π/2)."""
    sin, cos = _both(b, r)
    bits = format_of(sin).bits
    odd = (quadrant & 1).ne(0)
    flip = (quadrant & 2) << (bits - 2)
    return (b.select(odd, cos, sin).bits() ^ flip).as_float()


def sin(b: Builder, x: V) -> V:
    """sin x for every finite x; NaN at infinity."""
    r, quadrant = reduce_angle(b, x)
    return _turned(b, r, quadrant)


def cos(b: Builder, x: V) -> V:
    """cos x for every finite x; NaN at infinity."""
    r, quadrant = reduce_angle(b, x)
    return _turned(b, r, quadrant + 1)


def tan(b: Builder, x: V) -> V:
    """tan x for every finite x: the quotient of both polynomials, float32 in double."""
    if format_of(x) is F32:
        r, quadrant = reduce_angle_in_double(b, x)
        square = r * r
        w = b.fma(square, horner(b, square, table.SIN_SHORT), const(r, 0.0))
        inner = b.fma(square, horner(b, square, table.COS_SHORT), const(r, -0.5))
        sin, cos = b.fma(w, r, r), b.fma(square, inner, const(r, 1.0))
        odd = (quadrant & 1).ne(0)
        return narrow(b.select(odd, -cos, sin) / b.select(odd, sin, cos))
    r, quadrant = reduce_angle(b, x)
    sin_pair, cos_pair = sin_cos_pairs(b, r)
    odd = (quadrant & 1).ne(0)
    above = Pair(*(b.select(odd, -c, s) for s, c in zip(sin_pair, cos_pair, strict=True)))
    below = Pair(*(b.select(odd, s, c) for s, c in zip(sin_pair, cos_pair, strict=True)))
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
    sin, cos, n = half_turns(b, a)
    odd = (n & 1).ne(0)
    above = Pair(b.select(odd, cos.hi, sin.hi), b.select(odd, cos.lo, sin.lo))
    below = two_product(b, a, const(x, PI[0]))
    below = fast_two_sum(below.hi, b.fma(a, const(x, PI[1]), below.lo))
    y = divide(b, above, below)
    y = ((y.hi + y.lo).bits() ^ ((n & 2) << 62)).as_float()
    y = b.select(a.lt(2.0**-30), const(x, 1.0), y)
    return b.select(a.lt(2.0**1000), y, b.select(a.lt(INF), const(x, 0.0), a - a))
