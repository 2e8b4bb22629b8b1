"""Modified Bessel functions of the second kind: K0 and K1, plain and scaled by e^x.

Below ½ the logarithm times I and a polynomial in x² (both positive for K0; K1 is 1/x and little
else), pieces of e^x·K up to 16, and beyond it √x·e^x·K as a polynomial in 1/x. float32 in double.
"""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.vecmath.coefficients import modified_bessel as table
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
from fanal.backends.native.vecmath.exponential import clamp, exp
from fanal.backends.native.vecmath.extended import Pair
from fanal.backends.native.vecmath.logarithm import log
from fanal.backends.native.vecmath.pieces import evaluate, geometric

_LOW, _HIGH = 0.5, 16.0


def _near(b: Builder, order: int, x: V) -> V:
    """K for 0 < x < ½."""
    square, logarithm = x * x, log(b, x)
    if order == 0:
        return b.fma(-logarithm, horner(b, square, table.I0_NEAR), horner(b, square, table.K0_NEAR))
    rest = b.fma(logarithm, horner(b, square, table.I1_NEAR), horner(b, square, table.K1_NEAR))
    return b.fma(rest, x, const(x, 1.0) / x)


def _scaled(b: Builder, order: int, x: V) -> V:
    """e^x·K for x ≥ ½."""
    rows = (table.K0E, table.K1E)[order]
    inside = clamp(b, x, _LOW, _HIGH - 2.0**-49)
    index = geometric(b, inside, _LOW, 3, len(rows))
    y = evaluate(b, f"vecmath_k{order}e", rows, inside, index)

    def far() -> V:
        safe = b.select(x.ge(_HIGH), x, const(x, _HIGH))
        series = (table.K0E_FAR, table.K1E_FAR)[order]
        return polynomial(b, const(x, 1.0) / safe, series) / b.sqrt(safe)

    return choose(b, x.ge(_HIGH), far, y)


def _at_the_ends(b: Builder, x: V, y: V) -> V:
    """∞ at 0, 0 at ∞, NaN below 0."""
    y = b.select(x.eq(0.0), const(x, INF), y)
    y = b.select(x.eq(INF), const(x, 0.0), y)
    return b.select(x.lt(0.0) | x.isnan(), const(x, NAN), y)


def _k(b: Builder, order: int, x: V) -> V:
    small = x.lt(_LOW)
    safe = b.select(x.ge(_LOW) & x.lt(INF), x, const(x, 1.0))
    y = exp_minus(b, Pair(safe, const(x, 0.0)), _scaled(b, order, safe))
    near = b.select(small & x.gt(0.0), x, const(x, 0.25))
    y = choose(b, small, lambda: _near(b, order, near), y)
    return _at_the_ends(b, x, y)


def _k_scaled(b: Builder, order: int, x: V) -> V:
    small = x.lt(_LOW)
    safe = b.select(x.ge(_LOW) & x.lt(INF), x, const(x, 1.0))
    near = b.select(small & x.gt(0.0), x, const(x, 0.25))
    y = choose(b, small, lambda: _near(b, order, near) * exp(b, near), _scaled(b, order, safe))
    return _at_the_ends(b, x, y)


@through_double
def k0(b: Builder, x: V) -> V:
    """Modified Bessel function of the second kind, order 0; ∞ at 0, NaN below."""
    return _k(b, 0, x)


@through_double
def k1(b: Builder, x: V) -> V:
    """Modified Bessel function of the second kind, order 1; ∞ at 0, NaN below."""
    return _k(b, 1, x)


@through_double
def k0e(b: Builder, x: V) -> V:
    """e^x·K0(x)."""
    return _k_scaled(b, 0, x)


@through_double
def k1e(b: Builder, x: V) -> V:
    """e^x·K1(x)."""
    return _k_scaled(b, 1, x)
