"""fmod and remainder, exact for every pair of arguments.

Long division in a loop whose number of steps is the largest that a lane needs (one for quotients
below 2^24, the everyday case). A step multiplies |y| by a power of two such that the quotient is
short, and takes the exact product off.
"""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.vecmath.core import (
    F32,
    INF,
    NAN,
    const,
    format_of,
    largest,
    narrow,
    round_even,
    widen,
    with_sign_of,
)
from fanal.backends.native.vecmath.extended import two_sum, upper_half

STEP = 24  # bits of the quotient taken off in one step


def fmod(b: Builder, x: V, y: V) -> V:
    """x - trunc(x/y)·y, exactly, with the sign of x; NaN for y = 0 or infinite x."""
    if format_of(x) is F32:
        return narrow(_long_division(b, widen(x), widen(y), True))
    return _long_division(b, x, y, False)


def remainder(b: Builder, x: V, y: V) -> V:
    """x - floor(x/y)·y with the sign of y, as Python's % and torch.remainder."""
    r = fmod(b, x, y)
    moved = r.ne(0.0) & (r.lt(0.0) ^ y.lt(0.0))
    return b.select(moved, r + y, r)


def _long_division(b: Builder, x: V, y: V, from_float32: bool) -> V:
    a, d = b.abs(x), b.abs(y)
    valid = a.lt(INF) & d.gt(0.0)  # false for NaN as well
    rest = b.select(valid, a, const(x, 0.0))
    d = b.select(valid, d, const(x, 1.0))
    # A subnormal d may be 2^52 below what its exponent says.
    exponent = b.select(d.lt(2.0**-1022), (d.bits() & 0) - 52, d.bits().lshr(52))
    difference = largest(b, rest.bits().lshr(52) - exponent)
    steps = b.select(difference.gt(0), difference, 0) * 2731  # /24 by a multiplication (< 2^12)
    loop = b.loop(0, steps.lshr(16) + 1, 1, [rest])
    with loop as (i, rest):
        scaled = d * b.splat(_power(b, (steps.lshr(16) - i) * STEP, from_float32), x.lanes)
        if not from_float32:  # powers up to 2^2100
            high = (steps.lshr(16) - i) * STEP - 1000
            scaled = scaled * b.splat(_power(b, high, False), x.lanes)
            scaled = scaled * b.splat(_power(b, high - 1000, False), x.lanes)
        quotient = round_even(b, rest / scaled)
        left = _take_off(b, rest, quotient, scaled, from_float32)
        left = b.select(left.lt(0.0), left + scaled, left)
        # A zero quotient leaves the rest, whatever `scaled` (it may be infinite).
        loop.next(b.select(quotient.eq(0.0), rest, left))
    (rest,) = loop.results
    # The nearest quotient was 0 for a rest above half of d: that is right, it is below d.
    return b.select(valid, with_sign_of(b, rest, x), const(x, NAN))


def _take_off(b: Builder, rest: V, quotient: V, scaled: V, short: bool) -> V:
    """rest - quotient·scaled exactly; the quotient has at most 25 bits."""
    if short:  # 24 + 25 bits
        return rest - quotient * scaled
    if b.target.fma:
        return b.fma(-quotient, scaled, rest)
    # The rounded product may be above the rest, and must not overflow there.
    huge = rest.gt(2.0**1000)
    down, up = (b.select(huge, const(rest, k), const(rest, 1.0)) for k in (0.5, 2.0))
    rest, scaled = rest * down, scaled * down
    high = upper_half(scaled)
    p = two_sum(rest, -(quotient * high))
    return ((p.hi - quotient * (scaled - high)) + p.lo) * up


def _power(b: Builder, exponent: V, short: bool) -> V:
    """2^exponent as a double, the exponent first kept within 0..1000."""
    if not short:
        exponent = b.select(exponent.lt(1000), exponent, 1000)
        exponent = b.select(exponent.gt(0), exponent, 0)
    return ((exponent + 1023) << 52).as_float()
