"""PyTorch's rules for mixed operands: common dtype, broadcasting, Python numbers.

Primitives take operands of one dtype and shape; public functions bring them there with the
functions of this file. A Python number never changes the dtype of a tensor of its category, and a
0-d tensor counts less than one with dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.core.dtypes import DType, category, promote_types
from fanal.core.errors import message
from fanal.core.symbols import real, size
from fanal.graph.ir import Value
from fanal.ops.arithmetic import cast_p
from fanal.ops.create import full_p
from fanal.ops.layout import expand_to

Operand = Value | bool | int | float


def _weak_dtype(x: Any) -> DType:
    """The dtype of a Python number, or of a run-time number that is a graph input."""
    if isinstance(x, Value):
        return dtypes.get_default_dtype() if x.dtype.kind == "f" else x.dtype
    return dtypes.scalar_dtype(x)


def _merge(a: DType | None, b: DType) -> DType:
    return b if a is None else promote_types(a, b)


def _combine(higher: DType | None, lower: DType | None) -> DType | None:
    """The higher priority's dtype, unless the lower one is of a higher category."""
    if higher is None:
        return lower
    if lower is None or category(higher) >= category(lower):
        return higher
    return promote_types(higher, lower)


def result_type(*operands: Any) -> DType:
    """The dtype that an operation on these tensors (values) and numbers computes in."""
    dims: DType | None = None
    zero: DType | None = None
    weak: DType | None = None
    for x in operands:
        if not hasattr(x, "dtype") or getattr(x, "weak", False):
            weak = _merge(weak, _weak_dtype(x))
        elif len(x.shape):
            dims = _merge(dims, x.dtype)
        else:
            zero = _merge(zero, x.dtype)
    found = _combine(dims, _combine(zero, weak))
    if found is None:
        raise TypeError("[result_type] needs at least one operand")
    return found


def broadcast_shapes(*shapes: Sequence[int], op: str = "broadcast_shapes") -> tuple[int, ...]:
    """The shape that all shapes broadcast to; raises RuntimeError where two extents conflict."""
    rank = max((len(s) for s in shapes), default=0)
    out = [1] * rank
    for shape in shapes:
        for i, n in enumerate(shape, rank - len(shape)):
            if out[i] == 1:
                out[i] = n
            elif n not in (1, out[i]):
                raise RuntimeError(
                    message(
                        op, f"shapes do not broadcast (dimension {i - rank})",
                        " and ".join(str(tuple(s)) for s in shapes),
                        "extents that are equal or 1",
                        "unsqueeze(), or a transposed operand",
                    )
                )
    return tuple(out)


def cast(x: Operand, dtype: DType) -> Value:
    """A value in a dtype (no node when it has it); a number becomes a 0-d constant.

    The result promotes as a tensor does, also where `x` is a run-time number.
    """
    if not isinstance(x, Value):
        return constant(x, dtype)
    return x if x.dtype is dtype and not x.weak else bind(cast_p, x, dtype=dtype)


def constant(x: Any, dtype: DType, shape: tuple[int, ...] = ()) -> Value:
    """A graph constant; the number is converted to the dtype's kind."""
    value: bool | int | float = x
    if dtype.kind == "f":
        value = real(x)
    elif dtype.kind == "b":
        value = bool(x)
    else:
        value = size(x)
        low, high = (0, 2**dtype.bits) if dtype.kind == "u" else (-(2 ** (dtype.bits - 1)), 2 ** (dtype.bits - 1))
        if not low <= value < high:
            value = (value - low) % 2**dtype.bits + low
    return bind(full_p, value=value, shape=tuple(shape), dtype=dtype)


def together(op: str, *operands: Operand, dtype: DType | None = None) -> list[Value]:
    """Operands cast to their common dtype (or the given one) and broadcast to one shape."""
    target = dtype or result_type(*operands)
    shape = broadcast_shapes(*(getattr(x, "shape", ()) for x in operands), op=op)
    out = []
    for x in operands:
        if isinstance(x, Value):
            out.append(expand_to(cast(x, target), shape))
        else:
            out.append(constant(x, target, shape))
    return out


def working_dtype(dtype: DType, *operands: Any) -> DType:
    """What a product or quotient that ends in `dtype` is computed in: a Python number that scales
    a 16-bit tensor is not rounded to 16 bits first. (One that is added is, as in PyTorch.)"""
    if dtype.kind == "f" and dtype.bits == 16:
        for x in operands:
            if not isinstance(x, Value) or getattr(x, "weak", False):
                return dtypes.float32
    return dtype


def to_float(dtype: DType) -> DType:
    """The dtype itself if floating, else the default floating dtype."""
    return dtype if dtype.kind == "f" else dtypes.get_default_dtype()
