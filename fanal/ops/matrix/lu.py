"""LU with partial pivoting: P A = L U, packed, with LAPACK's pivots and info.

SciPy's LAPACK factors if it is there. NumPy has no routine that gives the factors, so otherwise it is
the right-looking blocked algorithm (Golub and Van Loan, 3.2.11) on top of its matrix product. The
largest magnitude is the pivot, the first of equal ones; whole batches go through together.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.core.errors import message
from fanal.graph.ir import Type, Value
from fanal.ops.create import iota_p
from fanal.ops.host import host_primitive, singular
from fanal.ops.index import take_along
from fanal.ops.layout import concat_p, expand_to, reshape_p, slice_dim, zeros_like_type
from fanal.ops.matrix import lapack
from fanal.ops.matrix.parts import columns, identity, lower, product, rows, upper
from fanal.ops.matrix.triangular import right_solve_upper, solve_lower, substitute
from fanal.ops.pointwise import eq, where
from fanal.ops.promotion import cast

BLOCK = 32


def factor(a: Any, *, pivot: bool, check: str) -> Any:
    """(packed factors, pivots from 1, info) of arrays (…, m, n); info is 0 or the first zero pivot.

    Raises LinAlgError for a zero pivot where `check` names the operation that needs it.
    """
    found = lapack.routines()
    if pivot and found is not None and a.size:
        out = lapack.factor(found.getrf, a)
    else:
        out = eliminate(a, pivot)
    info = out[2]
    if check and info.any():
        index = tuple(int(i) for i in np.argwhere(info)[0])
        raise singular(check, a, index, int(info[index]))
    return out


def eliminate(a: Any, pivot: bool) -> tuple[Any, Any, Any]:
    """`factor` without its check, by NumPy's matrix product."""
    shape = a.shape
    m, n = shape[-2:]
    work = np.array(a, np.float64, order="C").reshape(math.prod(shape[:-2]), m, n)
    k = min(m, n)
    pivots = np.tile(np.arange(1, k + 1, dtype=np.int32), (len(work), 1))
    info = np.zeros(len(work), np.int32)
    with np.errstate(all="ignore"):
        for start in range(0, k, BLOCK):
            stop = min(start + BLOCK, k)
            _panel(work, pivots, info, start, stop, pivot)
            if stop < n:
                block = work[:, start:stop, start:stop]
                right = substitute(block, work[:, start:stop, stop:], upper=False, unit=True)
                work[:, start:stop, stop:] = right
                work[:, stop:, stop:] -= np.matmul(work[:, stop:, start:stop], right)
    return work.reshape(shape), pivots.reshape(*shape[:-2], k), info.reshape(shape[:-2])


def _panel(work: Any, pivots: Any, info: Any, start: int, stop: int, pivot: bool) -> None:
    """Eliminate columns start..stop (Crout: a column, then a row), then exchange whole rows."""
    panel = np.swapaxes(work[:, :, start:stop], 1, 2).copy()  # columns are contiguous
    order = np.tile(np.arange(work.shape[1]), (len(work), 1))
    for j in range(start, stop):
        c = j - start
        column = panel[:, c, j:]
        column -= np.matmul(panel[:, c, None, start:j], panel[:, :c, j:])[:, 0]
        if pivot:
            chosen = j + np.abs(column).argmax(1)
            pivots[:, j] = chosen + 1
            _exchange(panel.swapaxes(1, 2), j, chosen)
            _exchange(order, j, chosen)
        head = column[:, 0]
        zero = head == 0
        if zero.any():
            info[:] = np.where((info == 0) & zero, j + 1, info)
            head = np.where(zero, 1.0, head)
        column[:, 1:] /= head[:, None]
        row = np.matmul(panel[:, c + 1 :, start:j], panel[:, :c, j, None])
        panel[:, c + 1 :, j] -= row[:, :, 0]
    if pivot:
        work[:] = work[np.arange(len(work))[:, None], order]
    work[:, :, start:stop] = np.swapaxes(panel, 1, 2)


def _exchange(x: Any, row: int, other: Any) -> None:
    """Exchange a row of each matrix (or element of each vector) with another."""
    if len(x) == 1:  # much cheaper than indexing by arrays
        one, to = x[0], int(other[0])
        if to != row:
            kept = one[row].copy()
            one[row] = one[to]
            one[to] = kept
        return
    members = np.arange(len(x))
    kept = x[:, row].copy()
    x[:, row] = x[members, other]
    x[members, other] = kept


