"""Small functions of matrices in the last two dimensions, for rules and composites."""

from __future__ import annotations

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.core.dtypes import DType
from fanal.graph.ir import Value
from fanal.ops.create import iota_p
from fanal.ops.layout import expand_to, permute_p, reshape_p, slice_dim
from fanal.ops.linear import matmul
from fanal.ops.pointwise import eq, where
from fanal.ops.promotion import cast, constant
from fanal.ops.reduce import reduce_sum_p

Shape = tuple[int, ...]


def transposed(x: Value) -> Value:
    """The last two dimensions exchanged."""
    n = x.ndim
    return bind(permute_p, x, dims=(*range(n - 2), n - 1, n - 2))


def product(a: Value, b: Value, *more: Value) -> Value:
    """Matrix products from left to right."""
    out = matmul(a, b)
    return product(out, *more) if more else out


def _difference(shape: Shape) -> Value:
    """Column less row of each element."""
    row = bind(iota_p, shape=shape, dim=len(shape) - 2, dtype=dtypes.int64)
    return bind(iota_p, shape=shape, dim=len(shape) - 1, dtype=dtypes.int64) - row


def lower(x: Value, diagonal: int = 0) -> Value:
    """Elements up to the given diagonal, zeros above it."""
    return where(_difference(x.shape) <= diagonal, x, _zero(x))


def upper(x: Value, diagonal: int = 0) -> Value:
    """Elements from the given diagonal on, zeros below it."""
    return where(_difference(x.shape) >= diagonal, x, _zero(x))


def _zero(x: Value) -> Value:
    return constant(0, x.dtype)


def symmetric_part(x: Value) -> Value:
    """(x + xᵀ) / 2."""
    return (x + transposed(x)) * 0.5


def identity(n: int, dtype: DType, batch: Shape = ()) -> Value:
    """Unit matrices of size n."""
    return expand_to(cast(eq(_difference((n, n)), 0), dtype), (*batch, n, n))


def diagonal(x: Value, offset: int = 0) -> Value:
    """A diagonal of each matrix, as the last dimension: every (columns + 1)-th element."""
    m, n = x.shape[-2:]
    count = max(0, min(m, n - offset) if offset >= 0 else min(m + offset, n))
    flat = bind(reshape_p, x, shape=(*x.shape[:-2], m * n))
    if count == 0:
        return slice_dim(flat, x.ndim - 2, 0, 0)
    start = offset if offset >= 0 else -offset * n
    return slice_dim(flat, x.ndim - 2, start, start + (count - 1) * (n + 1) + 1, n + 1)


def on_diagonal(d: Value) -> Value:
    """Matrices with the vectors `d` on their diagonals."""
    shape = (*d.shape, d.shape[-1])
    wide = expand_to(bind(reshape_p, d, shape=(*d.shape, 1)), shape)
    return where(eq(_difference(shape), 0), wide, _zero(d))


def rows_scaled(d: Value, x: Value) -> Value:
    """diag(d) · x."""
    return bind(reshape_p, d, shape=(*d.shape, 1)) * x


def columns_scaled(x: Value, d: Value) -> Value:
    """x · diag(d)."""
    return x * bind(reshape_p, d, shape=(*d.shape[:-1], 1, d.shape[-1]))


def trace(x: Value) -> Value:
    """Sum of the diagonal of each matrix."""
    return bind(reduce_sum_p, diagonal(x), dims=(x.ndim - 2,))


def inner(x: Value, y: Value) -> Value:
    """Sum of the products of all elements of two matrices."""
    return bind(reduce_sum_p, x * y, dims=(x.ndim - 2, x.ndim - 1))


def over_matrix(d: Value, x: Value) -> Value:
    """One number a matrix, repeated over its elements."""
    return expand_to(bind(reshape_p, d, shape=(*d.shape, 1, 1)), x.shape)


def rows(x: Value, start: int, stop: int) -> Value:
    """Rows start..stop of each matrix."""
    return slice_dim(x, x.ndim - 2, start, stop)


def columns(x: Value, start: int, stop: int) -> Value:
    """Columns start..stop of each matrix."""
    return slice_dim(x, x.ndim - 1, start, stop)
