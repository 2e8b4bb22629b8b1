"""Products, powers and determinants of matrices."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from fanal.core.dispatch import bind, fused
from fanal.core.errors import message
from fanal.graph.ir import Value
from fanal.linalg.results import SlogDet
from fanal.ops import products as vector_products
from fanal.ops.composite import composite
from fanal.ops.cumulative import cumprod_p
from fanal.ops.einsum import multiplied_in_order
from fanal.ops.host import check_matrices, check_matrix_dtype, check_square
from fanal.ops.layout import concat_p, expand_to, zeros_like_type
from fanal.ops.linear import matmul
from fanal.ops.matrix.determinant import det_p, slogdet_p
from fanal.ops.matrix.exponential import matrix_exp_p
from fanal.ops.matrix.parts import (
    columns,
    identity,
    lower,
    on_diagonal,
    product,
    rows_scaled,
    transposed,
    upper,
)
from fanal.ops.matrix.solve import solve_p
from fanal.ops.matrix.triangular import solve_upper
from fanal.ops.pointwise import lt, where
from fanal.ops.primitive import normalize_dim
from fanal.ops.promotion import broadcast_shapes, constant
from fanal.ops.promotion import together as broadcast
from fanal.ops.reductions import sum as sum_
from fanal.ops.shape import reshaped

__all__ = [
    "chain_matmul", "cross", "det", "diagonal", "householder_product", "logdet", "matmul", "matrix_exp",
    "matrix_power", "multi_dot", "ormqr", "slogdet", "vander", "vecdot",
]  # fmt: skip


@fused
def det(A: Any) -> Any:
    """Determinant of square matrices: (…, n, n) → (…). Its gradient exists at singular ones too."""
    check_square("linalg.det", A)
    return bind(det_p, A)


@fused
def slogdet(A: Any) -> Any:
    """Sign and logarithm of the magnitude of the determinant: 0 and -inf where it is 0."""
    check_square("linalg.slogdet", A)
    return SlogDet(*bind(slogdet_p, A))


@fused
def logdet(input: Any) -> Any:
    """Logarithm of the determinant: -inf where it is 0, NaN where it is negative."""
    check_square("logdet", input)
    sign, size = bind(slogdet_p, input)
    return where(lt(sign, 0.0), float("nan"), size)


@composite
def matrix_exp(A: Any) -> Any:
    """Σ Aᵏ / k! of square matrices (…, n, n)."""
    check_square("linalg.matrix_exp", A)
    return bind(matrix_exp_p, A)


@composite
def matrix_power(A: Any, n: int) -> Any:
    """A multiplied with itself n times, by squaring; negative n are powers of the inverse."""
    op = "linalg.matrix_power"
    if A.ndim < 2 or A.shape[-1] != A.shape[-2] or n < 0:
        check_square(op, A)
    unit = identity(A.shape[-1], A.dtype, A.shape[:-2])
    if n == 0:
        return unit
    base = bind(solve_p, A, unit, check=op) if n < 0 else A
    left, out = abs(n), None
    while left:
        if left & 1:
            out = base if out is None else product(out, base)
        left >>= 1
        if left:
            base = product(base, base)
    return out


@fused
def multi_dot(tensors: Sequence[Any]) -> Any:
    """A chain of matrix products in a cheap order; the first and the last may be vectors.

    The order is the cheapest one, with the rows of the first counted as a fixed number (a row of the
    result does not depend on how many there are).
    """
    op, parts = "linalg.multi_dot", list(tensors)
    if len(parts) < 2:
        raise RuntimeError(message(op, "too few tensors", len(parts), "at least 2"))
    for i, x in enumerate(parts):
        allowed = (1, 2) if i in (0, len(parts) - 1) else (2,)
        if x.ndim not in allowed:
            raise RuntimeError(
                message(op, f"tensor {i} has {x.ndim} dimensions", tuple(x.shape),
                        "matrices, vectors only at the ends")
            )  # fmt: skip
        if x.dtype is not parts[0].dtype:
            raise RuntimeError(message(op, "dtypes differ", f"{parts[0].dtype!r} and {x.dtype!r}"))
    for i, (a, b) in enumerate(itertools.pairwise(parts)):
        if a.shape[-1] != b.shape[0]:
            raise RuntimeError(
                message(op, f"tensors {i} and {i + 1} can't be multiplied",
                        f"{tuple(a.shape)} and {tuple(b.shape)}")
            )  # fmt: skip
    return multiplied_in_order(parts)


def chain_matmul(*matrices: Any) -> Any:
    """The product of matrices in a cheap order; see `linalg.multi_dot`."""
    given = matrices[0] if len(matrices) == 1 and isinstance(matrices[0], list | tuple) else matrices
    if not given:
        raise RuntimeError(message("chain_matmul", "no matrices", None, "at least one"))
    return given[0] if len(given) == 1 else multi_dot(list(given))


def diagonal(A: Any, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """A diagonal of each matrix as the last dimension: a view."""
    from fanal.tensor.strided import diagonal as view

    return view(A, offset, dim1, dim2)


@fused
def cross(input: Any, other: Any, *, dim: int = -1) -> Any:
    """Vector product of 3-vectors along a dimension."""
    if input.ndim != other.ndim:
        raise RuntimeError(
            message("linalg.cross", "numbers of dimensions differ", f"{input.ndim}, {other.ndim}")
        )
    return vector_products.cross(input, other, dim)


@fused
def vecdot(x: Any, y: Any, *, dim: int = -1) -> Any:
    """Sum of products along one dimension, the others broadcast."""
    a, b = broadcast("linalg.vecdot", x, y)
    return sum_(a * b, normalize_dim("linalg.vecdot", dim, a.ndim))


@fused
def vander(x: Any, N: int | None = None) -> Any:
    """Powers 0..N-1 of each element as a new last dimension: (…, n) → (…, n, N)."""
    if x.ndim == 0:
        raise RuntimeError(message("linalg.vander", "not a vector", x.shape, "1 dimension or more"))
    count = x.shape[-1] if N is None else N
    if count <= 1 and N is not None:
        raise RuntimeError(message("linalg.vander", "N is too small", N, "more than 1"))
    ones = constant(1, x.dtype, (*x.shape, 1))
    wide = expand_to(reshaped(x, (*x.shape, 1)), (*x.shape, max(count - 1, 0)))
    return bind(concat_p, ones, bind(cumprod_p, wide, dim=x.ndim), dim=x.ndim)


def _reflectors(op: str, a: Value, tau: Value) -> tuple[Value, Value]:
    """V and T of Q = 1 - V T Vᵀ, the product of the reflections 1 - τ v vᵀ.

    Compact WY form (Schreiber and Van Loan, 1989), with T = (1 + diag(τ) S)⁻¹ diag(τ) for the strict
    upper triangle S of Vᵀ V: no division by τ, which may be 0.
    """
    check_matrices(op, a)
    check_matrix_dtype(op, tau)
    m, n = a.shape[-2:]
    k = tau.shape[-1] if tau.ndim else 0
    if n > m or k > n or tau.shape[:-1] != a.shape[:-2]:
        raise RuntimeError(
            message(op, "shapes don't fit", f"{tuple(a.shape)} and tau {tuple(tau.shape)}",
                    "at least as many rows as columns, at most one tau a column")
        )  # fmt: skip
    v = lower(columns(a, 0, k), -1)
    unit = identity(k, a.dtype)
    if m > k:
        unit = bind(concat_p, unit, zeros_like_type(unit, (m - k, k)), dim=0)
    v = v + expand_to(unit, v.shape)
    inside = rows_scaled(tau, upper(product(transposed(v), v), 1))
    return v, solve_upper(inside, on_diagonal(tau), True)


@fused
def householder_product(A: Any, tau: Any) -> Any:
    """The first columns of the product of reflections 1 - τᵢ vᵢ vᵢᵀ, as `geqrf` gives them.

    A (…, m, n) with m ≥ n, its columns below the diagonal the vᵢ; tau (…, k), k ≤ n → (…, m, n).
    """
    v, t = _reflectors("linalg.householder_product", A, tau)
    m, n = A.shape[-2:]
    head = columns(identity(m, A.dtype), 0, n)
    top = columns(transposed(v), 0, n)
    return expand_to(head, A.shape) - product(v, t, top)


@fused
def ormqr(
    input: Any, tau: Any, other: Any, left: bool = True, transpose: bool = False
) -> Any:
    """Q · other (or other · Q, or with Qᵀ) for the square Q of reflections, without forming it."""
    v, t = _reflectors("ormqr", input, tau)
    check_matrices("ormqr", input, other)
    if other.shape[-2 if left else -1] != input.shape[-2]:
        raise RuntimeError(
            message("ormqr", "shapes don't fit", f"{tuple(input.shape)}, {tuple(other.shape)}")
        )
    t = transposed(t) if transpose else t
    batch = broadcast_shapes(input.shape[:-2], other.shape[:-2], op="ormqr")
    c = expand_to(other, (*batch, *other.shape[-2:]))
    vt = transposed(v)
    return c - (product(v, t, product(vt, c)) if left else product(product(c, v), t, vt))
