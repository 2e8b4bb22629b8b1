"""The regularised incomplete gamma functions P (gammainc) and Q = 1 - P (gammaincc).

Float32 computes in double. Four ways, each taken only if some lane needs it, chosen lane by lane:
- a ≥ 24 and x within 45 % of a: Temme's uniform expansion (N. Temme, SIAM J. Math. Anal. 10, 1979;
  DLMF 8.12), whose exponent a·(μ - log(1+μ)), μ = x/a - 1, is computed as a pair;
- x up to about a: the series of P (DLMF 8.11.4); beyond: the continued fraction of Q (8.9.2);
- small a and x: the series of Q (8.7.3), where 1 - P would cancel.
The error is a few ulp plus that of e^-E, E being as large as the result is small.
"""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.vecmath.coefficients import incomplete_gamma as table
from fanal.backends.native.vecmath.core import (
    F64,
    INF,
    NAN,
    choose,
    const,
    horner,
    largest,
    polynomial,
    through_double,
)
from fanal.backends.native.vecmath.error_function import NEAR, erf_near, erfcx, exp_minus
from fanal.backends.native.vecmath.exponential import clamp, expm1
from fanal.backends.native.vecmath.extended import (
    Pair,
    add,
    divide,
    multiply,
    pair_of,
    scale,
    two_sum,
)
from fanal.backends.native.vecmath.gamma import lgamma_of_one_plus
from fanal.backends.native.vecmath.logarithm import log
from fanal.backends.native.vecmath.pieces import evaluate, geometric
from fanal.backends.native.vecmath.power import log2_pair

_UNIFORM_FROM, _UNIFORM_REACH = 24.0, 0.45


@through_double
def gammainc(b: Builder, a: V, x: V) -> V:
    """P(a, x) = ∫₀ˣ t^(a-1)·e^-t dt/Γ(a)."""
    return _incomplete(b, a, x, False)


@through_double
def gammaincc(b: Builder, a: V, x: V) -> V:
    """Q(a, x) = 1 - P(a, x)."""
    return _incomplete(b, a, x, True)


def _incomplete(b: Builder, a: V, x: V, upper: bool) -> V:
    inside = a.gt(0.0) & x.gt(0.0) & a.lt(INF) & x.lt(INF)
    a_safe = b.select(inside, a, const(a, 1.0))
    x_safe = b.select(inside, x, const(x, 1.0))
    y = _regions(b, a_safe, x_safe, upper)
    at_zero, at_infinity = (1.0, 0.0) if upper else (0.0, 1.0)
    # Outside: x = 0 or infinite a give one end, infinite x or a = 0 the other, both NaN.
    low = x.eq(0.0) | a.eq(INF)
    high = x.eq(INF) | a.eq(0.0)
    valid = a.ge(0.0) & x.ge(0.0) & ~(low & high)
    edge = b.select(low, const(x, at_zero), const(x, at_infinity))
    return b.select(inside, y, b.select(valid, edge, const(x, NAN)))


def _regions(b: Builder, a: V, x: V, upper: bool) -> V:
    """P or Q for positive finite arguments."""
    distance = b.abs(x - a)
    uniform = a.ge(_UNIFORM_FROM) & distance.lt(a * _UNIFORM_REACH)
    series = ~uniform & (x.le(a + 1.0) | x.le(1.1))
    fraction = ~uniform & ~series
    below = x.lt(a)

    def oriented(value: V, is_upper: V | bool) -> V:
        """P or Q as asked, from one of them."""
        if isinstance(is_upper, V):
            return b.select(is_upper if upper else ~is_upper, value, 1.0 - value)
        return value if is_upper == upper else 1.0 - value

    y = const(x, 0.0)
    y = choose(b, uniform, lambda: oriented(_uniform(b, a, x, uniform), ~below), y)
    y = choose(b, series, lambda: oriented(_series(b, a, x, series), False), y)
    y = choose(b, fraction, lambda: oriented(_fraction(b, a, x, fraction), True), y)
    if upper:
        limit = b.select(x.lt(0.5), -0.4 / log(b, b.select(x.lt(0.5), x, const(x, 0.5))), x * 0.75)
        small = x.le(1.1) & a.lt(limit)
        y = choose(b, small, lambda: _small_series(b, a, x, small), y)
    return y


# -- the factor x^a·e^-x/Γ(a) -----------------------------------------------------------------------


def _leading(b: Builder, a: V, x: V) -> tuple[Pair, V]:
    """(E, f): x^a·e^-x/Γ(a) = f·e^-E, E ≥ 0 as a pair.

    a ≥ 1: E = (x - a) - a·log(x/a), f = √(a/2π)/Γ*(a); a < 1: E = x - a·log x + log Γ(1+a), f = a.
    """
    small = a.lt(1.0)
    zero, one = const(a, 0.0), const(a, 1.0)
    divisor = b.select(small, one, a)
    q = divide(b, Pair(x, zero), Pair(divisor, zero))
    logarithm = multiply(b, log2_pair(b, q.hi), pair_of(a, table.LN2))
    logarithm = Pair(logarithm.hi, logarithm.lo + b.select(q.hi.gt(0.0), q.lo / q.hi, zero))
    rest = scale(b, logarithm, -a)
    e = add(two_sum(x, b.select(small, zero, -a)), rest)
    more = lgamma_of_one_plus(b, b.select(small, a, one))
    e = add(e, Pair(b.select(small, more, zero), zero))
    root = b.sqrt(a) * table.ROOT_HALF_OVER_PI
    return _tame(b, e), b.select(small, a, root / _gamma_star(b, a))


