"""From one dtype to another: what ONNX leaves open is written out.

ONNX doesn't say what a floating number becomes that no integer of the dtype holds, and runtimes differ.
Here it is the smallest int32 (int64), cut to the width: so it is replaced before it is cast.
"""

from __future__ import annotations

from typing import Any

from fanal.core import dtypes
from fanal.core.dtypes import DType
from fanal.export.onnx.elementwise import where
from fanal.export.onnx.records import Ref
from fanal.export.onnx.registry import rule
from fanal.export.onnx.writer import Writer


@rule("cast")
def _cast(w: Writer, node: Any, x: Ref) -> Ref:
    return converted(w, x, node.attributes["dtype"])


def converted(w: Writer, x: Ref, dtype: DType) -> Ref:
    """The value in another dtype, as the primitive `cast`."""
    if x.dtype is dtype:
        return x
    if dtype is dtypes.bool_:
        zero = w.number(0, x.dtype, x.shape)
        return w.map("Not", w.through("Equal", x, zero, result=dtypes.bool_))
    if x.dtype.kind == "f" and dtype.kind != "f":
        return _to_integer(w, x, dtype)
    return w.cast(x, dtype)


def _to_integer(w: Writer, x: Ref, dtype: DType) -> Ref:
    if x.dtype.bits == 16:  # neither their numbers nor the limits below fit 16 bits
        x = w.cast(x, dtypes.float32)
    long = dtype.bits == 64 or dtype.name in ("uint8", "uint16", "uint32")
    limit, middle = (2.0**63, dtypes.int64) if long else (2.0**31, dtypes.int32)
    found = w.cast(_within(w, x, -limit, limit, -limit), middle)
    if dtype is dtypes.uint64:
        # What int64 can't hold and uint64 can: moved down, then up by the bits of the lowest int64.
        upper = w.map("Sub", _within(w, x, limit, 2 * limit, limit), w.number(limit, x.dtype, x.shape))
        moved = w.map("Add", w.cast(upper, middle), w.number(-(2**63), middle, x.shape))
        found = where(w, _between(w, x, limit, 2 * limit), moved, found)
    elif dtype is not middle and dtype.kind == "u":  # cut here: runtimes make one cast of two
        found = w.map("BitwiseAnd", found, w.number((1 << dtype.bits) - 1, middle, x.shape))
    return w.cast(found, dtype)


def _between(w: Writer, x: Ref, low: float, high: float) -> Ref:
    a, b = (w.number(v, x.dtype, x.shape) for v in (low, high))
    above = w.map("LessOrEqual", a, x, dtype=dtypes.bool_)
    return w.map("And", above, w.map("Less", x, b, dtype=dtypes.bool_))


def _within(w: Writer, x: Ref, low: float, high: float, other: float) -> Ref:
    """Numbers from low to below high; another one for those outside, and for NaN."""
    return where(w, _between(w, x, low, high), x, w.number(other, x.dtype, x.shape))
