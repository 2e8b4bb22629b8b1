"""Which dtypes ONNX's operators take, and in which other dtype the rest is computed.

The standard allows more than runtimes have kernels for. The sets below are what both have: where a
program's dtype is not among them, its values go through one that holds all of them (uint16 through
int32, bfloat16 through float32), and back. Sums and products of unsigned 64-bit numbers go through
int64, which has the same bits.
"""

from __future__ import annotations

from fanal.core import dtypes
from fanal.core.dtypes import DType

_FLOATS = "float16 float32 float64"
_ALL = "bool uint8 uint16 uint32 uint64 int8 int16 int32 int64 " + _FLOATS
_WHOLE = "uint8 uint16 uint32 uint64 int8 int16 int32 int64"


def _set(text: str) -> frozenset[DType]:
    return frozenset(dtypes.BY_NAME[n] for n in text.split())


# By operator; those that are not listed take floating numbers.
_FLOATING = _set(_FLOATS)
_ALLOWED: dict[str, frozenset[DType]] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Mod", "Abs", "Sign"), _set(f"{_WHOLE} {_FLOATS}")),
    **dict.fromkeys(("Less", "LessOrEqual", "Greater", "GreaterOrEqual"), _set(f"{_WHOLE} {_FLOATS}")),
    "Equal": _set(f"bool {_WHOLE} {_FLOATS}"),
    "Neg": _set(f"int8 int16 int32 int64 {_FLOATS}"),
    **dict.fromkeys(("Max", "Min"), _set(f"uint8 uint32 uint64 int8 int32 int64 {_FLOATS}")),
    **dict.fromkeys(("And", "Or", "Xor", "Not"), _set("bool")),
    **dict.fromkeys(("BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot"), _set(_WHOLE)),
    "BitShift": _set("uint8 uint32 uint64"),
    "Where": _set(f"uint8 uint32 int8 int32 int64 {_FLOATS}"),
    **dict.fromkeys(("Expand", "Tile"), _set(_ALL)),
    "Pad": _set(f"bool uint8 uint32 uint64 int8 int32 int64 {_FLOATS}"),
    **dict.fromkeys(
        ("Reshape", "Transpose", "Slice", "Concat", "Gather", "GatherND", "GatherElements", "Identity"),
        _set(f"{_ALL} bfloat16"),
    ),
    "ScatterND": _set(f"{_ALL} bfloat16"),
    # 16-bit sums are kept in 32 bits, as here.
    **dict.fromkeys(("ReduceSum", "ReduceProd", "CumSum"), _set("int32 int64 float32 float64")),
    **dict.fromkeys(("ReduceMax", "ReduceMin"), _set(f"int32 int64 {_FLOATS}")),
    **dict.fromkeys(("ArgMax", "ArgMin"), _set(f"int32 int64 {_FLOATS}")),
    "TopK": _set(f"int32 int64 {_FLOATS}"),
    "MatMul": _set(f"int32 int64 {_FLOATS}"),
}  # fmt: skip
_WIDER: dict[str, str] = {
    "bool": "uint8 int32", "uint8": "int32 int64", "int8": "int32 int64", "uint16": "int32 int64",
    "int16": "int32 int64", "uint32": "int64", "bfloat16": "float32", "float16": "float32",
}  # fmt: skip
# What sums and products of a dtype may also go through: they wrap around alike.
_SAME_BITS: dict[str, str] = {"uint64": "int64"}


def takes(op: str) -> frozenset[DType]:
    """The dtypes of an operator's operands."""
    return _ALLOWED.get(op, _FLOATING)


def computed_in(op: str, dtype: DType, wraps: bool = False) -> DType | None:
    """The dtype that an operator computes in where the program's is `dtype`; None if there is none.
    `wraps`: the result's low bits depend on those of the operands only."""
    allowed = takes(op)
    if dtype in allowed:
        return dtype
    names = _WIDER.get(dtype.name, "") + (" " + _SAME_BITS.get(dtype.name, "") if wraps else "")
    return next((d for n in names.split() if (d := dtypes.BY_NAME[n]) in allowed), None)
