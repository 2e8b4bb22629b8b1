"""LU with partial pivoting: P A = L U, packed, with LAPACK's pivots and info.

NumPy has no routine that gives the factors, so this is the right-looking blocked algorithm (Golub
and Van Loan, 3.2.11) on top of its matrix product. The largest magnitude is the pivot, the first of
equal ones; whole batches go through together, elementwise but for the products.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.core.errors import message
from fanal.graph.ir import Type, Value
from fanal.ops.host import host_primitive, singular
from fanal.ops.index import take_along
from fanal.ops.layout import concat_p, expand_to, reshape_p
from fanal.ops.matrix.parts import columns, identity, lower, product, rows, upper
from fanal.ops.matrix.triangular import right_solve_upper, solve_lower, substitute
from fanal.ops.primitive import Primitive

BLOCK = 32


def factor(a: Any, *, pivot: bool, check: str) -> Any:
    """(packed factors, pivots from 1, info) of arrays (…, m, n); info is 0 or the first zero pivot.

    Raises LinAlgError for a zero pivot where `check` names the operation that needs it.
    """
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
    info = info.reshape(shape[:-2])
    if check and info.any():
        index = tuple(int(i) for i in np.argwhere(info)[0])
        raise singular(check, a, index, int(info[index]))
    return work.reshape(shape), pivots.reshape(*shape[:-2], k), info


def _panel(work: Any, pivots: Any, info: Any, start: int, stop: int, pivot: bool) -> None:
    """Eliminate columns start..stop, exchanging whole rows."""
    members = np.arange(len(work))
    for j in range(start, stop):
        if pivot and work.size:
            magnitude = np.abs(work[:, j:, j])
            # A NaN is a pivot too, as in LAPACK's search, only if it comes first.
            chosen = j + np.where(np.isnan(magnitude), -1, magnitude).argmax(1)
            pivots[:, j] = chosen + 1
            kept = work[members, j].copy()
            work[members, j] = work[members, chosen]
            work[members, chosen] = kept
        head = work[:, j, j]
        info[:] = np.where((info == 0) & (head == 0), j + 1, info)
        work[:, j + 1 :, j] /= np.where(head == 0, 1.0, head)[:, None]
        work[:, j + 1 :, j + 1 : stop] -= (
            work[:, j + 1 :, j, None] * work[:, None, j, j + 1 : stop]
        )


def _infer(a: Value, *, pivot: bool, check: str) -> list[Type]:
    batch, k = a.shape[:-2], min(a.shape[-2:])
    return [a.type, Type(dtypes.int32, (*batch, k)), Type(dtypes.int32, batch)]


def _jvp(t: Any, inputs: Any, outputs: Any, *, pivot: bool, check: str) -> Any:
    # With F = L⁻¹ P dA U⁻¹ for the leading square: dL = L·lower(F), dU = upper(F)·U; the rest of L
    # and of U follows from P dA = dL U + L dU.
    factors, pivots, _ = outputs
    m, n = factors.shape[-2:]
    k = min(m, n)
    moved = permuted_rows(t[0], bind(permutation_p, pivots, n=m))
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


def _permutation(pivots: Any, *, n: int) -> Any:
    flat = pivots.reshape(math.prod(pivots.shape[:-1]), pivots.shape[-1])
    order = np.tile(np.arange(n, dtype=np.int64), (len(flat), 1))
    members = np.arange(len(flat))
    for j in range(flat.shape[-1]):
        other = np.clip(flat[:, j] - 1, 0, max(n - 1, 0))
        kept = order[:, j].copy()
        order[:, j] = order[members, other]
        order[members, other] = kept
    return order.reshape(*pivots.shape[:-1], n)


def _permutation_infer(pivots: Value, *, n: int) -> list[Type]:
    if pivots.dtype is not dtypes.int32:
        raise RuntimeError(message("lu_solve", "pivots are not int32", repr(pivots.dtype)))
    return [Type(dtypes.int64, (*pivots.shape[:-1], n))]


permutation_p: Primitive = host_primitive(
    "permutation_of_pivots", _permutation, _permutation_infer, dtypes=(dtypes.int32,),
    jvp=lambda t, inputs, outputs, *, n: None,
    doc="The order of rows that row exchanges (numbered from 1) lead to: row i of P A is A[order[i]].",
)  # fmt: skip


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
        from fanal.ops.layout import zeros_like_type

        ones = bind(concat_p, ones, zeros_like_type(ones, (m - k, k)), dim=0)
    return below + expand_to(ones, below.shape)
