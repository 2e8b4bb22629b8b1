"""asinh, acosh, atanh: log1p of an argument kept as a pair; float32 computes in double.

asinh x = log1p(x + x²/(1 + √(1+x²))), acosh x = log1p((x-1) + √((x-1)(x+1))),
atanh x = ½·log1p(2x/(1-x)): the forms that lose nothing near zero (Kahan, 1987).
"""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.vecmath.core import (
    INF,
    NAN,
    const,
    is_tiny,
    through_double,
    with_sign_of,
)
from fanal.backends.native.vecmath.extended import (
    Pair,
    divide,
    fast_two_sum,
    square_root,
    two_product,
    two_sum,
)
from fanal.backends.native.vecmath.logarithm import log1p_pair

# Above this x² + 1 = x² and x ± 1 = x by far: the logarithm of 2x.
_HUGE = 2.0**60


@through_double
def asinh(b: Builder, x: V) -> V:
    """Inverse hyperbolic sine."""
    a = b.abs(x)
    huge = a.gt(_HUGE)
    safe = b.select(huge, const(x, 1.0), a)
    square = safe * safe
    more = square / (b.sqrt(square + 1.0) + 1.0)
    u = fast_two_sum(safe, more)
    u = Pair(b.select(huge, a, u.hi), b.select(huge, const(x, 0.0), u.lo))
    y = log1p_pair(b, u.hi, u.lo, huge)
    return with_sign_of(b, b.select(is_tiny(b, x, 2.0**-28), a, y), x)


@through_double
def acosh(b: Builder, x: V) -> V:
    """Inverse hyperbolic cosine; NaN below 1."""
    huge = x.gt(_HUGE)
    safe = b.select(huge, const(x, 2.0), x)
    t = safe - 1.0
    p = two_product(b, t, t)
    s = two_sum(t + t, p.hi)
    positive = t.gt(0.0)
    s = Pair(b.select(positive, s.hi, const(x, 1.0)), s.lo + p.lo)
    root = square_root(b, s)
    u = two_sum(root.hi, t)
    hi = b.select(huge, x, b.select(positive, u.hi, const(x, 0.0)))
    lo = b.select(huge | ~positive, const(x, 0.0), u.lo + root.lo)
    y = log1p_pair(b, hi, lo, huge)
    return b.select(x.ge(1.0), y, b.select(x.isnan(), x, const(x, NAN)))


@through_double
def atanh(b: Builder, x: V) -> V:
    """Inverse hyperbolic tangent; infinite at ±1, NaN beyond."""
    a = b.abs(x)
    inside = a.lt(1.0)
    safe = b.select(inside, a, const(x, 0.5))
    below = two_sum(const(x, 1.0), -safe)
    u = divide(b, Pair(safe + safe, const(x, 0.0)), below)
    half = log1p_pair(b, u.hi, u.lo, u.hi.lt(0.0)) * 0.5
    y = b.select(is_tiny(b, x, 2.0**-28), a, half)
    edge = b.select(a.eq(1.0), const(x, INF), b.select(a.isnan(), a, const(x, NAN)))
    return with_sign_of(b, b.select(inside, y, edge), x)
