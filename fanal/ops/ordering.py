"""Functions of sorted lines: sort, topk, the k-th smallest, medians, the most frequent element."""

from __future__ import annotations

from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused
from fanal.core.errors import message
from fanal.graph.ir import Value
from fanal.ops.create import iota_p
from fanal.ops.cumulative import cummax_p
from fanal.ops.index import take_along
from fanal.ops.layout import pad_p, slice_dim
from fanal.ops.pointwise import eq, maximum, ne, where
from fanal.ops.primitive import normalize_dim
from fanal.ops.promotion import cast, constant
from fanal.ops.reduce import argmax_p, ones_shape, reduce_sum_p
from fanal.ops.results import ValuesAndIndices
from fanal.ops.shape import flatten, reshaped
from fanal.ops.sort import sort_p


def sorted_line(x: Value, dim: int, descending: bool = False) -> ValuesAndIndices:
    """Sorted values and their indices along a dimension; a 0-d tensor is sorted."""
    if x.ndim == 0:
        return ValuesAndIndices(x, constant(0, dtypes.int64))
    return ValuesAndIndices(*bind(sort_p, x, dim=dim, descending=descending))


def _not_empty(name: str, n: int) -> None:
    if n == 0:
        raise IndexError(message(name, "no value for a dimension without elements", hint="a dim"))


@fused
def sort(input: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """Sorted values along a dimension and the indices that they came from.

    Always stable: equal elements keep their order. NaN counts as the largest.
    """
    return sorted_line(input, normalize_dim("sort", dim, input.ndim), descending)


@fused
def argsort(input: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """Indices that sort a dimension; see `sort`."""
    return sorted_line(input, normalize_dim("argsort", dim, input.ndim), descending).indices


@fused
def msort(input: Any) -> Any:
    """Sorted along the first dimension."""
    return sorted_line(input, 0).values


@fused
def topk(input: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """The k largest (or smallest) elements along a dimension, best first, and their indices."""
    d = normalize_dim("topk", dim, input.ndim)
    n = input.shape[d] if input.ndim else 1
    if not 0 <= k <= n:
        raise RuntimeError(message("topk", "k is out of range", k, f"a number from 0 to {n}"))
    if 0 < k < n:
        return ValuesAndIndices(*bind(sort_p, input, dim=d, descending=largest, count=k))
    found = sorted_line(input, d, largest)
    if input.ndim == 0:
        return found
    return ValuesAndIndices(*(slice_dim(v, d, 0, k) for v in found))


def _picked(x: Value, position: Value, dim: int, keepdim: bool) -> ValuesAndIndices:
    """Elements of the sorted line at positions (extent 1 in `dim`), with the original indices."""
    index = take_along(sorted_line(x, dim).indices, position, dim)
    # The value is read from the input, so that its gradient goes straight there.
    return _finished(take_along(x, index, dim), index, dim, keepdim)


def _finished(values: Value, index: Value, dim: int, keepdim: bool) -> ValuesAndIndices:
    if keepdim:
        return ValuesAndIndices(values, index)
    shape = (*values.shape[:dim], *values.shape[dim + 1 :])
    return ValuesAndIndices(reshaped(values, shape), reshaped(index, shape))


@fused
def kthvalue(input: Any, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The k-th smallest element along a dimension (from 1 on) and its index."""
    d = normalize_dim("kthvalue", dim, input.ndim)
    n = input.shape[d] if input.ndim else 1
    _not_empty("kthvalue", n)
    if not 1 <= k <= n:
        raise RuntimeError(message("kthvalue", "k is out of range", k, f"a number from 1 to {n}"))
    if input.ndim == 0:
        return sorted_line(input, 0)
    position = constant(k - 1, dtypes.int64, ones_shape(input.shape, (d,)))
    return _picked(input, position, d, keepdim)


def _nan_count(x: Value, dim: int) -> Value:
    """How many elements of each line are NaN (extent 1 in `dim`)."""
    shape = ones_shape(x.shape, (dim,))
    if x.dtype.kind != "f":
        return constant(0, dtypes.int64, shape)
    flags = cast(ne(x, x), dtypes.int64)
    return reshaped(bind(reduce_sum_p, flags, dims=(dim,)), shape)


@fused
def _median(input: Any, dim: int, keepdim: bool) -> Any:
    d = normalize_dim("median", dim, input.ndim)
    if input.ndim == 0:
        return sorted_line(input, 0)
    n = input.shape[d]
    _not_empty("median", n)
    missing = _nan_count(input, d)
    # Any NaN is the answer: the first of them in the sorted line.
    return _picked(input, where(eq(missing, 0), (n - 1) // 2, n - missing), d, keepdim)


@fused
def _nanmedian(input: Any, dim: int, keepdim: bool) -> Any:
    d = normalize_dim("nanmedian", dim, input.ndim)
    if input.ndim == 0:
        return sorted_line(input, 0)
    n = input.shape[d]
    _not_empty("nanmedian", n)
    left = n - _nan_count(input, d)
    return _picked(input, maximum(left - 1, 0) // 2, d, keepdim)


def _of_all(function: Any, input: Any) -> Any:
    """The value for the flattened tensor; NaN (of integers 0) of a tensor without elements."""
    if 0 in input.shape:
        return _no_median(input)
    return function(flatten(input), 0, False).values


@fused
def _no_median(input: Any) -> Any:
    return constant(float("nan") if input.dtype.kind == "f" else 0, input.dtype)


def median(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle element in order (the lower of two), of all or along a dimension with its index.

    NaN if any is NaN.
    """
    return _of_all(_median, input) if dim is None else _median(input, dim, keepdim)


def nanmedian(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The median of the elements that are not NaN."""
    return _of_all(_nanmedian, input) if dim is None else _nanmedian(input, dim, keepdim)


@fused
def mode(input: Any, dim: int = -1, keepdim: bool = False) -> Any:
    """The most frequent element along a dimension (the smallest of several), and its last index."""
    d = normalize_dim("mode", dim, input.ndim)
    if input.ndim == 0:
        return sorted_line(input, 0)
    n = input.shape[d]
    _not_empty("mode", n)
    values, order = sorted_line(input, d)
    low = tuple(int(i == d) for i in range(input.ndim))
    zero = (0,) * input.ndim
    changes = ne(slice_dim(values, d, 1, n), slice_dim(values, d, 0, n - 1))
    starts = bind(pad_p, changes, low=low, high=zero, interior=zero, value=True)
    place = bind(iota_p, shape=input.shape, dim=d, dtype=dtypes.int64)
    # The length of each run so far; the first longest one ends at the last of its elements.
    start = bind(cummax_p, where(starts, place, 0), dim=d)[0]
    best = reshaped(bind(argmax_p, place - start, dim=d), ones_shape(input.shape, (d,)))
    index = take_along(order, best, d)
    return _finished(take_along(input, index, d), index, d, keepdim)
