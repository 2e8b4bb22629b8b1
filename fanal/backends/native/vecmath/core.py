"""What every function here shares: the two formats, polynomials, rounding by magic numbers.

All code is straight-line over lanes, so a result cannot depend on the lane or on how many there
are. Functions take a builder and values of one floating type ("float", "double" or a vector).
Nothing here may emit an instruction that some target lowers to a library call: no `llvm.floor`,
no 64-bit integer conversion or division, no variable shift of 128 bits.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fanal.backends.native.emit import Builder, V, element, vector


@dataclass(frozen=True)
class Format:
    """An IEEE 754 binary format: its widths and the constants that functions need."""

    type: str
    bits: int
    mantissa: int  # stored bits of the fraction
    bias: int
    smallest_normal: float
    largest: float

    @property
    def integer(self) -> str:
        return f"i{self.bits}"

    @property
    def sign_mask(self) -> int:
        return 1 << (self.bits - 1)

    @property
    def shifter(self) -> float:
        """1.5·2^mantissa: adding it rounds to an integer, left in the low bits of the sum."""
        return 1.5 * 2.0**self.mantissa


F32 = Format("float", 32, 23, 127, 2.0**-126, (2 - 2.0**-23) * 2.0**127)
F64 = Format("double", 64, 52, 1023, 2.0**-1022, (2 - 2.0**-52) * 2.0**1023)


def format_of(x: V) -> Format:
    """The format of a value's elements."""
    e = element(x.type)
    if e == "float":
        return F32
    if e == "double":
        return F64
    raise TypeError(f"[vecmath] expected float or double elements, got {x.type}")


def const(x: V, value: float) -> V:
    """`value` in every lane, of x's type."""
    return x.b.const(x.type, value)


# -- polynomials ------------------------------------------------------------------------------------


def horner(b: Builder, x: V, coefficients: Sequence[float]) -> V:
    """Σ c_i·x^i, lowest power first: fewest instructions, longest chain."""
    *lower, last = coefficients
    total = b.pooled(x.type, last)
    for c in reversed(lower):
        total = b.fma(total, x, b.pooled(x.type, c))
    return total


def polynomial(b: Builder, x: V, coefficients: Sequence[float], square: V | None = None) -> V:
    """Σ c_i·x^i in two chains (even(x²) + x·odd(x²)), or four for long ones: less waiting."""
    count = len(coefficients)
    if count < 4:
        return horner(b, x, coefficients)
    square = square or x * x
    if count < 16:
        even, odd = (horner(b, square, coefficients[k::2]) for k in range(2))
        return b.fma(odd, x, even)
    fourth = square * square
    p = [horner(b, fourth, coefficients[k::4]) for k in range(4)]
    return b.fma(square, b.fma(p[3], x, p[2]), b.fma(p[1], x, p[0]))


# -- bits ---------------------------------------------------------------------------------------------


def sign_bit(x: V) -> V:
    """The sign bit of each lane, in place, as an integer."""
    return x.bits() & -format_of(x).sign_mask


def with_sign_of(b: Builder, magnitude: V, x: V) -> V:
    """`magnitude` (which must not be negative) with the sign of x."""
    return (magnitude.bits() | sign_bit(x)).as_float()


def any_lane(b: Builder, mask: V) -> V:
    """An i1: whether the condition holds in some lane."""
    if mask.lanes == 1:
        return mask
    return mask.bitcast(f"i{mask.lanes}").ne(0)


def choose(b: Builder, mask: V, compute: Callable[[], V], y: V) -> V:
    """y with the lanes of `mask` from `compute()`, whose code runs only where some lane asks.

    For costly ways that most vectors do not need. Other lanes pass through it with whatever
    arguments `compute` gives them, and their results are dropped.
    """
    (result,) = b.branch(any_lane(b, mask), lambda: (b.select(mask, compute(), y),), lambda: (y,))
    return result


def largest(b: Builder, x: V) -> V:
    """The largest lane, as a scalar."""
    best = x[0]
    for lane in range(1, x.lanes):
        other = x[lane]
        best = b.select(best.gt(other), best, other)
    return best


def round_even(b: Builder, x: V) -> V:
    """The nearest integer, ties to even, for |x| below 2^(mantissa-1); loses the sign of zero."""
    shifter = format_of(x).shifter
    return (x + shifter) - shifter


def is_tiny(b: Builder, x: V, bound: float) -> V:
    """|x| < bound, lane by lane (false for NaN)."""
    return b.abs(x).lt(bound)


# -- float32 through double ------------------------------------------------------------------------


def widen(x: V) -> V:
    return x.cast("fpext", "double")


def narrow(x: V) -> V:
    return x.cast("fptrunc", "float")


def through_double(function: Callable[..., V]) -> Callable[..., V]:
    """A float64 function made to take float32 as well, computing in double."""

    @functools.wraps(function)
    def either(b: Builder, *xs: V) -> V:
        if format_of(xs[0]) is F64:
            return function(b, *xs)
        return narrow(function(b, *(widen(x) for x in xs)))

    return either


def integers_of(x: V, value: int) -> V:
    """An integer constant with x's lanes and width."""
    return x.b.const(vector(format_of(x).integer, x.lanes), value)


def is_negative_zero_or_less(x: V) -> V:
    """The sign bit as a condition: true for -0 and negative NaN too."""
    return x.bits().lt(0)


NAN, INF = math.nan, math.inf
