"""Reduction of an angle: x = n·π/2 + r, |r| ≤ π/4 (a little more), n mod 4.

Everyday arguments subtract n times π/2 in parts, exactly (Cody and Waite, 1980). Where a lane's
argument is larger, all lanes also take the reduction of Payne and Hanek (1983): x times those digits
of 2/π that can matter, whole multiples of 4 dropped piece by piece. It needs nothing but exact
products of short floats, so it is the same code on every target. The result is chosen lane by lane.
"""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.vecmath.coefficients import trigonometric as table
from fanal.backends.native.vecmath.core import (
    F32,
    F64,
    any_lane,
    const,
    integers_of,
    narrow,
    round_even,
    widen,
)
from fanal.backends.native.vecmath.extended import (
    Pair,
    fast_two_sum,
    multiply,
    pair_of,
    two_sum,
    upper_half,
)
from fanal.backends.native.vecmath.lookup import gather

# Above these bounds the short reduction would lose bits.
SMALL_F32 = 2.0**16
SMALL_F64 = 2.0**20


def reduce_f32(b: Builder, x: V) -> tuple[V, V]:
    """(r, quadrant): quadrant is an integer whose low two bits are n mod 4."""
    large = b.abs(x).ge(SMALL_F32)
    r, n = _short_f32(b, x) if b.target.fma else _narrowed(b, x)

    def chosen() -> tuple[V, V]:
        far, m = _huge_f32(b, widen(x))
        quadrant = narrow(m - F64.shifter) + F32.shifter
        return b.select(large, narrow(far), r), b.select(large, quadrant, n)

    r, n = b.branch(any_lane(b, large), chosen, lambda: (r, n))
    return r, n.bits()


def reduce_f64(b: Builder, x: V) -> tuple[Pair, V]:
    """The same for float64, with r as a pair."""
    large = b.abs(x).ge(SMALL_F64)
    (hi, lo), n = _short_f64(b, x)

    def chosen() -> tuple[V, V, V]:
        # The other lanes must not index the table out of range.
        (far, far_lo), m = _huge_f64(b, b.select(large, x, SMALL_F64))
        return b.select(large, far, hi), b.select(large, far_lo, lo), b.select(large, m, n)

    hi, lo, n = b.branch(any_lane(b, large), chosen, lambda: (hi, lo, n))
    return Pair(hi, lo), n.bits()


def reduce_f32_in_double(b: Builder, x: V) -> tuple[V, V]:
    """The same for float32 x, with r a double and the quadrant of 64 bits."""
    wide = widen(x)
    large = b.abs(wide).ge(SMALL_F64)
    r, n = _two_parts(b, wide)

    def chosen() -> tuple[V, V]:
        far, m = _huge_f32(b, wide)
        return b.select(large, far, r), b.select(large, m, n)

    r, n = b.branch(any_lane(b, large), chosen, lambda: (r, n))
    return r, n.bits()


def _short_f32(b: Builder, x: V) -> tuple[V, V]:
    """Three fused steps of 24 bits; the first is exact."""
    n = b.fma(x, const(x, table.TWO_OVER_PI), const(x, F32.shifter))
    whole = n - F32.shifter
    r = x
    for part in table.HALF_PI_F32:
        r = b.fma(whole, const(x, -part), r)
    return r, n


def _two_parts(b: Builder, wide: V) -> tuple[V, V]:
    """For doubles that were float32: n·(33 bits of π/2) is exact."""
    n = b.fma(wide, const(wide, table.TWO_OVER_PI), const(wide, F64.shifter))
    whole = n - F64.shifter
    high, low, *_ = table.HALF_PI_F64
    return (wide - whole * high) - whole * low, n


def _narrowed(b: Builder, x: V) -> tuple[V, V]:
    """`_two_parts` for targets without a fused multiply-add, back in float32."""
    r, n = _two_parts(b, widen(x))
    # |x| ≥ SMALL_F32 is replaced later: keep the conversion in range.
    return narrow(r), narrow(n - F64.shifter) + F32.shifter


def _short_f64(b: Builder, x: V) -> tuple[Pair, V]:
    """Parts of 33 bits, whose products with n are exact, with the sums' roundings kept."""
    n = b.fma(x, const(x, table.TWO_OVER_PI), const(x, F64.shifter))
    whole = n - F64.shifter
    first, second, third, last = table.HALF_PI_F64
    r = fast_two_sum(x - whole * first, whole * -second)
    s = fast_two_sum(r.hi, whole * -third)
    return fast_two_sum(s.hi, b.fma(whole, const(x, -last), s.lo + r.lo)), n


def _modulo_four(p: V) -> V:
    """p less a multiple of 4, in [-2, 2], exactly; p has at most 52 significant bits."""
    magic = 4 * F64.shifter
    p = p.b.select(p.b.abs(p).lt(2.0**53), p, const(p, 0.0))  # beyond, p is a multiple of 4
    return p - ((p + magic) - magic)


def _huge_f32(b: Builder, wide: V) -> tuple[V, V]:
    """x·2/π modulo 4 from seven products of 24 and 28 bits, for |x| < 2^128."""
    fraction, whole = const(wide, 0.0), const(wide, 0.0)
    for piece in table.TWO_OVER_PI_PIECES:
        fraction = fraction + _modulo_four(wide * piece)
        n = round_even(b, fraction)
        whole, fraction = whole + n, fraction - n
    # An infinite or NaN argument makes every product NaN or infinite: answer NaN.
    return fraction * table.HALF_PI[0] + (wide - wide), whole + F64.shifter


def _huge_f64(b: Builder, x: V) -> tuple[Pair, V]:
    """x·2/π modulo 4 as a pair, for |x| ≥ 2^20.

    With x = M·2^E, chunks of 2/π whose products are multiples of 4 are skipped: the first used is
    number (E - 2)/24 (rounded down; the table starts with two zeros), after which 2^79 > |x'|.
    Nine chunks leave an error of 2^-137 of x', 2^-52 of the least possible r.
    """
    exponent = (x.bits().lshr(52) & 0x7FF) - (1075 - 48)  # E + 48
    # (E + 46)/24 by a multiplication: exact for the range 14..1017.
    chunk = ((exponent - 2) * 2731).lshr(16)
    unit = (integers_of(x, 1023 + 48) - chunk * 24) << 52  # 2^(-24·(chunk - 2))
    # The factor may be below the normal range for x near 2^1023: use it in two steps.
    halved = x * 2.0**-400
    scaled = halved * ((unit + (400 << 52)).as_float())
    high = upper_half(scaled)
    low = scaled - high
    pieces = gather(b, "vecmath_two_over_pi", table.TWO_OVER_PI_CHUNKS, chunk, 9)
    terms = []  # (magnitude in bits, product)
    for k, piece in enumerate(pieces):
        weighted = piece * 2.0 ** (-24 * (k + 1))
        terms.append((-24 * k, high * weighted))
        terms.append((-24 * k - 27, low * weighted))
    hi, lo, whole = const(x, 0.0), const(x, 0.0), const(x, 0.0)
    for magnitude, product in sorted(terms, key=lambda t: -t[0]):
        may_be_whole = magnitude + 79 >= -2
        hi, error = two_sum(hi, _modulo_four(product) if may_be_whole else product)
        lo = lo + error
        if may_be_whole:
            n = round_even(b, hi)
            whole, hi = whole + n, hi - n
    fraction = fast_two_sum(hi, lo)
    return multiply(b, fraction, pair_of(x, table.HALF_PI)), whole + F64.shifter
