"""Between memory and registers: storage types, compute types, and conversion of dtypes.

float16 and bfloat16 are storage only: kernels widen them to float32, compute, and round after each
primitive. bfloat16 is widened and rounded with integers on every target; float16 where the target
has no instruction. No conversion here calls a library.
"""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V, vector
from fanal.backends.native.emit.halves import float_to_half, half_to_float
from fanal.core import dtypes
from fanal.core.dtypes import DType

_STORAGE = {
    "bool": "i8", "uint8": "i8", "int8": "i8", "uint16": "i16", "int16": "i16", "uint32": "i32",
    "int32": "i32", "uint64": "i64", "int64": "i64", "float16": "i16", "bfloat16": "i16",
    "float32": "float", "float64": "double",
}  # fmt: skip


def storage_type(dtype: DType) -> str:
    """The scalar type of an element in memory."""
    return _STORAGE[dtype.name]


def compute_type(dtype: DType) -> str:
    """The scalar type that an element has in registers."""
    if dtype is dtypes.bool_:
        return "i1"
    return "float" if dtype.name in ("float16", "bfloat16") else _STORAGE[dtype.name]


def from_storage(x: V, dtype: DType) -> V:
    """Loaded bits as a value to compute with."""
    if dtype is dtypes.bool_:
        return x.ne(0)
    if dtype is dtypes.bfloat16:
        return (x.cast("zext", "i32") << 16).as_float()
    if dtype is dtypes.float16:
        return half_to_float(x)
    return x


def to_storage(x: V, dtype: DType) -> V:
    """A computed value as the bits to store (rounded to nearest even)."""
    if dtype is dtypes.bool_:
        return x.cast("zext", "i8")
    if dtype is dtypes.bfloat16:
        return _round_bfloat(x).lshr(16).cast("trunc", "i16")
    if dtype is dtypes.float16:
        return float_to_half(x)
    return x


def rounded(x: V, dtype: DType) -> V:
    """A float32 value rounded to what a 16-bit dtype can hold (other dtypes: unchanged)."""
    if dtype is dtypes.bfloat16:
        return (_round_bfloat(x) & -65536).as_float()
    if dtype is dtypes.float16:
        return half_to_float(float_to_half(x))
    return x


def _round_bfloat(x: V) -> V:
    """Bits of x with the upper half rounded to nearest even; NaN stays a quiet NaN."""
    bits = x.bits()
    half = (bits.lshr(16) & 1) + 0x7FFF
    return x.b.select(x.isnan(), bits | 0x400000, bits + half)


def convert(b: Builder, x: V, source: DType, target: DType) -> V:
    """A computed value of one dtype as a computed value of another (the primitive `cast`)."""
    if source is target:
        return x
    to = compute_type(target)
    if target is dtypes.bool_:
        return x.ne(0)
    if source is dtypes.bool_:
        return x.cast("uitofp" if target.kind == "f" else "zext", to)
    if source.kind == "f":
        if target.kind == "f":
            return rounded(_float_to_float(x, to), target)
        return _float_to_int(b, x, target)
    if target.kind == "f":
        return rounded(_int_to_float(b, x, source, to), target)
    if source.bits == target.bits:
        return x
    if source.bits > target.bits:
        return x.cast("trunc", to)
    return x.cast("zext" if source.kind == "u" else "sext", to)


def _float_to_float(x: V, to: str) -> V:
    if "double" in x.type and to == "float":
        return x.cast("fptrunc", to)
    return x.cast("fpext", to) if to == "double" and "double" not in x.type else x


def _int_to_float(b: Builder, x: V, source: DType, to: str) -> V:
    op = "uitofp" if source.kind == "u" else "sitofp"
    return x.cast(op, to)


def _float_to_int(b: Builder, x: V, target: DType) -> V:
    """Truncation; out of range and NaN give the smallest int32 (int64), cut to the width."""
    wide = target.bits == 64 or target.name in ("uint32", "uint8", "uint16")
    middle, limit, low = ("i64", 2.0**63, -(2**63)) if wide else ("i32", 2.0**31, -(2**31))
    fits = b.op(
        vector("i1", x.lanes), f"and {vector('i1', x.lanes)} {x.ge(-limit).ref}, {x.lt(limit).ref}"
    )
    safe = b.select(fits, x, b.const(x.type, 0.0))
    number = safe.cast("fptosi", middle)
    number = b.select(fits, number, b.const(number.type, low))
    if target is dtypes.uint64:
        # Above 2^63 the value is real in uint64: shift it into range and back.
        big = x.ge(limit)
        upper = b.select(
            b.op(big.type, f"and {big.type} {big.ref}, {x.lt(2 * limit).ref}"), x, 2.0**63
        )
        shifted = (upper - 2.0**63).cast("fptosi", "i64") ^ low
        number = b.select(b.op(big.type, f"and {big.type} {big.ref}, {x.lt(2 * limit).ref}"), shifted, number)
    return number.cast("trunc", storage_type(target)) if middle != storage_type(target) else number
