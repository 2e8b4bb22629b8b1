"""Distinct elements: sorted, with where each one went and how often it occurs.

Elements (or slices of a dimension) are brought into order by stable sorts, the borders between runs
of equal ones are found, and their number is read to Python.
"""

from __future__ import annotations

import math
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused
from fanal.core.errors import message
from fanal.graph.ir import Value
from fanal.ops.cumulative import cumsum_p
from fanal.ops.gathering import index_select
from fanal.ops.index import gather_p, scatter_p
from fanal.ops.layout import move_axis, pad_p, slice_dim
from fanal.ops.ordering import argsort
from fanal.ops.pointwise import ne, where
from fanal.ops.primitive import normalize_dim
from fanal.ops.promotion import cast, constant
from fanal.ops.reduce import reduce_any_p
from fanal.ops.searching import counted
from fanal.ops.shape import reshape, reshaped
from fanal.tensor import creation
from fanal.tensor.tensor import Tensor


@fused
def _runs(rows: Any) -> Any:
    """Of (n, m) rows: the number of the run that each belongs to, and the number of runs."""
    n = rows.shape[0]
    differ = ne(slice_dim(rows, 0, 1, n), slice_dim(rows, 0, 0, n - 1))
    border = bind(reduce_any_p, differ, dims=(1,))
    first = bind(pad_p, border, low=(1,), high=(0,), interior=(0,), value=False)
    run = bind(cumsum_p, cast(first, dtypes.int64), dim=0)
    return run, reshaped(slice_dim(run, 0, n - 1, n), ()) + 1


@fused
def _starts(run: Any, count: int) -> Any:
    """Where each run begins."""
    n = run.shape[0]
    before = bind(pad_p, slice_dim(run, 0, 0, n - 1), low=(1,), high=(0,), interior=(0,), value=-1)
    place = where(ne(run, before), run, count)
    index = bind(cumsum_p, constant(1, dtypes.int64, (n,)), dim=0) - 1
    empty = constant(0, dtypes.int64, (count + 1,))
    return slice_dim(bind(scatter_p, empty, index, place, dims=(0,), mode="set"), 0, 0, count)


@fused
def _as_rows(input: Any, dim: int | None) -> Any:
    if dim is None:
        return reshaped(input, (math.prod(input.shape), 1))
    x: Value = move_axis(input, dim, 0)
    return reshaped(x, (x.shape[0], math.prod(x.shape[1:])))


@fused
def _placed(values: Any, places: Any) -> Any:
    """values[i] at place places[i]."""
    return bind(scatter_p, constant(0, values.dtype, values.shape), values, places, dims=(0,), mode="set")


@fused
def _rows_at(rows: Any, order: Any) -> Any:
    return bind(gather_p, rows, order, dims=(0,))


def _lexicographic(rows: Tensor) -> Tensor:
    """The order of rows as words: stable sorts by each column, the last first."""
    order = argsort(rows[:, -1])
    for column in range(rows.shape[1] - 2, -1, -1):
        order = order[argsort(rows[:, column][order])]
    return order


def _distinct(
    input: Tensor, ordered: bool, return_inverse: bool, return_counts: bool, dim: int | None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    x = input.detach()
    d = None if dim is None else normalize_dim("unique", dim, x.ndim)
    if x.ndim == 0:
        x, d = reshape(x, (1,)), None
    if d is not None and 0 in (*x.shape[:d], *x.shape[d + 1 :]):
        raise RuntimeError(
            message("unique", "slices without elements can't be told apart", tuple(x.shape))
        )
    rows = _as_rows(x, d)
    n = rows.shape[0]
    shape = tuple(input.shape) if d is None else (n,)
    if rows._layout.numel == 0:
        none = creation.empty(shape, dtype=dtypes.int64)
        kept = reshape(x, (-1,)) if d is None else x
        return kept.clone(), none, creation.empty(0, dtype=dtypes.int64)
    order = _lexicographic(rows) if ordered else None
    run, total = _runs(rows if order is None else _rows_at(rows, order))
    count = int(total.item())
    starts = _starts(run, count)
    first = starts if order is None else order[starts]
    flat = reshape(x, (-1,)) if d is None else x
    values = index_select(flat, 0 if d is None else d, first)
    inverse = None
    if return_inverse:
        inverse = reshape(run if order is None else _placed(run, order), shape)
    counts = counted(run, None, count) if return_counts else None
    return values, inverse, counts


def _result(parts: tuple[Any, ...], return_inverse: bool, return_counts: bool) -> Any:
    wanted = [p for p, w in zip(parts, (True, return_inverse, return_counts), strict=True) if w]
    return wanted[0] if len(wanted) == 1 else tuple(wanted)


def unique(
    input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False,
    dim: int | None = None,
) -> Any:  # fmt: skip
    """The distinct elements in ascending order (or distinct slices of a dimension).

    return_inverse: also where each element is found in the result; return_counts: how often each
    occurs. NaN is distinct from every NaN.
    """
    parts = _distinct(input, True, return_inverse, return_counts, dim)
    return _result(parts, return_inverse, return_counts)


def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """Elements (or slices of a dimension) without those that equal their predecessor."""
    parts = _distinct(input, False, return_inverse, return_counts, dim)
    return _result(parts, return_inverse, return_counts)
