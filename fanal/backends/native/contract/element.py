"""Elements in memory and in registers: loads that widen exactly, stores that round once.

Contractions compute in one of four types: `float` (also for the 16-bit floats), `double`, `i32`
(integers of up to 32 bits, where wrapping around is the same in any wider type) and `i64`. The
16-bit floats are handled as bits unless the target has the instruction, so that no library call
can appear; on targets that flush subnormals, those of float16 are flushed too.
"""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V, vector
from fanal.backends.native.emit.halves import float_to_half, half_to_float
from fanal.backends.native.emit.value import element
from fanal.core.dtypes import DType, bfloat16, bool_, float16

_BITS = {"float": 32, "double": 64, "i32": 32, "i64": 64}


def compute_type(*dtypes: DType) -> str:
    """The LLVM type in which values of these dtypes are multiplied and added."""
    if any(d.is_floating_point for d in dtypes):
        return "double" if any(d.is_floating_point and d.bits == 64 for d in dtypes) else "float"
    return "i64" if any(d.bits == 64 for d in dtypes) else "i32"


def compute_bits(scalar: str) -> int:
    """Width of a compute type."""
    return _BITS[scalar]


def stored_type(dtype: DType) -> str:
    """The LLVM type of one element in memory (the 16-bit floats as plain bits)."""
    if dtype.kind == "f" and dtype.bits >= 32:
        return "float" if dtype.bits == 32 else "double"
    return f"i{8 * dtype.itemsize}"


def is_stored_as(dtype: DType, scalar: str) -> bool:
    """Whether memory holds the compute type itself, so that no conversion is needed."""
    return stored_type(dtype) == scalar and dtype is not bool_


def load(b: Builder, dtype: DType, address: V, lanes: int, scalar: str) -> V:
    """`lanes` consecutive elements as compute type `scalar`."""
    return widen(b, b.load(vector(stored_type(dtype), lanes), address), dtype, scalar)


def store(b: Builder, value: V, dtype: DType, address: V) -> None:
    """Round or wrap `value` to `dtype` and store its lanes."""
    b.store(narrow(b, value, dtype), address)


def widen(b: Builder, x: V, dtype: DType, scalar: str) -> V:
    """What memory holds (`stored_type`) as compute type `scalar`, exactly."""
    if dtype is bfloat16:
        x = (x.cast("zext", "i32") << 16).as_float()
    elif dtype is float16:
        x = half_to_float(x)
    if dtype.is_floating_point:
        return x.cast("fpext", scalar)
    extend = "sext" if dtype.is_signed else "zext"
    if scalar in ("float", "double"):
        return x.cast("sitofp" if dtype.is_signed else "uitofp", scalar)
    return x.cast(extend, scalar)


def narrow(b: Builder, x: V, dtype: DType) -> V:
    """A value of compute type as memory holds it: one rounding to nearest even, or wrapped."""
    if dtype is bool_:
        return x.ne(0).cast("zext", "i8")
    if not dtype.is_floating_point:
        return x.cast("trunc", stored_type(dtype))
    if dtype.bits > 16:
        to = stored_type(dtype)
        return x.cast("fptrunc" if to == "float" else "fpext", to)
    if element(x.type) == "double":
        raise TypeError(f"[contract] no rounding from float64 to {dtype!r}: cast to float32 first.")
    return float_to_half(x) if dtype is float16 else _float_to_bfloat(b, x)


def _float_to_bfloat(b: Builder, x: V) -> V:
    bits = x.bits()
    rounded = (bits + (bits.lshr(16) & 1) + 0x7FFF).lshr(16)
    quiet = bits.lshr(16) | 0x40
    return b.select(x.isnan(), quiet, rounded).cast("trunc", "i16")