def _infer(a: Value, *, pivot: bool, check: str) -> list[Type]:
    batch, k = a.shape[:-2], min(a.shape[-2:])
    return [a.type, Type(dtypes.int32, (*batch, k)), Type(dtypes.int32, batch)]


def _jvp(t: Any, inputs: Any, outputs: Any, *, pivot: bool, check: str) -> Any:
    # With F = L⁻¹ P dA U⁻¹ for the leading square: dL = L·lower(F), dU = upper(F)·U; the rest of L
    # and of U follows from P dA = dL U + L dU.
    factors, pivots, _ = outputs
    m, n = factors.shape[-2:]
    k = min(m, n)
    moved = permuted_rows(t[0], order_of_rows(pivots, m))
    l, u = unit_lower(rows(columns(factors, 0, k), 0, k)), upper(rows(columns(factors, 0, k), 0, k))
    square = rows(columns(moved, 0, k), 0, k)
    f = right_solve_upper(u, solve_lower(l, square, True))
    dl, du = product(l, lower(f, -1)), product(upper(f), u)
    out = dl + du
    if m > k:
        below = rows(factors, k, m)
        rest = right_solve_upper(u, rows(moved, k, m) - product(below, du))
        return bind(concat_p, out, rest, dim=out.ndim - 2), None, None
    if n > k:
        beside = columns(factors, k, n)
        rest = solve_lower(l, columns(moved, k, n) - product(dl, beside), True)
        return bind(concat_p, out, rest, dim=out.ndim - 1), None, None
    return out, None, None


lu_p = host_primitive(
    "lu", factor, _infer, multiple=True, jvp=_jvp,
    doc="P A = L U: both factors in one matrix, the row exchanges from 1, the first zero pivot.",
)  # fmt: skip


def order_of_rows(pivots: Value, n: int) -> Value:
    """The order of n rows that row exchanges (numbered from 1) lead to: row i of P A is A[order[i]].

    Each exchange is a permutation; neighbours are composed in pairs until one is left.
    """
    if pivots.dtype is not dtypes.int32:
        raise RuntimeError(message("lu_solve", "pivots are not int32", repr(pivots.dtype)))
    *batch, k = pivots.shape
    shape = (*batch, max(k, 1), n)
    place = bind(iota_p, shape=shape, dim=len(batch) + 1, dtype=dtypes.int64)
    if k == 0:
        return _flattened(place, n)
    this = bind(iota_p, shape=shape, dim=len(batch), dtype=dtypes.int64)
    other = bind(reshape_p, cast(pivots, dtypes.int64) - 1, shape=(*batch, k, 1))
    other = expand_to(other, shape)
    orders = where(eq(place, this), other, where(eq(place, other), this, place))
    while k > 1:
        even = slice_dim(orders, orders.ndim - 2, 0, k - 1, 2)
        odd = slice_dim(orders, orders.ndim - 2, 1, k, 2)
        pairs = take_along(even, odd, orders.ndim - 1)
        last = slice_dim(orders, orders.ndim - 2, k - k % 2, k)
        orders = bind(concat_p, pairs, last, dim=orders.ndim - 2) if k % 2 else pairs
        k = (k + 1) // 2
    return _flattened(orders, n)


def _flattened(orders: Value, n: int) -> Value:
    out: Value = bind(reshape_p, orders, shape=(*orders.shape[:-2], n))
    return out


def permuted_rows(x: Value, order: Value) -> Value:
    """Rows of each matrix in another order: x[order]."""
    index = bind(reshape_p, order, shape=(*order.shape, 1))
    index = expand_to(index, (*order.shape, x.shape[-1]))
    return take_along(expand_to(x, (*order.shape, x.shape[-1])), index, x.ndim - 2)


def unit_lower(packed: Value) -> Value:
    """L of packed factors: the strict lower triangle, ones on the diagonal, (…, m, min(m, n))."""
    m, n = packed.shape[-2:]
    k = min(m, n)
    below = lower(columns(packed, 0, k), -1)
    ones = identity(k, packed.dtype)
    if m > k:
        ones = bind(concat_p, ones, zeros_like_type(ones, (m - k, k)), dim=0)
    return below + expand_to(ones, below.shape)
