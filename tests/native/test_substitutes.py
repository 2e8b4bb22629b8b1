"""What stands in the place of missing instructions, run here: exact, as Python's own integers."""

from __future__ import annotations

import struct
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from fanal.backends.native.emit.halves import float_to_half, half_to_float
from fanal.backends.native.target import host_target
from fanal.backends.native.vecmath.loop import compile_loop
from tests.native.test_vecmath_integers import pairs, truncated

# This machine, if it could do no more than an ARMv7 can.
POOR = replace(host_target(), name="poor", f16=False, division_bits=0, conversion_bits=32)


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", [8, 16, 32, 64])
def test_divisions(bits: int, signed: bool, lanes: int) -> None:
    x, y = pairs(bits, signed)
    wide = [(int(a), int(b)) for a, b in zip(x, y, strict=True)]
    divide, rest = ("sdiv", "srem") if signed else ("udiv", "urem")
    quotient = compile_loop(lambda b, p, q: getattr(p, divide)(q), f"i{bits}", 2, lanes, POOR)
    remainder = compile_loop(lambda b, p, q: getattr(p, rest)(q), f"i{bits}", 2, lanes, POOR)
    mask = (1 << bits) - 1
    assert [int(v) & mask for v in quotient(x, y)] == [truncated(a, b) & mask for a, b in wide]
    assert [int(v) & mask for v in remainder(x, y)] == [a - b * truncated(a, b) & mask for a, b in wide]


def test_quotients_beside_whole_ones() -> None:
    """Where an estimate is wrong by one: numbers beside multiples of the divisor."""
    r = np.random.default_rng(0)
    y = r.integers(1, 1 << 63, 4000, dtype=np.uint64) >> r.integers(0, 63, 4000).astype(np.uint64)
    y = np.maximum(y, 1)
    most = ((1 << 64) - 1) // y
    q = (r.random(4000) * most.astype(np.float64)).astype(np.uint64).clip(0, most)
    x = (q * y + r.integers(-1, 2, 4000).astype(np.uint64)).astype(np.uint64)
    divide = compile_loop(lambda b, p, q: p.udiv(q), "i64", 2, 1, POOR)
    got = divide(x.view(np.int64), y.view(np.int64)).view(np.uint64)
    assert got.tolist() == [a // b for a, b in zip(x.tolist(), y.tolist(), strict=True)]


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("signed", [True, False])
def test_integers_to_floats(signed: bool, lanes: int) -> None:
    r = np.random.default_rng(1)
    x = r.integers(-(1 << 63), (1 << 63) - 1, 4000, dtype=np.int64, endpoint=True)
    x >>= r.integers(0, 64, 4000)
    halves = (1 << np.arange(24, 63)) + (1 << np.arange(0, 39))  # halfway between two floats
    x = np.concatenate([x, halves, halves + 1, halves - 1, -halves, [0, 1, -1, -(1 << 63), (1 << 63) - 1]])
    op = "sitofp" if signed else "uitofp"
    bits = compile_loop(
        lambda b, p: p.cast(op, "float").cast("fpext", "double").bits(), "i64", 1, lanes, POOR
    )
    wide = compile_loop(lambda b, p: p.cast(op, "double").bits(), "i64", 1, lanes, POOR)
    numbers = x if signed else x.view(np.uint64)
    np.testing.assert_array_equal(wide(x).view(np.float64), numbers.astype(np.float64))
    np.testing.assert_array_equal(bits(x).view(np.float64), [_nearest(int(v)) for v in numbers])


def _nearest(value: int) -> float:
    """The float32 nearest to an integer, ties to even, found without rounding twice."""
    guess = struct.unpack("<f", struct.pack("<f", float(value)))[0]
    around = [float(np.nextafter(np.float32(guess), np.float32(d))) for d in (-np.inf, np.inf)]
    near = sorted([guess, *around], key=lambda f: abs(Fraction(f) - value))
    if abs(Fraction(near[0]) - value) == abs(Fraction(near[1]) - value):
        return next(f for f in near[:2] if not struct.pack("<f", f)[0] & 1)
    return near[0]


@pytest.mark.parametrize("signed", [True, False])
def test_floats_to_integers(signed: bool) -> None:
    r = np.random.default_rng(2)
    limit = 2.0**63 if signed else 2.0**64
    x = np.concatenate([r.random(2000) * 2.0 ** r.integers(0, 64, 2000), [0.0, 0.5, 1.0, 2.0**32, 2.0**32 - 0.5]])
    x = x[x < limit]
    if signed:
        x = np.concatenate([x, -x, [-(2.0**63)]])
    op = "fptosi" if signed else "fptoui"
    convert = compile_loop(lambda b, p: p.cast(op, "i64").as_float(), "double", 1, 2, POOR)
    got = convert(x).view(np.int64 if signed else np.uint64)
    assert got.tolist() == [int(v) for v in x]


@pytest.mark.parametrize("lanes", [1, 4])
def test_half_precision(lanes: int) -> None:
    """All float16 numbers both ways; float32 numbers beside and between them."""
    halves = np.arange(1 << 16, dtype=np.uint16)
    widen = compile_loop(
        lambda b, p: half_to_float(p.cast("trunc", "i16")).bits(), "i32", 1, lanes, POOR
    )
    got = widen(halves.astype(np.int32)).view(np.float32)
    want = halves.view(np.float16).astype(np.float32)
    np.testing.assert_array_equal(got.view(np.uint32), want.view(np.uint32))
    real = want[np.isfinite(want)]
    beside = [np.nextafter(real, np.float32(to)) for to in (0, np.inf)]
    others = np.array([65519.9, 65520.0, 1e30, 1e-30], np.float32)
    numbers = np.concatenate([want, *beside, (real[:-1] + real[1:]) / 2, others])
    narrow = compile_loop(lambda b, p: float_to_half(p).cast("zext", "i32").as_float(), "float", 1, lanes, POOR)
    with np.errstate(over="ignore"):
        want = numbers.astype(np.float16)
    got = narrow(numbers).view(np.int32).astype(np.uint16).view(np.float16)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    ordinary = ~np.isnan(want)
    np.testing.assert_array_equal(got[ordinary].view(np.uint16), want[ordinary].view(np.uint16))