def _tame(b: Builder, e: Pair) -> Pair:
    """An exponent whose low part is dropped where e^-E vanishes (it may not be finite there)."""
    return Pair(e.hi, b.select(e.hi.lt(760.0), e.lo, const(e.hi, 0.0)))


def _gamma_star(b: Builder, a: V) -> V:
    """Γ(a)·√(a/2π)·(e/a)^a for a ≥ 1."""
    inside = clamp(b, a, 1.0, 32.0 - 2.0**-48)
    index = geometric(b, inside, 1.0, 3, len(table.GAMMA_STAR))
    near = evaluate(b, "vecmath_gamma_star", table.GAMMA_STAR, inside, index)
    inverse = const(a, 1.0) / b.select(a.lt(32.0), const(a, 32.0), a)
    return b.select(a.lt(32.0), near, polynomial(b, inverse, table.GAMMA_STAR_FAR))


# -- the ways ---------------------------------------------------------------------------------------


def _steps(b: Builder, count: V) -> tuple[V, V]:
    """The largest lane of `count` (a float) as an i64 and, in every lane, as a float."""
    most = largest(b, count) + F64.shifter
    return most.bits() & 0xFFFF, b.splat(most - F64.shifter, count.lanes)


def _series(b: Builder, a: V, x: V, mask: V) -> V:
    """P by Σ x^n/((a+1)…(a+n)), summed from its end."""
    e, factor = _leading(b, a, x)
    count = b.select(mask, clamp(b, x * 3.0 + 18.0, 0.0, 80.0), const(x, 1.0))
    steps, n = _steps(b, count)
    loop = b.loop(0, steps, 1, [const(x, 1.0), n])
    with loop as (_, total, n):
        loop.next(b.fma(total, x / (a + n), const(x, 1.0)), n - 1.0)
    return exp_minus(b, e, factor / a * loop.results[0])


def _fraction(b: Builder, a: V, x: V, mask: V) -> V:
    """Q by the continued fraction 1/(x+1-a - 1·(1-a)/(x+3-a - …)), from its end.

    Its denominators are n + w with w_(n-1) = x + (n-a)·w_n/(n + w_n): without the cancellation.
    """
    e, factor = _leading(b, a, x)
    count = b.select(mask, clamp(b, 90.0 / x + 24.0, 0.0, 120.0), const(x, 1.0))
    steps, n = _steps(b, count)
    loop = b.loop(0, steps, 1, [(x - a) + (n + 1.0), n])
    with loop as (_, w, n):
        loop.next(b.fma(n - a, w / (n + w), x), n - 1.0)
    return exp_minus(b, e, factor / loop.results[0])


def _small_series(b: Builder, a: V, x: V, mask: V) -> V:
    """Q = -(e^w - 1) - e^w·a·Σ (-x)^n/(n!·(a+n)), w = a·log x - log Γ(1+a)."""
    a = b.select(mask, a, const(a, 0.5))
    w = a * log(b, x) - lgamma_of_one_plus(b, a)
    loop = b.loop(0, 20, 1, [const(x, 0.0), const(x, 1.0), const(x, 1.0)])
    with loop as (_, total, term, n):
        term = term * -(x / n)
        loop.next(total + term / (a + n), term, n + 1.0)
    grown = expm1(b, w)
    return -(grown + (grown + 1.0) * a * loop.results[0])


def _uniform(b: Builder, a: V, x: V, mask: V) -> V:
    """P(a, x) for x < a, else Q(a, x), by Temme's expansion."""
    a, x = (b.select(mask, v, const(v, 32.0)) for v in (a, x))
    zero = const(a, 0.0)
    mu = divide(b, two_sum(x, -a), Pair(a, zero))
    s = divide(b, mu, add(mu, Pair(const(a, 2.0), zero)))
    square = s.hi * s.hi
    tail = s.hi * square * horner(b, square, table.LOG_TAIL)
    # μ - log(1+μ) = μ·s - (2 atanh s - 2s) with s = μ/(2+μ)
    phi = add(multiply(b, mu, s), Pair(-tail, zero))
    eta = b.copysign(b.sqrt(phi.hi + phi.hi), mu.hi)
    inverse = const(a, 1.0) / a
    total = zero
    for coefficients in reversed(table.TEMME):
        total = b.fma(total, inverse, polynomial(b, eta, coefficients))
    rest = total * (table.ROOT_HALF_OVER_PI * b.sqrt(inverse))
    rest = (rest.bits() ^ (mu.hi.bits() & -(1 << 63))).as_float()  # subtracted from P
    e = _tame(b, scale(b, phi, a))
    z = b.sqrt(e.hi)
    near = z.lt(NEAR)
    scaled = erfcx(b, b.select(near, const(z, NEAR), z), False)
    far = exp_minus(b, e, Pair(scaled.hi * 0.5, b.fma(scaled.lo, const(z, 0.5), rest)))
    close = (0.5 - erf_near(b, z, False) * 0.5) + exp_minus(b, e, rest)
    return b.select(near, close, far)
