"""log, log2, log10, log1p.

x = 2^e·(1 + f) with 1 + f in [√½, √2), so that nothing cancels near x = 1. float32 adds a
polynomial in f; float64 uses s = f/(2 + f), log(1+f) = 2·atanh(s) = f - f²/2 + s·(f²/2 + R(s²)),
which needs a third of the terms. 1/ln(base) and ln(2)/ln(base) are kept in two parts.
"""

from __future__ import annotations

from dataclasses import dataclass

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.vecmath.coefficients import logarithm as table
from fanal.backends.native.vecmath.core import (
    F32,
    INF,
    NAN,
    Format,
    const,
    format_of,
    horner,
    integers_of,
    is_tiny,
    polynomial,
)
from fanal.backends.native.vecmath.extended import Pair, fast_two_sum, two_sum


@dataclass(frozen=True)
class _Base:
    """A logarithm's base: log(2^e·(1+f)) = e·unit + f·factor + tail, each constant in two parts."""

    unit: tuple[float, float]
    factor: tuple[float, float]
    tail: tuple[float, ...] = ()  # float32: the polynomial of (log(1+f) - f)/f², scaled


_NATURAL = {
    32: _Base(table.LN2_F32, (1.0, 0.0), table.LOG_F32),
    64: _Base(table.LN2_F64, (1.0, 0.0)),
}
_BINARY = {
    32: _Base((1.0, 0.0), table.LOG2E_F32, table.LOG2_F32),
    64: _Base((1.0, 0.0), table.LOG2E_F64),
}
_DECIMAL = {
    32: _Base(table.LOG10_2_F32, table.LOG10E_F32, table.LOG10_F32),
    64: _Base(table.LOG10_2_F64, table.LOG10E_F64),
}


def _half_bits(f: Format) -> int:
    """The bits of √½."""
    return 0x3F3504F3 if f is F32 else 0x3FE6A09E667F3BCD


def normalise(b: Builder, x: V) -> tuple[V, V]:
    """(x', shift): subnormal x is multiplied by 2^shift, so that its exponent can be read."""
    f = format_of(x)
    shift = f.mantissa + 1
    subnormal = x.lt(f.smallest_normal)
    return (
        b.select(subnormal, x * 2.0**shift, x),
        b.select(subnormal, const(x, -shift), const(x, 0.0)),
    )


def split(b: Builder, x: V) -> tuple[V, V]:
    """(f, e): x = 2^e·(1 + f), 1 + f in [√½, √2), for positive normal x."""
    f = format_of(x)
    moved = x.bits() - (_half_bits(f) - (f.bias << f.mantissa))
    fraction = (moved & ((1 << f.mantissa) - 1)) + _half_bits(f)
    biased = moved.lshr(f.mantissa)
    return fraction.as_float() - 1.0, _exponent_value(biased, f)


def _exponent_value(biased: V, f: Format) -> V:
    """A biased exponent as a floating-point number, without the bias (and without conversion)."""
    ones = (f.bias + f.mantissa) << f.mantissa  # the bits of 2^mantissa
    return (biased | ones).as_float() - (2.0**f.mantissa + f.bias)


def _series(b: Builder, f: V, base: _Base) -> V:
    """log(1+f)·factor - f·factor[0]: the small rest."""
    square = f * f
    high, low = base.factor
    if format_of(f) is F32:
        p = polynomial(b, f, base.tail, square)
        if low:
            return b.fma(square, p, f * low)
        return square * p
    s = f / (f + 2.0)
    half = square * 0.5
    z = s * s
    rest = b.fma(s, b.fma(z, horner(b, z, table.LOG_F64), half), -half)
    if low:
        return b.fma(rest, const(f, high), f * low)
    return rest


