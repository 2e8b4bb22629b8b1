"""tanh, sigmoid, sinh, cosh.

tanh: an odd polynomial near zero, elsewhere 1 - 2/(e^2|x| + 1). sigmoid: 2^n/(2^n + e^-r) with
x = n·ln 2 + r, which keeps the far left tail (down to subnormal numbers) in one division.
sinh: an odd polynomial up to 1; beyond, and for cosh, (e^x ∓ e^-x)/2 with e^x as a pair.
"""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.vecmath.coefficients import hyperbolic as table
from fanal.backends.native.vecmath.core import F32, const, format_of, horner, with_sign_of
from fanal.backends.native.vecmath.exponential import (
    exp_reduced,
    power_of_two,
    reduce_exp,
    within,
)
from fanal.backends.native.vecmath.extended import Pair, fast_two_sum


def tanh(b: Builder, x: V) -> V:
    """Hyperbolic tangent."""
    f = format_of(x)
    single = f is F32
    a = b.abs(x)
    square = x * x
    p = horner(b, square, table.TANH_F32 if single else table.TANH_F64)
    near = b.fma(p * square, a, a)
    # Beyond this, tanh rounds to 1.
    limit = 9.5 if single else 19.5
    capped = b.select(a.gt(limit), const(a, limit), a)
    r, shifted = reduce_exp(b, capped + capped, f.bias)
    factor = power_of_two(shifted)
    grown = b.fma(factor, exp_reduced(b, r), factor + 1.0)
    far = 1.0 - 2.0 / grown
    reach = table.TANH_REACH_F32 if single else table.TANH_REACH_F64
    return with_sign_of(b, b.select(a.lt(reach), near, far), x)


def sigmoid(b: Builder, x: V) -> V:
    """1/(1 + e^-x)."""
    f = format_of(x)
    limits = (-103.98, 20.0) if f is F32 else (-745.14, 40.0)
    vanishing, x = within(b, x, *limits)
    r, shifted = reduce_exp(b, x, 2 * f.bias)
    # With x = n·ln 2 + r:  sigmoid = 2^n·e^r/(1 + 2^n·e^r) = 2^n/(2^n + e^-r).
    bits = shifted.bits()
    first = (bits << (f.mantissa - 1)) & (f.sign_mask - (1 << f.mantissa))
    second = ((bits << f.mantissa) - first).as_float()
    factor = first.as_float()
    q = exp_reduced(b, -r)
    ratio = factor * second
    y = const(x, 1.0) / ((ratio + 1.0) + q)
    if b.target.fma:
        # One step of Newton with the exact denominator: what the sums and the division lost.
        y = b.fma(y, b.fma(-y, q, b.fma(-y, ratio, 1.0 - y)), y)
    return b.select(vanishing, 0.0, (y * factor) * second)


def _exp_pair(b: Builder, a: V) -> Pair:
    """e^a/4 as a pair, for 0 ≤ a up to where cosh overflows."""
    f = format_of(a)
    limit = 89.5 if f is F32 else 711.0
    r, shifted = reduce_exp(b, b.select(a.gt(limit), const(a, limit), a), f.bias - 2)
    p = fast_two_sum(const(a, 1.0), exp_reduced(b, r))
    factor = power_of_two(shifted)
    return Pair(p.hi * factor, p.lo * factor)


def sinh(b: Builder, x: V) -> V:
    """Hyperbolic sine."""
    a = b.abs(x)
    square = x * x
    p = horner(b, square, table.SINH_F32 if format_of(x) is F32 else table.SINH_F64)
    near = b.fma(p * square, a, a)
    e = _exp_pair(b, a)
    far = (e.hi - (0.0625 / e.hi - e.lo)) * 2.0
    return with_sign_of(b, b.select(a.lt(1.0), near, far), x)


def cosh(b: Builder, x: V) -> V:
    """Hyperbolic cosine."""
    e = _exp_pair(b, b.abs(x))
    return (e.hi + (0.0625 / e.hi + e.lo)) * 2.0
