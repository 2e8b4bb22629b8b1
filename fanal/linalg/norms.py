"""Norms of vectors and matrices, and condition numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fanal.core.dispatch import bind, fused
from fanal.core.dtypes import DType
from fanal.core.errors import message
from fanal.graph.ir import Value
from fanal.ops.composite import composite
from fanal.ops.distances import vector_norm as norm_over
from fanal.ops.host import check_matrices, check_square
from fanal.ops.matrix.parts import identity
from fanal.ops.matrix.solve import solve_p
from fanal.ops.matrix.svd import svdvals_p
from fanal.ops.pointwise import abs as absolute
from fanal.ops.pointwise import ne, where
from fanal.ops.primitive import normalize_dim
from fanal.ops.promotion import cast
from fanal.ops.reduce import ones_shape
from fanal.ops.reductions import amax, amin, dims_of
from fanal.ops.reductions import sum as sum_
from fanal.ops.shape import permuted, reshaped

Order = float | str | None
Dims = int | Sequence[int] | None


def _floating(op: str, x: Value, dtype: DType | None) -> Value:
    if dtype is not None and dtype.kind != "f":
        raise RuntimeError(message(op, "dtype is not floating", repr(dtype), "a floating dtype"))
    if x.dtype.kind != "f":
        raise RuntimeError(
            message(op, "not a floating tensor", repr(x.dtype), "a floating dtype", ".float()")
        )
    return x if dtype is None else cast(x, dtype)


def _vector(op: str, x: Value, order: Any, dim: Dims, keepdim: bool) -> Value:
    if isinstance(order, bool) or not isinstance(order, int | float):
        raise RuntimeError(message(op, "not an order of a vector norm", repr(order), "a number"))
    dims = dims_of(op, dim, x.ndim)
    if any(x.shape[d] == 0 for d in dims) and (order < 0 or order == math.inf):
        raise RuntimeError(
            message(op, f"the norm of order {order} of no elements is not defined", tuple(x.shape))
        )
    if not dims:  # a number: a vector of one element
        return reshaped(norm_over(reshaped(x, (1,)), float(order), (0,)), ())
    return norm_over(x, float(order), dims, keepdim)


@composite
def vector_norm(
    x: Any, ord: float = 2, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Any:
    """(Σ |x|^ord)^(1/ord) over dimensions, all by default; ord=0 counts, ±inf are extremes."""
    op = "linalg.vector_norm"
    return _vector(op, _floating(op, x, dtype), ord, dim, keepdim)


def _matrix(op: str, x: Value, order: Any, dim: Sequence[int], keepdim: bool) -> Value:
    if x.ndim < 2:
        raise RuntimeError(message(op, "not a matrix", tuple(x.shape), "at least 2 dimensions"))
    if isinstance(dim, int) or len(dim) != 2:
        raise RuntimeError(message(op, "not two dimensions", dim, "a pair"))
    a, b = (normalize_dim(op, d, x.ndim) for d in dim)
    if a == b:
        raise RuntimeError(message(op, "the two dimensions are the same", tuple(dim)))
    shape = ones_shape(x.shape, (a, b))
    x = permuted(x, [d for d in range(x.ndim) if d not in (a, b)] + [a, b])
    out = _last_two(op, x, order)
    return reshaped(out, shape) if keepdim else out


def _last_two(op: str, x: Value, order: Any) -> Value:
    if order == "fro":
        return norm_over(x, 2.0, (x.ndim - 2, x.ndim - 1))
    if order == "nuc":
        check_matrices(op, x)
        return sum_(bind(svdvals_p, x), -1)
    if isinstance(order, str) or order is None or abs(order) not in (1, 2, math.inf):
        raise RuntimeError(
            message(op, "not an order of a matrix norm", repr(order),
                    "'fro', 'nuc', inf, -inf, 1, -1, 2 or -2")
        )  # fmt: skip
    if abs(order) == 2:
        check_matrices(op, x)
        sizes = bind(svdvals_p, x)
    else:  # columns are summed for 1, rows for infinity
        sizes = sum_(absolute(x), -2 if abs(order) == 1 else -1)
    if sizes.shape[-1] == 0 and order > 0:
        return sum_(sizes, -1)
    if sizes.shape[-1] == 0:
        raise IndexError(
            message(op, f"the norm of order {order} of no elements is not defined", tuple(x.shape))
        )
    return (amax if order > 0 else amin)(sizes, -1)


@composite
def matrix_norm(
    A: Any, ord: Order = "fro", dim: Sequence[int] = (-2, -1), keepdim: bool = False, *,
    dtype: DType | None = None,
) -> Any:  # fmt: skip
    """A norm of matrices in two dimensions.

    ord: "fro" (root of the sum of squares), "nuc" (sum of singular values), 2 and -2 (largest and
    smallest singular value), 1 and -1 (extreme sum of a column), inf and -inf (of a row).
    """
    op = "linalg.matrix_norm"
    return _matrix(op, _floating(op, A, dtype), ord, dim, keepdim)


@composite
def norm(
    A: Any, ord: Order = None, dim: Dims = None, keepdim: bool = False, *,
    dtype: DType | None = None,
) -> Any:  # fmt: skip
    """A vector norm for one dimension, a matrix norm for two; without ord the root of all squares."""
    op = "linalg.norm"
    x = _floating(op, A, dtype)
    if dim is not None and not isinstance(dim, int) and len(dim) not in (1, 2):
        raise RuntimeError(message(op, "dim is not one or two dimensions", tuple(dim)))
    if ord is None:
        return _vector(op, x, 2, dim, keepdim)
    if dim is None and x.ndim not in (1, 2):
        raise RuntimeError(
            message(op, "with ord but no dim it takes vectors and matrices", tuple(x.shape),
                    "1 or 2 dimensions", "dim=…, or vector_norm()")
        )  # fmt: skip
    matrix = x.ndim == 2 if dim is None else not isinstance(dim, int) and len(dim) == 2
    if matrix:
        return _matrix(op, x, ord, (-2, -1) if dim is None else tuple(dim), keepdim)  # type: ignore[arg-type]
    return _vector(op, x, ord, dim, keepdim)


@composite
def legacy_norm(
    input: Any, p: Order = "fro", dim: Dims = None, keepdim: bool = False,
    dtype: DType | None = None,
) -> Any:  # fmt: skip
    """A norm over dimensions (all by default): `p` a number, "fro" (as 2) or "nuc" (of matrices)."""
    x = _floating("norm", input, dtype)
    if p == "nuc":
        if dim is None and x.ndim != 2:
            raise RuntimeError(message("norm", "not a matrix", x.shape, "2 dimensions", "dim=…"))
        pair = (-2, -1) if dim is None else dim
        return _matrix("norm", x, "nuc", pair, keepdim)  # type: ignore[arg-type]
    return _vector("norm", x, 2 if p in ("fro", None) else p, dim, keepdim)


@fused
def cond(A: Any, p: Order = None) -> Any:
    """Condition number |A|·|A⁻¹| in a matrix norm (2 by default): (…, n, n) → (…).

    Infinite for singular matrices. p=2 and -2 take matrices that are not square.
    """
    op = "linalg.cond"
    check_matrices(op, A)
    if p is None or p in (2, -2):
        s = bind(svdvals_p, A)
        if s.shape[-1] == 0:
            return sum_(s, -1)
        largest, least = amax(s, -1), amin(s, -1)
        return least / largest if p == -2 else largest / least
    check_square(op, A)
    inverse = bind(solve_p, A, identity(A.shape[-1], A.dtype, A.shape[:-2]), check="")
    if A.shape[-1] == 0:
        return sum_(A, (-2, -1))
    size, other = _last_two(op, A, p), _last_two(op, _zero_if_nan(inverse), p)
    broken = sum_(cast(ne(inverse, inverse), A.dtype), (-2, -1)) > 0
    unknown = where(ne(size, size), size, math.inf)
    return where(broken, unknown, size * other)


def _zero_if_nan(x: Value) -> Value:
    return where(ne(x, x), 0.0, x)
