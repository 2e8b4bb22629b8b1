"""Data types: one interned record each, and PyTorch's rules of promotion between them.

A `DType` is compared by identity. Its *storage* is what lies in memory (bfloat16: two bytes), its
`compute` type is what kernels calculate in (float32 for the 16-bit floats). Complex and quantised
types would be further records with their own `kind`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import ml_dtypes
import numpy as np


@dataclass(frozen=True, eq=False)
class DType:
    """A data type. `kind` is 'b' (bool), 'u', 'i' or 'f'; `bits` the width of one element."""

    name: str
    kind: str
    bits: int
    numpy: np.dtype

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return 1 if self.kind == "b" else self.bits // 8

    @property
    def is_floating_point(self) -> bool:
        return self.kind == "f"

    @property
    def is_complex(self) -> bool:
        return False

    @property
    def is_signed(self) -> bool:
        return self.kind in "if"

    @property
    def is_integer(self) -> bool:
        """Signed or unsigned integer, not bool."""
        return self.kind in "iu"

    def to_real(self) -> DType:
        return self

    def __repr__(self) -> str:
        return f"fanal.{self.name}"

    def __reduce__(self) -> str:
        return self.name


def _make(name: str, kind: str, bits: int, numpy_type: object) -> DType:
    return DType(name, kind, bits, np.dtype(numpy_type))  # type: ignore[call-overload]


bool_ = _make("bool", "b", 1, np.bool_)
uint8 = _make("uint8", "u", 8, np.uint8)
uint16 = _make("uint16", "u", 16, np.uint16)
uint32 = _make("uint32", "u", 32, np.uint32)
uint64 = _make("uint64", "u", 64, np.uint64)
int8 = _make("int8", "i", 8, np.int8)
int16 = _make("int16", "i", 16, np.int16)
int32 = _make("int32", "i", 32, np.int32)
int64 = _make("int64", "i", 64, np.int64)
float16 = _make("float16", "f", 16, np.float16)
bfloat16 = _make("bfloat16", "f", 16, ml_dtypes.bfloat16)
float32 = _make("float32", "f", 32, np.float32)
float64 = _make("float64", "f", 64, np.float64)

ALL = (
    bool_, uint8, uint16, uint32, uint64, int8, int16, int32, int64,
    float16, bfloat16, float32, float64,
)  # fmt: skip
BY_NAME = {d.name: d for d in ALL} | {
    "float": float32, "double": float64, "half": float16, "long": int64, "int": int32,
    "short": int16,
}  # fmt: skip
_BY_NUMPY: dict[object, DType] = {d.numpy: d for d in ALL}


def from_numpy_dtype(dtype: object) -> DType:
    """The record of a NumPy dtype (also ml_dtypes' bfloat16).

    Raises TypeError for dtypes that no tensor can hold (strings, objects, complex).
    """
    found = _BY_NUMPY.get(dtype)
    if found is None:
        found = _BY_NUMPY.get(np.dtype(dtype).newbyteorder("="))  # type: ignore[call-overload]
    if found is None:
        raise TypeError(
            f"[dtype] unsupported NumPy dtype: got {np.dtype(dtype)}; "  # type: ignore[call-overload]
            f"expected one of {', '.join(d.name for d in ALL)}. Try: array.astype(numpy.float32)."
        )
    return found


# The order in which a higher category wins: bool < integers < floats (PyTorch's categories).
def category(dtype: DType) -> int:
    """0 for bool, 1 for integers, 2 for floating point."""
    return {"b": 0, "u": 1, "i": 1, "f": 2}[dtype.kind]


def _promote(a: DType, b: DType) -> DType:
    if a is b:
        return a
    if category(a) != category(b):
        return a if category(a) > category(b) else b
    if a.kind == "f":
        if a.bits == b.bits:  # float16 with bfloat16
            return float32
        return a if a.bits > b.bits else b
    if a.kind == b.kind:
        return a if a.bits > b.bits else b
    signed, unsigned = (a, b) if a.kind == "i" else (b, a)
    if unsigned.bits >= 16:
        # As in PyTorch: the wider unsigned types have no promotion with signed ones.
        raise TypeError(
            f"[promote_types] no common type: got {signed!r} and {unsigned!r}. "
            f"Try: casting one of them with .to(...)."
        )
    if signed.bits > unsigned.bits:
        return signed
    return {8: int16}[unsigned.bits]


_PROMOTED: dict[tuple[DType, DType], DType] = {}


def promote_types(type1: DType, type2: DType) -> DType:
    """The smallest type that both can be converted to, as `torch.promote_types`.

    Raises TypeError for a signed integer with uint16, uint32 or uint64.
    """
    found = _PROMOTED.get((type1, type2))
    if found is None:
        found = _PROMOTED[type1, type2] = _promote(type1, type2)
    return found


_default = float32
# Called when the default changes: whoever keeps results that depend on it.
default_listeners: list[Callable[[], None]] = []


def get_default_dtype() -> DType:
    """The floating type of results that have none of their own (of Python floats, say)."""
    return _default


def set_default_dtype(d: DType) -> None:
    """Choose the default floating type (float32, float64, float16 or bfloat16)."""
    global _default
    if not isinstance(d, DType) or d.kind != "f":
        raise TypeError(
            f"[set_default_dtype] not a floating type: got {d!r}; expected fanal.float32 or another "
            "floating dtype."
        )
    if d is not _default:
        _default = d
        for listener in default_listeners:
            listener()


def scalar_dtype(value: bool | int | float) -> DType:
    """The type that a Python number has by itself."""
    if isinstance(value, bool | np.bool_):
        return bool_
    if isinstance(value, int | np.integer):
        return int64
    return _default
