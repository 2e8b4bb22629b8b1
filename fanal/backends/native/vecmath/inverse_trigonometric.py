"""asin, acos, atan, atan2.

asin is an odd polynomial up to ½; above, asin x = π/2 - 2·asin(√((1-x)/2)). atan is an odd
polynomial up to tan(½), from where on its result is above ½, so that the rounding of
(x-1)/(x+1) weighs little in atan x = π/4 + atan((x-1)/(x+1)); beyond tan(3π/8) it is
π/2 - atan(1/x). Multiples of π/4 are pairs, and the sum with them keeps its rounding error.
"""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.vecmath.coefficients import inverse_trigonometric as table
from fanal.backends.native.vecmath.core import (
    F32,
    INF,
    NAN,
    const,
    format_of,
    is_negative_zero_or_less,
    polynomial,
    sign_bit,
    with_sign_of,
)
from fanal.backends.native.vecmath.extended import fast_two_sum


def _constant(x: V, name: str) -> tuple[float, float]:
    """π or a part of it, in two floats of x's format."""
    suffix = "F32" if format_of(x) is F32 else "F64"
    value: tuple[float, float] = getattr(table, f"{name}_{suffix}")
    return value


def _asin_parts(b: Builder, x: V) -> tuple[V, V, V, V]:
    """(|x|, beyond ½, s, t): s + t = asin|x| up to ½, and asin(√((1-|x|)/2)) beyond."""
    a = b.abs(x)
    beyond = a.gt(0.5)
    z = b.select(beyond, b.fma(a, const(x, -0.5), const(x, 0.5)), a * a)
    root = b.sqrt(z)
    s = b.select(beyond, root, a)
    p = polynomial(b, z, table.ASIN_F32 if format_of(x) is F32 else table.ASIN_F64)
    t = s * (z * p)
    if format_of(x) is not F32:
        # What the square root lost: (z - s²)/2s.
        lost = b.fma(-root, root, z) / (root + root) if b.target.fma else const(x, 0.0)
        t = b.select(beyond & z.gt(0.0), t + lost, t)
    return a, beyond, s, t


def asin(b: Builder, x: V) -> V:
    """Arc sine; NaN outside [-1, 1]."""
    a, beyond, s, t = _asin_parts(b, x)
    high, low = _constant(x, "HALF_PI")
    sum_ = fast_two_sum(const(x, high), s * -2.0)
    far = sum_.hi + (sum_.lo + (low - (t + t)))
    y = b.select(beyond, far, s + t)
    y = b.select(a.le(1.0), y, const(x, NAN))
    return with_sign_of(b, b.select(x.isnan(), b.abs(x), y), x)


def acos(b: Builder, x: V) -> V:
    """Arc cosine; NaN outside [-1, 1]."""
    a, beyond, s, t = _asin_parts(b, x)
    negative = x.lt(0.0)
    # |x| ≤ ½: π/2 - x - …; x < -½: π - 2·(s + t); x > ½: 2·(s + t).
    half_high, half_low = _constant(x, "HALF_PI")
    pi_high, pi_low = _constant(x, "PI")
    base = b.select(beyond, b.select(negative, const(x, pi_high), const(x, 0.0)), half_high)
    base_low = b.select(beyond, b.select(negative, const(x, pi_low), const(x, 0.0)), half_low)
    # The sign with which s and t enter: + for x > ½ and for small negative x.
    plus = b.select(beyond, const(x, 2.0), const(x, -1.0))
    weight = b.select(negative, -plus, plus)
    sum_ = fast_two_sum(base, s * weight)
    y = sum_.hi + (sum_.lo + b.fma(t, weight, base_low))
    return b.select(a.le(1.0), y, const(x, NAN))


def _atan_tail(b: Builder, t: V) -> V:
    """atan(t) - t for |t| ≤ tan(½)."""
    z = t * t
    p = polynomial(b, z, table.ATAN_F32 if format_of(t) is F32 else table.ATAN_F64)
    return t * (z * p)


def atan(b: Builder, x: V) -> V:
    """Arc tangent."""
    a = b.abs(x)
    middle, far = a.gt(table.TAN_HALF), a.gt(table.TAN_3PI_8)
    above = b.select(far, const(x, -1.0), b.select(middle, a - 1.0, a))
    below = b.select(far, a, b.select(middle, a + 1.0, const(x, 1.0)))
    t = above / below
    quarter, half = _constant(x, "QUARTER_PI"), _constant(x, "HALF_PI")
    base = b.select(far, const(x, half[0]), b.select(middle, const(x, quarter[0]), 0.0))
    low = b.select(far, const(x, half[1]), b.select(middle, const(x, quarter[1]), 0.0))
    sum_ = fast_two_sum(base, t)
    return with_sign_of(b, sum_.hi + (sum_.lo + (low + _atan_tail(b, t))), x)


def atan2(b: Builder, y: V, x: V) -> V:
    """The angle of the point (x, y), in [-π, π], with C99's signs of zero and infinity."""
    f = format_of(x)
    up, across = b.abs(y), b.abs(x)
    # Sums must not overflow, bounds not be subnormal; two infinities stand for a diagonal.
    both = up.eq(INF) & across.eq(INF)
    small = f.smallest_normal * 2.0 ** (f.mantissa + 2)
    scale = b.select(up.lt(small) & across.lt(small), const(x, 2.0 ** (f.mantissa + 4)), 1.0)
    scale = b.select(up.ge(f.largest / 4) | across.ge(f.largest / 4), const(x, 0.25), scale)
    up = b.select(both, const(x, 1.0), up * scale)
    across = b.select(both, const(x, 1.0), across * scale)
    middle, far = up.gt(across * table.TAN_HALF), up.gt(across * table.TAN_3PI_8)
    above = b.select(far, -across, b.select(middle, up - across, up))
    below = b.select(far, up, b.select(middle, up + across, across))
    t = above / b.select(below.eq(0.0), const(x, 1.0), below)
    left = is_negative_zero_or_less(x)
    quarter, half = _constant(x, "QUARTER_PI"), _constant(x, "HALF_PI")
    three, whole = _constant(x, "THREE_QUARTER_PI"), _constant(x, "PI")
    parts = []
    for k in range(2):
        diagonal = b.select(left, const(x, three[k]), const(x, quarter[k]))
        axis = b.select(left, const(x, whole[k]), const(x, 0.0))
        parts.append(b.select(far, const(x, half[k]), b.select(middle, diagonal, axis)))
    flip = sign_bit(x)
    t = (t.bits() ^ flip).as_float()
    sum_ = fast_two_sum(parts[0], t)
    angle = sum_.hi + (sum_.lo + (parts[1] + _atan_tail(b, t)))
    return with_sign_of(b, b.abs(angle), y)
