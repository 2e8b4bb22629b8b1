"""exp, exp2, expm1, and 2^n as a factor.

x = n·ln 2 + r with n = round(x/ln 2) and |r| ≤ ln(2)/2, so e^x = 2^n·e^r. Adding 1.5·2^mantissa
rounds to n and leaves n in the low bits of the sum, from where a shift makes it an exponent.
ln 2 is split so that n·hi is exact even without a fused multiply-add (Cody and Waite, 1980).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.vecmath.coefficients import exponential as table
from fanal.backends.native.vecmath.core import F32, const, format_of, is_tiny, polynomial


@dataclass(frozen=True)
class _Range:
    """Where e^x and 2^x leave a format: beyond these bounds the result is 0 (for expm1, -1) or infinite."""

    exp: tuple[float, float]
    exp2: tuple[float, float]
    expm1: tuple[float, float]


_RANGES = {
    32: _Range((-103.98, 89.0), (-150.0, 129.0), (-18.0, 89.0)),
    64: _Range((-745.14, 710.0), (-1075.0, 1025.0), (-40.0, 710.0)),
}


def clamp(b: Builder, x: V, low: float, high: float) -> V:
    """x kept within bounds; NaN stays."""
    x = b.select(x.gt(high), const(x, high), x)
    return b.select(x.lt(low), const(x, low), x)


def within(b: Builder, x: V, low: float, high: float) -> tuple[V, V]:
    """(where x is below the lower bound, x with zero in its place there and the upper bound kept).

    Below it the result is a plain zero: rounding a product down to zero would give it too, but takes
    processors some hundred cycles a vector, and masked scores (-∞) are many.
    """
    vanishing = x.lt(low)
    return vanishing, b.select(vanishing, 0.0, b.select(x.gt(high), const(x, high), x))


def reduce_exp(b: Builder, x: V, offset: int) -> tuple[V, V]:
    """(r, shifted): x = n·ln 2 + r, and the low bits of `shifted` are n + offset."""
    f = format_of(x)
    high, low = table.LN2_F32 if f is F32 else table.LN2_F64
    magic = f.shifter + offset
    shifted = b.fma(x, const(x, table.LOG2E), const(x, magic))
    n = shifted - magic
    r = b.fma(n, const(x, -high), x)
    return b.fma(n, const(x, -low), r), shifted


def power_of_two(shifted: V) -> V:
    """2^n, where the low bits of `shifted` are n + bias and 2^n is a normal number."""
    return (shifted.bits() << format_of(shifted).mantissa).as_float()


def scale(y: V, shifted: V) -> V:
    """y·2^n for any n, where the low bits of `shifted` are n + 2·bias.

    2^n is applied as two factors that are normal numbers, so that only the last product rounds,
    be it to a subnormal number, to zero or to infinity.
    """
    f = format_of(y)
    bits = shifted.bits()
    first = (bits << (f.mantissa - 1)) & (f.sign_mask - (1 << f.mantissa))
    second = (bits << f.mantissa) - first
    return (y * first.as_float()) * second.as_float()


def exp(b: Builder, x: V) -> V:
    """e^x."""
    f = format_of(x)
    vanishing, x = within(b, x, *_RANGES[f.bits].exp)
    r, shifted = reduce_exp(b, x, 2 * f.bias)
    return b.select(vanishing, 0.0, scale(exp_reduced(b, r) + 1.0, shifted))


def exp_or_zero(b: Builder, x: V) -> V:
    """e^x with zero in the place of results below the smallest normal number: all others are `exp`'s."""
    f = format_of(x)
    high = _RANGES[f.bits].exp[1]
    tiny = x.lt(math.log(f.smallest_normal))
    r, shifted = reduce_exp(b, b.select(x.gt(high), const(x, high), x), f.bias)
    return b.select(tiny, 0.0, (exp_reduced(b, r) + 1.0) * power_of_two(shifted))


def exp_reduced(b: Builder, r: V) -> V:
    """e^r - 1 for |r| ≤ ln(2)/2, its error small against 1 (not against r)."""
    square = r * r
    coefficients = table.EXP_F32 if format_of(r) is F32 else table.EXP_F64
    return b.fma(polynomial(b, r, coefficients, square), square, r)


def exp2(b: Builder, x: V) -> V:
    """2^x; integers give exact powers."""
    f = format_of(x)
    vanishing, x = within(b, x, *_RANGES[f.bits].exp2)
    magic = f.shifter + 2 * f.bias
    shifted = x + magic
    r = x - (shifted - magic)
    p = polynomial(b, r, table.EXP2_F32 if f is F32 else table.EXP2_F64)
    return b.select(vanishing, 0.0, scale(b.fma(p, r, const(x, 1.0)), shifted))


def expm1(b: Builder, x: V) -> V:
    """e^x - 1 = 2^n·(e^r - 1) + (2^n - 1).

    Half of it is computed first, since 2^n alone may overflow where the result does not. Here r
    ends at ln 1.5: on neither side of that cut does a rounding of q weigh more than one of y.
    """
    f = format_of(x)
    high, low = table.LN2_F32 if f is F32 else table.LN2_F64
    clamped = clamp(b, x, *_RANGES[f.bits].expm1)
    magic = f.shifter + f.bias - 1
    shifted = b.fma(clamped, const(x, table.LOG2E), const(x, -table.EXPM1_SHIFT)) + magic
    n = shifted - magic
    r = b.fma(n, const(x, -low), b.fma(n, const(x, -high), clamped))
    square = r * r
    p = polynomial(b, r, table.EXPM1_F32 if f is F32 else table.EXPM1_F64, square)
    q = b.fma(p, square, r)
    factor = power_of_two(shifted)  # 2^(n - 1)
    y = b.fma(factor, q, factor - 0.5) * 2.0
    return b.select(is_tiny(b, x, 2.0 ** -(f.mantissa + 2)), x, y)