def _assemble(b: Builder, f: V, e: V, base: _Base, lost: V | None = None) -> V:
    """log(2^e·(1 + f)) to the given base; `lost` is what f lacks."""
    rest = _series(b, f, base)
    if lost is not None:
        rest = rest + lost
    high = base.factor[0]
    if base.unit[1]:
        rest = b.fma(e, const(e, base.unit[1]), rest)
    main = f + rest if high == 1.0 else b.fma(f, const(f, high), rest)
    if base.unit[0] == 1.0:
        return e + main
    return b.fma(e, const(e, base.unit[0]), main)


def _edges(b: Builder, x: V, y: V, x_for_infinity: V) -> V:
    """The logarithm's special values, x being its argument: NaN below 0, -inf at 0, inf at inf."""
    y = b.select(x.lt(INF), y, x_for_infinity)
    y = b.select(x.eq(0.0), const(y, -INF), y)
    return b.select(x.lt(0.0), const(y, NAN), y)


def _log(b: Builder, x: V, bases: dict[int, _Base]) -> V:
    scaled, shift = normalise(b, x)
    f, e = split(b, scaled)
    return _edges(b, x, _assemble(b, f, e + shift, bases[format_of(x).bits]), x)


def log(b: Builder, x: V) -> V:
    """Natural logarithm."""
    return _log(b, x, _NATURAL)


def log2(b: Builder, x: V) -> V:
    """Logarithm to base 2; exact for powers of two."""
    return _log(b, x, _BINARY)


def log10(b: Builder, x: V) -> V:
    """Logarithm to base 10."""
    return _log(b, x, _DECIMAL)


def log1p(b: Builder, x: V) -> V:
    """log(1 + x): e comes from 1 + x rounded, and f = x·2^-e + (2^-e - 1) from x itself."""
    fraction, lost, e, _ = _split_sum(b, x)
    y = _assemble(b, fraction, e, _NATURAL[format_of(x).bits], lost)
    y = _edges(b, x + 1.0, y, x)
    return b.select(is_tiny(b, x, 2.0 ** -(format_of(x).mantissa + 2)), x, y)


def _split_sum(b: Builder, x: V) -> tuple[V, V, V, V]:
    """(f, lost, e, 2^-e): 1 + x = 2^e·(1 + f + lost), |f| < ½.

    The factor is applied as 2^(2-e) on x/4, a normal number for every exponent.
    """
    f = format_of(x)
    moved = (x + 1.0).bits() - (_half_bits(f) - (f.bias << f.mantissa))
    biased = moved.lshr(f.mantissa)
    factor = ((integers_of(x, 2 * f.bias + 2) - biased) << f.mantissa).as_float()
    quarter = factor * 0.25
    less, x = quarter - 1.0, x * 0.25
    fraction = b.fma(x, factor, less)
    lost = b.fma(x, factor, less - fraction)
    return fraction, lost, _exponent_value(biased, f), quarter


def log1p_pair(b: Builder, hi: V, lo: V, doubled: V) -> V:
    """log(1 + hi + lo), plus ln 2 in the lanes of `doubled`, for hi ≥ 0; lo is a small correction."""
    f, lost, e, factor = _split_sum(b, hi)
    low = b.fma(lo, factor, lost)
    base = _NATURAL[format_of(hi).bits]
    e = b.select(doubled, e + 1.0, e)
    rest = _series(b, f, base) + low * (1.0 - f * (1.0 - f))  # low/(1 + f), nearly
    rest = b.fma(e, const(hi, base.unit[1]), rest)
    y = b.fma(e, const(hi, base.unit[0]), f + rest)
    return b.select(hi.lt(INF), y, hi)


def log_pair(b: Builder, x: V) -> Pair:
    """log(x) for positive finite double x as a pair, absolute error about 2^-57."""
    scaled, shift = normalise(b, x)
    f, e = split(b, scaled)
    e = e + shift
    rest = _series(b, f, _NATURAL[64])
    main = two_sum(e * table.LN2_F64[0], f)
    return fast_two_sum(main.hi, main.lo + b.fma(e, const(x, table.LN2_F64[1]), rest))
