"""Functions of a float's bits: nextafter, ldexp, frexp."""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.vecmath.core import INF, const, format_of, sign_bit
from fanal.backends.native.vecmath.exponential import clamp


def nextafter(b: Builder, x: V, y: V) -> V:
    """The float beside x in the direction of y; y itself where they are equal."""
    bits = x.bits()
    # Away from zero the bits grow, whatever the sign.
    away = x.lt(y) ^ bits.lt(0)
    moved = b.select(away, bits + 1, bits - 1).as_float()
    smallest = ((y.bits() & 0) | 1 | sign_bit(y)).as_float()
    moved = b.select(x.eq(0.0), smallest, moved)
    moved = b.select(x.eq(y), y, moved)
    return b.select(x.isnan() | y.isnan(), x + y, moved)


def ldexp(b: Builder, x: V, n: V) -> V:
    """x·2^n for integral n (given as a float), rounded once.

    2^n may be outside the format: up to three factors, the one that can end in subnormal numbers
    last.
    """
    f = format_of(x)
    low, high = 1 - f.bias, f.bias
    n = clamp(b, n, -2.0 * f.bias - f.mantissa - 8, 2.0 * f.bias + f.mantissa + 8)
    last = clamp(b, n, float(low), float(high))
    middle = clamp(b, n - last, float(low), float(high))
    first = n - last - middle
    return ((x * _power(b, first)) * _power(b, middle)) * _power(b, last)


def _power(b: Builder, n: V) -> V:
    """2^n for integral n in the normal range; NaN for NaN."""
    f = format_of(n)
    bits = (n + (f.shifter + f.bias)).bits() << f.mantissa
    return b.select(n.isnan(), n, bits.as_float())


def _normalised(b: Builder, x: V) -> tuple[V, V, V]:
    """(|x| as a normal number, what its exponent must be lowered by, whether x has an exponent)."""
    f = format_of(x)
    a = b.abs(x)
    subnormal = a.lt(f.smallest_normal)
    scaled = b.select(subnormal, a * 2.0**f.mantissa, a)
    less = b.select(subnormal, const(x, f.mantissa), const(x, 0.0))
    return scaled, less, a.gt(0.0) & a.lt(INF)


def frexp_mantissa(b: Builder, x: V) -> V:
    """m with x = m·2^e and ½ ≤ |m| < 1; x itself for 0, infinity and NaN."""
    f = format_of(x)
    scaled, _, has = _normalised(b, x)
    fraction = scaled.bits() & ((1 << f.mantissa) - 1)
    m = fraction | ((f.bias - 1) << f.mantissa) | sign_bit(x)
    return b.select(has, m.as_float(), x)


def frexp_exponent(b: Builder, x: V) -> V:
    """e with x = m·2^e and ½ ≤ |m| < 1, as a float; 0 for 0, infinity and NaN."""
    f = format_of(x)
    scaled, less, has = _normalised(b, x)
    ones = (f.bias + f.mantissa) << f.mantissa  # the bits of 2^mantissa
    e = (scaled.bits().lshr(f.mantissa) | ones).as_float() - (2.0**f.mantissa + f.bias - 1)
    return b.select(has, e - less, const(x, 0.0))
