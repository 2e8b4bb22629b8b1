"""The Airy function Ai; float32 in double.

Pieces between -8 and 8, anchored at the zeros. With ζ = ⅔·|x|^(3/2) beyond: e^-ζ times a polynomial
in 1/ζ above, and below M·sin θ, where M and θ - ζ - π/4 are polynomials in 1/x³ (DLMF 9.7, 9.8). ζ
is a pair, so that its rounding is not seen as a phase.
"""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.vecmath.angle import reduce_f64
from fanal.backends.native.vecmath.coefficients import airy as table
from fanal.backends.native.vecmath.core import (
    INF,
    NAN,
    choose,
    const,
    horner,
    polynomial,
    through_double,
)
from fanal.backends.native.vecmath.error_function import exp_minus
from fanal.backends.native.vecmath.exponential import clamp
from fanal.backends.native.vecmath.extended import Pair, add, multiply, pair_of, square_root
from fanal.backends.native.vecmath.extended import scale as times
from fanal.backends.native.vecmath.pieces import evaluate, uniform
from fanal.backends.native.vecmath.trigonometric import sin_cos_pairs

_REACH = 8.0
_LOST = 2.0**33  # ζ is then 2^49: its pair still has as many bits behind the point


def _zeta(b: Builder, a: V) -> Pair:
    """⅔·a·√a."""
    root = square_root(b, Pair(a, const(a, 0.0)))
    return multiply(b, times(b, root, a), pair_of(a, table.TWO_THIRDS))


def _decaying(b: Builder, a: V) -> V:
    """Ai(a) for 8 ≤ a (0 beyond 108)."""
    zeta = _zeta(b, a)
    series = polynomial(b, const(a, 1.0) / zeta.hi, table.DECAY)
    fourth = b.sqrt(b.sqrt(a))
    return exp_minus(b, zeta, series * (table.HALF_OVER_ROOT_PI / fourth))


def _oscillating(b: Builder, a: V) -> V:
    """Ai(-a) for a ≥ 8."""
    zeta = _zeta(b, a)
    inverse = const(a, 1.0) / a
    u = inverse * inverse * inverse
    phase = horner(b, u, table.PHASE) / zeta.hi
    r, n = reduce_f64(b, zeta.hi)
    below = r.hi.lt(0.0)
    # Keep |r| below π/4: add π/4, or subtract it and step one quadrant on.
    quarter, low = table.QUARTER_PI
    shift = Pair(
        b.select(below, const(a, quarter), const(a, -quarter)),
        b.select(below, const(a, low), const(a, -low)),
    )
    n = b.select(below, n, n + 1)
    w = add(add(r, shift), Pair(phase, zeta.lo))
    sin, cos = sin_cos_pairs(b, w)
    value = b.select((n & 1).ne(0), cos.hi, sin.hi)
    value = (value.bits() ^ ((n & 2) << 62)).as_float()
    amplitude = horner(b, u, table.AMPLITUDE) * (table.ONE_OVER_ROOT_PI / b.sqrt(b.sqrt(a)))
    return amplitude * value


@through_double
def airy_ai(b: Builder, x: V) -> V:
    """The Airy function Ai: 0 at both infinities; NaN below -2³³, where ζ no longer tells a phase."""
    a = b.abs(x)
    inside = clamp(b, x, -_REACH, _REACH - 2.0**-49)
    index = uniform(b, inside + _REACH, 2, len(table.AI))
    y = evaluate(b, "vecmath_airy_ai", table.AI, inside, index)
    far = a.ge(_REACH)
    above = b.select(far, a, const(x, _REACH))
    above = b.select(above.gt(120.0), const(x, 120.0), above)
    y = choose(b, far & x.gt(0.0), lambda: _decaying(b, above), y)
    below = clamp(b, b.select(far, a, const(x, _REACH)), _REACH, _LOST)
    y = choose(b, far & x.lt(0.0), lambda: _oscillating(b, below), y)
    y = b.select(x.lt(-_LOST), const(x, NAN), y)
    y = b.select(a.eq(INF), const(x, 0.0), y)
    return b.select(x.isnan(), x, y)
