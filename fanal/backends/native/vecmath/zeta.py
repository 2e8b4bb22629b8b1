"""Hurwitz's zeta function ζ(s, q) = Σ 1/(q+n)^s, of which the polygamma functions are made.

Ten terms (more for negative q: as many as bring it above 10), then the Euler-Maclaurin formula
(DLMF 25.11.28) with twelve derivatives. Where q + n is rounded its error is corrected to first
order, or it would be magnified by s. For negative q and odd s terms of both signs cancel: the error
is then relative to the largest.
"""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.vecmath.coefficients import incomplete_gamma as table
from fanal.backends.native.vecmath.core import (
    F32,
    F64,
    INF,
    NAN,
    choose,
    const,
    format_of,
    largest,
    narrow,
    round_even,
    widen,
)
from fanal.backends.native.vecmath.exponential import clamp
from fanal.backends.native.vecmath.extended import two_sum
from fanal.backends.native.vecmath.power import power_of_positive, power_short
from fanal.backends.native.vecmath.rounding import floor

_TERMS = 10.0
_LOWEST = -65536.0  # below this q the answer is NaN: it would take too many terms


def zeta(b: Builder, s: V, q: V) -> V:
    """ζ(s, q) for s > 1; infinite at s = 1 and at the poles q = 0, -1, …; NaN where not real."""
    if format_of(s) is F32:
        return narrow(_zeta(b, widen(s), widen(q), True))
    return _zeta(b, s, q, False)


def _term(b: Builder, q: V, n: V, s: V, odd: V, short: bool) -> tuple[V, V]:
    """((q + n)^-s, q + n), for negative q + n and integral s as well."""
    base = two_sum(q, n)
    a = b.abs(base.hi)
    p = (power_short if short else power_of_positive)(b, a, -s)
    p = b.select(a.eq(1.0), const(s, 1.0), p)
    p = b.select(base.hi.lt(0.0) & odd, -p, p)
    return p * (1.0 - clamp(b, s * (base.lo / base.hi), -0.5, 0.5)), base.hi


def _zeta(b: Builder, s: V, q: V, short: bool) -> V:
    down = floor(b, q)
    pole = q.le(0.0) & down.eq(q)
    whole = floor(b, s).eq(s)
    odd = whole & ~floor(b, s * 0.5).eq(s * 0.5)
    valid = s.gt(1.0) & s.lt(INF) & q.lt(INF) & q.gt(_LOWEST) & (q.gt(0.0) | whole) & ~pole
    s_in = b.select(valid, s, const(s, 2.0))
    q_in = b.select(valid, q, const(q, 1.0))
    # Lane by lane as many terms as it needs: the others add 0.
    count = b.select(q_in.lt(0.0), _TERMS - floor(b, q_in), const(q, _TERMS))
    steps = (largest(b, count) + F64.shifter).bits() & 0xFFFFF
    loop = b.loop(0, steps, 1, [const(s, 0.0), const(s, 0.0)])
    with loop as (_, total, n):
        term, _ = _term(b, q_in, n, s_in, odd, short)
        loop.next(b.select(n.lt(count), total + term, total), n + 1.0)
    total = loop.results[0]
    power, w = _term(b, q_in, count, s_in, odd, short)
    tail = _derivatives(b, s_in, const(s, 1.0) / w) + (0.5 + w / (s_in - 1.0))
    value = b.fma(power, tail, total)
    # Where the tail's factor vanishes its derivatives may overflow; it is nothing beside the sum.
    value = b.select(b.abs(power).le(2.0**-280 if short else 0.0), total, value)
    value = _overflowed(b, s_in, q_in, odd, short, value)
    outside = b.select(pole | s.eq(1.0), const(s, INF), const(s, NAN))
    outside = b.select(s.gt(1.0) & q.eq(INF), const(s, 0.0), outside)
    outside = b.select(s.lt(1.0) | s.isnan() | q.isnan(), const(s, NAN), outside)
    outside = b.select(s.eq(INF) & q.gt(0.0), _at_infinite_s(b, q), outside)
    return b.select(valid, value, outside)


def _overflowed(b: Builder, s: V, q: V, odd: V, short: bool, value: V) -> V:
    """For negative q whose largest term is infinite: that term (its neighbours may be so too)."""
    negative = q.lt(0.0)

    def infinite_term() -> V:
        term, _ = _term(b, q, -round_even(b, q), s, odd, short)
        return b.select(b.abs(term).ge(2.0**290 if short else INF), term * INF, value)

    return choose(b, negative, infinite_term, value)


def _at_infinite_s(b: Builder, q: V) -> V:
    """q^-∞."""
    y = b.select(q.gt(1.0), const(q, 0.0), const(q, INF))
    return b.select(q.eq(1.0), const(q, 1.0), y)


def _derivatives(b: Builder, s: V, inverse: V) -> V:
    """Σ B_2j/(2j)!·s(s+1)…(s+2j-2)/w^(2j-1)."""
    factor, total = s * inverse, const(s, 0.0)
    for j, c in enumerate(table.BERNOULLI):
        total = b.fma(factor, const(s, c), total)
        factor = factor * ((s + float(2 * j + 1)) * inverse) * ((s + float(2 * j + 2)) * inverse)
    return total
