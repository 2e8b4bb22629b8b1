"""Integer power, division and remainder, for vectors of any width and on every target.

Divisors must be safe: not zero, and not -1 beside the least integer (the caller replaces them).
Up to 32 bits the quotient comes from a floating-point division, which is exact here (a quotient of
k-bit integers that is not whole is at least 2^-k·(1/divisor) away from the next integer) and has
vector instructions. 64 bits use the processor's division, or what stands in its place
(`emit/substitutes.py`).
"""

from __future__ import annotations

from collections.abc import Callable

from fanal.backends.native.emit import Builder, V, element
from fanal.backends.native.emit.value import bits_of


def power(b: Builder, x: V, n: V, signed: bool = True) -> V:
    """x^n modulo 2^bits by squaring, in as many steps as the largest exponent has bits.

    Negative exponents give what PyTorch's give: 1 for x = 1, ±1 for x = -1, else 0.
    """
    one = b.const(x.type, 1)
    exponent = b.select(n.gt(0), n, 0) if signed else n
    loop = b.loop(0, _significant_bits(b, exponent), 1, [one, x, exponent])
    with loop as (_, result, base, rest):
        odd = (rest & 1).ne(0)
        loop.next(b.select(odd, result * base, result), base * base, rest.lshr(1))
    result = loop.results[0]
    if not signed:
        return result
    units = b.select((n & 1).ne(0), x, x * x)  # x^n for x = ±1
    negative = b.select(x.eq(1) | x.eq(-1), units, 0)
    return b.select(n.lt(0), negative, result)


def _significant_bits(b: Builder, x: V) -> V:
    """An i64: the position after the highest bit that is set in some lane."""
    everything = x[0]
    for lane in range(1, x.lanes):
        everything = everything | x[lane]
    wide = everything.cast("zext", "i64")
    count = b.intrinsic("ctlz", wide, b.const("i1", False), suffix="i64")
    return 64 - count


def quotient(b: Builder, x: V, y: V, signed: bool = True) -> V:
    """x/y rounded towards zero."""
    bits = bits_of(x.type)
    if bits <= 32:
        return _quotient_by_float(x, y, signed, "float" if bits <= 16 else "double")
    return x.sdiv(y) if signed else x.udiv(y)


def floor_divide(b: Builder, x: V, y: V, signed: bool = True) -> V:
    """x/y rounded down, as Python's //."""
    q = quotient(b, x, y, signed)
    if not signed:
        return q
    return b.select(_disagree(x - q * y, y), q - 1, q)


def remainder(b: Builder, x: V, y: V, signed: bool = True) -> V:
    """x - floor(x/y)·y, as Python's %: it has the divisor's sign."""
    r = x - quotient(b, x, y, signed) * y
    if not signed:
        return r
    return b.select(_disagree(r, y), r + y, r)


def greatest_common_divisor(b: Builder, x: V, y: V, signed: bool = True) -> V:
    """Euclid's algorithm on magnitudes, in as many steps as the larger number can need.

    By Lamé, numbers of k bits need at most 1.45·k + 1 divisions.
    """
    one, zero = b.const(x.type, 1), b.const(x.type, 0)
    if signed:
        x, y = b.abs(x), b.abs(y)
    steps = (_significant_bits(b, x | y) * 3 >> 1) + 2
    loop = b.loop(0, steps, 1, [x, y])
    with loop as (_, larger, smaller):
        done = smaller.eq(0)
        # The magnitude of the least integer is its own bit pattern, read as unsigned.
        rest = larger - quotient(b, larger, b.select(done, one, smaller), False) * smaller
        loop.next(b.select(done, larger, smaller), b.select(done, zero, rest))
    return loop.results[0]


def _disagree(r: V, y: V) -> V:
    """Whether a remainder is not zero and has the other sign than its divisor."""
    return r.ne(0) & (r ^ y).lt(0)


def _quotient_by_float(x: V, y: V, signed: bool, scalar: str) -> V:
    to, back = ("sitofp", "fptosi") if signed else ("uitofp", "fptoui")
    return (x.cast(to, scalar) / y.cast(to, scalar)).cast(back, element(x.type))


INTEGER_FUNCTIONS: dict[str, Callable[..., V]] = {
    "power": power,
    "quotient": quotient,
    "floor_divide": floor_divide,
    "remainder": remainder,
    "gcd": greatest_common_divisor,
}
