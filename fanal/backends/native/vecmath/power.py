"""pow, sqrt, rsqrt, hypot.

x^y = 2^(y·log2|x|) with the signs and special cases of C99 (annex F.9.4.4) around it. float32
computes in double with short polynomials: an error of 2^-36 in log2 leaves 2^-29 in the result.
float64 keeps log2|x| and its product with y as pairs of doubles, error about 2^-65.
"""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.vecmath.coefficients import exponential as powers
from fanal.backends.native.vecmath.coefficients import power as table
from fanal.backends.native.vecmath.core import (
    F32,
    INF,
    NAN,
    const,
    format_of,
    horner,
    narrow,
    polynomial,
    sign_bit,
    widen,
)
from fanal.backends.native.vecmath.exponential import clamp, scale
from fanal.backends.native.vecmath.extended import (
    Pair,
    divide,
    fast_two_sum,
    multiply_loosely,
    two_product,
)
from fanal.backends.native.vecmath.logarithm import normalise, split


def sqrt(b: Builder, x: V) -> V:
    """Square root, correctly rounded."""
    return b.sqrt(x)


def rsqrt(b: Builder, x: V) -> V:
    """1/√x: two correctly rounded operations."""
    return const(x, 1.0) / b.sqrt(x)


def pow_(b: Builder, x: V, y: V) -> V:
    """x^y with C99's special cases."""
    a = b.abs(x)
    if format_of(x) is F32:
        magnitude = _magnitude_f32(b, a, y)
    else:
        magnitude = power_of_positive(b, a, y)
    # Also right for a = 1 with infinite y, where the product of logarithms is NaN.
    magnitude = b.select(a.eq(1.0), const(x, 1.0), magnitude)
    whole, odd = _parity(b, y)
    sign = b.select(odd, sign_bit(x), x.bits() & 0)
    result = (magnitude.bits() ^ sign).as_float()
    root_of_negative = x.lt(0.0) & x.gt(-INF) & ~whole
    result = b.select(root_of_negative, const(x, NAN), result)
    return b.select(x.eq(1.0) | y.eq(0.0), const(x, 1.0), result)


def _parity(b: Builder, y: V) -> tuple[V, V]:
    """(y is an integer, y is an odd integer); infinities and all large numbers are even."""
    large = 2.0 ** format_of(y).mantissa
    a = b.abs(y)
    half = a * 0.5
    whole = ((a + large) - large).eq(a) | a.ge(large)
    even = ((half + large) - large).eq(half) | half.ge(large)
    return whole, whole & ~even


def _logarithm_edges(b: Builder, a: V, y: V) -> V:
    """y = log2(a) corrected where a is 0, infinite or NaN."""
    y = b.select(a.lt(INF), y, a)
    return b.select(a.eq(0.0), const(y, -INF), y)


def _magnitude_f32(b: Builder, a: V, y: V) -> V:
    """2^(y·log2 a) through double, for a ≥ 0."""
    return narrow(power_short(b, widen(a), widen(y)))


def power_short(b: Builder, a: V, y: V) -> V:
    """a^y for normal double a ≥ 0 with the accuracy of float32, held within 2^±300."""
    f, e = split(b, a)
    s = f / (f + 2.0)
    log = b.fma(s, horner(b, s * s, table.LOG2_SHORT), e)
    exponent = clamp(b, y * _logarithm_edges(b, a, log), -300.0, 300.0)
    magic = format_of(a).shifter
    shifted = exponent + magic
    p = polynomial(b, exponent - (shifted - magic), table.EXP2_SHORT)
    return (p.bits() + (shifted.bits() << 52)).as_float()


def log2_pair(b: Builder, a: V) -> Pair:
    """log2(a) for a ≥ 0 as a pair with relative error about 2^-65.

    log(1+f) = 2s + s³·(2/3 + s²·(2/5 + …)) with s = f/(2+f) as a pair; two coefficients and all
    products up to them are pairs.
    """
    scaled, shift = normalise(b, a)
    f, e = split(b, scaled)
    s = divide(b, Pair(f, const(f, 0.0)), fast_two_sum(const(f, 2.0), f))
    z = multiply_loosely(b, s, s)
    p = fast_two_sum(const(f, table.ATANH_1[0]), z.hi * horner(b, z.hi, table.ATANH_TAIL))
    p = multiply_loosely(b, Pair(p.hi, p.lo + table.ATANH_1[1]), z)
    q = fast_two_sum(const(f, table.ATANH_0[0]), p.hi)
    p = multiply_loosely(b, Pair(q.hi, q.lo + (p.lo + table.ATANH_0[1])), z)
    # log2(1+f) = s·(2/ln 2 + s²·…); both sums add what is smaller, or to zero.
    q = fast_two_sum(const(f, table.TWO_LOG2E[0]), p.hi)
    log = multiply_loosely(b, Pair(q.hi, q.lo + (p.lo + table.TWO_LOG2E[1])), s)
    total = fast_two_sum(e + shift, log.hi)
    return fast_two_sum(total.hi, total.lo + log.lo)


def power_of_positive(b: Builder, a: V, y: V) -> V:
    """a^y for double a ≥ 0 (NaN for 1^∞ and ∞^0, which the caller knows better)."""
    log = log2_pair(b, a)
    product = two_product(b, log.hi, y)
    low = b.fma(log.lo, y, product.lo)
    hi = y * _logarithm_edges(b, a, log.hi)
    # Where the product is out of range (or not finite), its low part means nothing.
    low = b.select(b.abs(hi).lt(1100.0), low, const(a, 0.0))
    hi = clamp(b, hi, -1100.0, 1100.0)
    magic = format_of(a).shifter + 2 * format_of(a).bias
    shifted = hi + magic
    r = (hi - (shifted - magic)) + low
    p = polynomial(b, r, powers.EXP2_F64)
    return scale(b.fma(p, r, const(a, 1.0)), shifted)
