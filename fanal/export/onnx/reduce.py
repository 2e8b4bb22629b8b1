"""Reductions, indices of extremes, running sums."""

from __future__ import annotations

import math
from typing import Any

from fanal.core import dtypes
from fanal.core.dtypes import DType
from fanal.export.onnx.elementwise import isnan, where
from fanal.export.onnx.records import Ref
from fanal.export.onnx.registry import rule
from fanal.export.onnx.writer import Writer, is_number

Dims = tuple[int, ...]


def _kept(x: Ref, dims: Dims) -> tuple[Any, ...]:
    return tuple(n for d, n in enumerate(x.shape) if d not in dims)


def reduced(w: Writer, op: str, x: Ref, dims: Dims, wraps: bool = False) -> Ref:
    """One of ONNX's reductions, through a dtype that it takes."""
    dtype = w.dtype_for(op, x.dtype, wraps)
    y = w.op(op, [w.cast(w.whole(x), dtype), w.ints(dims)], dtype, _kept(x, dims), keepdims=0)
    return w.cast(y, x.dtype)


@rule("reduce_sum")
def _sum(w: Writer, node: Any, x: Ref) -> Ref:
    dims = node.attributes["dims"]
    return reduced(w, "ReduceSum", x, dims, True) if dims else x


@rule("reduce_max", "reduce_min")
def _extreme(w: Writer, node: Any, x: Ref) -> Ref:
    dims, larger = node.attributes["dims"], node.primitive.name == "reduce_max"
    return extreme(w, x, dims, larger) if dims else x


def extreme(w: Writer, x: Ref, dims: Dims, larger: bool) -> Ref:
    """The largest or smallest element. NaN, which runtimes overlook, is put back where there was one."""
    op = "ReduceMax" if larger else "ReduceMin"
    if x.dtype is dtypes.bool_:
        return w.cast(reduced(w, op, w.cast(x, dtypes.int32), dims), dtypes.bool_)
    if x.dtype is dtypes.uint64:
        return unordered(w, reduced(w, op, ordered(w, x), dims))
    y = reduced(w, op, x, dims)
    if x.dtype.kind != "f":
        return y
    bad = reduced(w, "ReduceMax", w.cast(isnan(w, x), dtypes.int32), dims)
    return where(w, w.cast(bad, dtypes.bool_), w.number(math.nan, x.dtype, y.shape), y)


def ordered(w: Writer, x: Ref) -> Ref:
    """uint64 as int64 of the same order: the highest bit inverted."""
    return w.map("Add", w.cast(x, dtypes.int64), w.number(-(2**63), dtypes.int64, x.shape))


def unordered(w: Writer, x: Ref) -> Ref:
    """What `ordered` made, back."""
    return w.cast(w.map("Add", x, w.number(-(2**63), dtypes.int64, x.shape)), dtypes.uint64)


@rule("reduce_any", "reduce_all")
def _truth(w: Writer, node: Any, x: Ref) -> Ref:
    dims, some = node.attributes["dims"], node.primitive.name == "reduce_any"
    if not dims:
        return x
    whole = w.cast(x, dtypes.int32)
    if any(is_number(x.shape[d], 0) for d in dims):  # of none: false, true
        return w.cast(w.number(int(not some), dtypes.int32, _kept(x, dims)), dtypes.bool_)
    return w.cast(reduced(w, "ReduceMax" if some else "ReduceMin", whole, dims), dtypes.bool_)


@rule("argmax", "argmin")
def _argument(w: Writer, node: Any, x: Ref) -> Ref:
    """The first extreme element; the first NaN where there is one, which ONNX leaves open."""
    dim = node.attributes["dim"]
    op = "ArgMax" if node.primitive.name == "argmax" else "ArgMin"
    found = _index(w, op, comparable(w, x), dim)
    if x.dtype.kind != "f":
        return found
    bad = w.cast(isnan(w, x), dtypes.int32)
    some = w.cast(reduced(w, "ReduceMax", bad, (dim,)), dtypes.bool_)
    return where(w, some, _index(w, "ArgMax", bad, dim), found)


def comparable(w: Writer, x: Ref) -> Ref:
    """A tensor of the same order, of a dtype that runtimes sort and search in."""
    if x.dtype is dtypes.uint64:
        return ordered(w, x)
    if x.dtype is dtypes.bool_:
        return w.cast(x, dtypes.int32)
    return w.cast(x, w.dtype_for("ArgMax", x.dtype))


def _index(w: Writer, op: str, x: Ref, dim: int) -> Ref:
    return w.op(op, [w.whole(x)], dtypes.int64, _kept(x, (dim,)), axis=dim, keepdims=0)


@rule("cumsum")
def _cumsum(w: Writer, node: Any, x: Ref) -> Ref:
    dtype: DType = w.dtype_for("CumSum", x.dtype, True)
    axis = w.constant([node.attributes["dim"]], dtypes.int64, ()).name
    return w.cast(w.op("CumSum", [w.cast(w.whole(x), dtype), axis], dtype, x.shape), x.dtype)


@rule("sort")
def _sort(w: Writer, node: Any, x: Ref) -> tuple[Ref, Ref]:
    """TopK, which keeps the order of equal elements. For floating numbers an infinity stands for NaN,
    and the values are read at the indices that are found."""
    at = node.attributes
    dim, shape = at["dim"], node.outputs[0].shape
    key = w.whole(comparable(w, x))
    nan = x.dtype.kind == "f"
    if nan:
        key = where(w, isnan(w, key), w.number(math.inf, key.dtype, key.shape), key)
    names = w.nodes(
        "TopK", [key, w.size(shape[dim])], 2, axis=dim, largest=int(at["descending"]), sorted=1
    )
    indices = Ref(names[1], dtypes.int64, tuple(shape), tuple(shape))
    values = w.op("GatherElements", [w.whole(x), indices], x.dtype, shape, axis=dim)
    return values, indices


@rule("det")
def _det(w: Writer, node: Any, x: Ref) -> Ref:
    return w.op("Det", [w.whole(x)], x.dtype, node.outputs[0].shape)
