"""Division, remainders and shifts: where ONNX's operators mean something else, or nothing at the edges."""

from __future__ import annotations

from typing import Any

from fanal.core import dtypes
from fanal.core.dtypes import DType
from fanal.export.onnx.elementwise import below_zero, signs, where, with_signs
from fanal.export.onnx.records import Ref
from fanal.export.onnx.registry import rule
from fanal.export.onnx.writer import Writer

BOOL = dtypes.bool_


def _less(w: Writer, a: Ref, b: Ref) -> Ref:
    return w.map("Less", a, b, dtype=BOOL)


def _equal(w: Writer, a: Ref, b: Ref) -> Ref:
    return w.map("Equal", a, b, dtype=BOOL)


def _signs_differ(w: Writer, rest: Ref, b: Ref) -> Ref:
    """Where a rest is not 0 and of another sign than the divisor."""
    some = w.map("Not", _equal(w, rest, w.number(0, rest.dtype, rest.shape)))
    return w.map("And", some, w.map("Xor", below_zero(w, rest), below_zero(w, b)))


@rule("trunc_div")
def _trunc_div(w: Writer, node: Any, a: Ref, b: Ref) -> Ref:
    return w.map("Div", a, b)


@rule("fmod")
def _fmod(w: Writer, node: Any, a: Ref, b: Ref) -> Ref:
    return w.through("Mod", a, b, fmod=1)


@rule("remainder")
def _remainder(w: Writer, node: Any, a: Ref, b: Ref) -> Ref:
    """Of integers ONNX's own; of floating numbers C's fmod, moved to the sign of the divisor (but for
    zeros, which keep the dividend's, as in PyTorch)."""
    if a.dtype.kind != "f":
        return w.map("Mod", a, b)
    dtype = w.dtype_for("Mod", a.dtype)
    x, y = w.cast(a, dtype), w.cast(b, dtype)
    rest = w.map("Mod", x, y, fmod=1)
    moved = where(w, _signs_differ(w, rest, y), w.map("Add", rest, y), rest)
    sign = where(w, _equal(w, rest, w.number(0.0, dtype, a.shape)), signs(w, x), signs(w, y))
    return w.cast(w.map("Mul", w.map("Abs", moved), sign), a.dtype)


@rule("floor_div")
def _floor_div(w: Writer, node: Any, a: Ref, b: Ref) -> Ref:
    if a.dtype.kind == "u":
        return w.map("Div", a, b)
    if a.dtype.kind == "i":
        rest = w.map("Mod", a, b, fmod=1)
        return w.map("Sub", w.map("Div", a, b), w.cast(_signs_differ(w, rest, b), a.dtype))
    return _floor_div_float(w, a, b)


def _floor_div_float(w: Writer, a: Ref, b: Ref) -> Ref:
    """By the remainder, as the primitive: rounding the quotient first would be off by one at times."""
    dtype = w.dtype_for("Mod", a.dtype)
    x, y = w.cast(a, dtype), w.cast(b, dtype)
    zero, one, half = (w.number(v, dtype, a.shape) for v in (0.0, 1.0, 0.5))
    rest = w.map("Mod", x, y, fmod=1)
    quotient = w.map("Div", w.map("Sub", x, rest), y)
    quotient = where(w, _signs_differ(w, rest, y), w.map("Sub", quotient, one), quotient)
    floor = w.map("Floor", quotient)
    up = _less(w, half, w.map("Sub", quotient, floor))
    floor = where(w, up, w.map("Add", floor, one), floor)
    plain = w.map("Div", x, y)
    found = where(w, _equal(w, y, zero), plain, floor)
    return w.cast(with_signs(w, found, plain), a.dtype)  # also of a quotient of zero


# -- shifts ---------------------------------------------------------------------------------------------


def _unsigned(dtype: DType) -> DType:
    """Where ONNX shifts bits of a dtype."""
    return dtypes.uint64 if dtype.bits == 64 else dtypes.uint32


def _counts(w: Writer, b: Ref, bits: int, wide: DType) -> tuple[Ref, Ref]:
    """Where a count is negative or too large, and counts that are neither."""
    zero = w.number(0, b.dtype, b.shape)
    over = w.map("Less", w.number(bits - 1, b.dtype, b.shape), b, dtype=BOOL)
    wild = over if b.dtype.kind == "u" else w.map("Or", over, _less(w, b, zero))
    return wild, w.cast(where(w, wild, zero, b), wide)


@rule("shift_left")
def _shift_left(w: Writer, node: Any, a: Ref, b: Ref) -> Ref:
    wide = _unsigned(a.dtype)
    wild, count = _counts(w, b, a.dtype.bits, wide)
    shifted = w.cast(w.map("BitShift", w.cast(a, wide), count, direction="LEFT"), a.dtype)
    return where(w, wild, w.number(0, a.dtype, a.shape), shifted)


@rule("shift_right")
def _shift_right(w: Writer, node: Any, a: Ref, b: Ref) -> Ref:
    """Negative numbers by their complement, which has the same bits inverted and no sign."""
    wide = _unsigned(a.dtype)
    wild, count = _counts(w, b, a.dtype.bits, wide)
    signed = a.dtype.kind == "i"
    negative = below_zero(w, a) if signed else None
    plain = where(w, negative, w.map("BitwiseNot", a), a) if negative else a
    shifted = w.cast(w.map("BitShift", w.cast(plain, wide), count, direction="RIGHT"), a.dtype)
    zero = w.number(0, a.dtype, a.shape)
    if negative is None:
        return where(w, wild, zero, shifted)
    shifted = where(w, negative, w.map("BitwiseNot", shifted), shifted)
    return where(w, wild, where(w, negative, w.number(-1, a.dtype, a.shape), zero), shifted)
