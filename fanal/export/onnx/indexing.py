"""Reading and writing at computed places: Gather, GatherElements, GatherND, ScatterND."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.core import dtypes
from fanal.export.onnx.layout import transposed
from fanal.export.onnx.records import Ref
from fanal.export.onnx.registry import Unsayable, rule
from fanal.export.onnx.writer import Writer
from fanal.graph.ir import Value


@rule("gather")
def _gather(w: Writer, node: Any, x: Ref, *indices: Ref) -> Ref:
    dims, shape = node.attributes["dims"], node.outputs[0].shape
    along = _one_to_one(node.inputs[0], node.inputs[1:], dims)
    if along is not None:
        index = w.whole(w.cast(indices[dims.index(along)], dtypes.int64))
        return w.op("GatherElements", [w.whole(x), index], x.dtype, shape, axis=along)
    front = transposed(w, w.whole(x), _order(x.ndim, dims))
    if len(indices) == 1:
        index = w.whole(w.cast(indices[0], dtypes.int64))
        return w.op("Gather", [front, index], x.dtype, shape, axis=0)
    return w.op("GatherND", [front, _places(w, indices)], x.dtype, shape)


def _order(ndim: int, dims: Sequence[int]) -> list[int]:
    return [*dims, *(d for d in range(ndim) if d not in dims)]


def _places(w: Writer, indices: Sequence[Ref]) -> Ref:
    """Indices of several dimensions side by side, as the last dimension of one tensor."""
    shape = indices[0].shape
    columns = [w.reshape(w.whole(w.cast(i, dtypes.int64)), (*shape, 1)) for i in indices]
    if len(columns) == 1:
        return columns[0]
    return w.op("Concat", columns, dtypes.int64, (*shape, len(columns)), axis=len(shape))


def _one_to_one(x: Value, indices: Sequence[Value], dims: Sequence[int]) -> int | None:
    """The only dimension that is read at computed places, where all others are matched one to one."""
    if tuple(dims) != tuple(range(x.ndim)) or indices[0].ndim != x.ndim:
        return None
    along = []
    for d, index in zip(dims, indices, strict=True):
        node = index.node
        ranged = node is not None and node.primitive.name == "iota" and node.attributes["dim"] == d
        if not ranged:
            along.append(d)
    return along[0] if len(along) == 1 else None


@rule("scatter")
def _scatter(w: Writer, node: Any, x: Ref, updates: Ref, *indices: Ref) -> Ref:
    dims, mode = node.attributes["dims"], node.attributes["mode"]
    order = _order(x.ndim, dims)
    dtype = x.dtype
    wide = _accumulated(mode, dtype)
    front = w.cast(transposed(w, w.whole(x), order), wide)
    new = w.cast(w.whole(updates), wide)
    at = {} if mode == "set" else {"reduction": mode}
    y = w.op("ScatterND", [front, _places(w, indices), new], wide, front.shape, **at)
    back = sorted(range(x.ndim), key=order.__getitem__)
    return transposed(w, w.cast(y, dtype), back)


def _accumulated(mode: str, dtype: Any) -> Any:
    """The dtype that updates are brought together in."""
    if mode == "set":
        return dtype
    if dtype is dtypes.bool_:
        raise Unsayable("ONNX's ScatterND does not add, multiply or compare bools")
    return dtypes.float32 if dtype.kind == "f" and dtype.bits == 16 else dtype
