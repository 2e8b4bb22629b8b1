"""Pairs of floats as one number of twice the precision: hi + lo, |lo| ≤ ulp(hi)/2.

Exact sums and products (Knuth; Dekker 1971; Veltkamp's splitting where there is no fused
multiply-add) and the few operations on pairs that the functions need.
"""

from __future__ import annotations

from typing import NamedTuple

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.vecmath.core import const, format_of


class Pair(NamedTuple):
    """An unevaluated sum hi + lo."""

    hi: V
    lo: V


def two_sum(a: V, b: V) -> Pair:
    """a + b exactly (Knuth), whatever their magnitudes."""
    s = a + b
    t = s - a
    return Pair(s, (a - (s - t)) + (b - t))


def fast_two_sum(a: V, b: V) -> Pair:
    """a + b exactly if |a| ≥ |b| (Dekker)."""
    s = a + b
    return Pair(s, b - (s - a))


def upper_half(x: V) -> V:
    """x with the lower half of its significand cleared: products of two such are exact."""
    f = format_of(x)
    return (x.bits() & -(1 << (f.mantissa + 2) // 2)).as_float()


def two_product(b: Builder, x: V, y: V) -> Pair:
    """x·y exactly (barring underflow)."""
    p = x * y
    if b.target.fma:
        return Pair(p, b.fma(x, y, -p))
    xh, yh = upper_half(x), upper_half(y)
    xl, yl = x - xh, y - yh
    return Pair(p, ((xh * yh - p) + xh * yl + xl * yh) + xl * yl)


def multiply(b: Builder, x: Pair, y: Pair) -> Pair:
    """The product of two pairs, error about 2^-2p+2."""
    p = two_product(b, x.hi, y.hi)
    return fast_two_sum(p.hi, b.fma(x.hi, y.lo, b.fma(x.lo, y.hi, p.lo)))


def multiply_loosely(b: Builder, x: Pair, y: Pair) -> Pair:
    """The same with a low part of up to a few ulp of hi: for chains, where it does not matter."""
    p = two_product(b, x.hi, y.hi)
    return Pair(p.hi, b.fma(x.hi, y.lo, b.fma(x.lo, y.hi, p.lo)))


def scale(b: Builder, x: Pair, y: V) -> Pair:
    """A pair times a float."""
    p = two_product(b, x.hi, y)
    return fast_two_sum(p.hi, b.fma(x.lo, y, p.lo))


def add(x: Pair, y: Pair) -> Pair:
    """The sum of two pairs."""
    s = two_sum(x.hi, y.hi)
    return fast_two_sum(s.hi, s.lo + (x.lo + y.lo))


def add_float(x: Pair, y: V) -> Pair:
    """A pair plus a float."""
    s = two_sum(x.hi, y)
    return fast_two_sum(s.hi, s.lo + x.lo)


def divide(b: Builder, x: Pair, y: Pair) -> Pair:
    """x/y to about 2^-2p+4."""
    inverse = const(x.hi, 1.0) / y.hi
    q = x.hi * inverse
    p = two_product(b, q, y.hi)
    rest = ((x.hi - p.hi) - p.lo) + (x.lo - q * y.lo)
    return fast_two_sum(q, rest * inverse)


def square_root(b: Builder, x: Pair) -> Pair:
    """√x for x.hi > 0."""
    r = b.sqrt(x.hi)
    p = two_product(b, r, r)
    rest = ((x.hi - p.hi) - p.lo) + x.lo
    return fast_two_sum(r, rest * 0.5 / r)


def pair_of(x: V, value: tuple[float, float]) -> Pair:
    """A constant in two parts."""
    return Pair(const(x, value[0]), const(x, value[1]))


def horner_pair(b: Builder, x: Pair, coefficients: tuple[tuple[float, float], ...]) -> Pair:
    """A polynomial with coefficients in two parts, lowest power first."""
    *lower, last = coefficients
    total = pair_of(x.hi, last)
    for c in reversed(lower):
        total = add(multiply(b, total, x), pair_of(x.hi, c))
    return total
