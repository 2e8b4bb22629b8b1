"""Products, powers and determinants of matrices."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused, is_tracing
from fanal.core.errors import message
from fanal.linalg.results import SlogDet
from fanal.ops import products as vector_products
from fanal.ops.composite import composite
from fanal.ops.cumulative import cumprod_p
from fanal.ops.einsum import multiplied_in_order
from fanal.ops.host import check_matrices, check_square
from fanal.ops.layout import concat_p, expand_to, zeros_like_type
from fanal.ops.linear import matmul
from fanal.ops.matrix.determinant import det_p, slogdet_p
from fanal.ops.matrix.exponential import halvings, matrix_exp_p, squarings_in_a_graph
from fanal.ops.matrix.householder import first_columns, reflectors
from fanal.ops.matrix.parts import identity, product, transposed
from fanal.ops.matrix.solve import solve_p
from fanal.ops.pointwise import detach, lt, where
from fanal.ops.primitive import normalize_dim
from fanal.ops.promotion import broadcast_shapes, cast, constant
from fanal.ops.promotion import together as broadcast
from fanal.ops.reductions import amax
from fanal.ops.reductions import sum as sum_
from fanal.ops.shape import reshaped
from fanal.tensor.lazy import is_known

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


def matrix_exp(A: Any) -> Any:
    """Σ Aᵏ / k! of square matrices (…, n, n).

    Computed in A's dtype by scaling and squaring; the relative error grows with the norm, which is
    the condition of the problem. In a traced program norms up to 1/ε are squared in full.
    """
    unknown = is_tracing() or not is_known(A)
    squarings = None if unknown else int(_most_halvings(A).item())
    return _exponential(A, squarings)


@composite
def _most_halvings(A: Any) -> Any:
    """How often the largest of the matrices is to be halved."""
    check_square("linalg.matrix_exp", A)
    if 0 in A.shape:
        return constant(0, dtypes.int64)
    return amax(halvings(detach(A)))


@composite
def _exponential(A: Any, squarings: int | None) -> Any:
    check_square("linalg.matrix_exp", A)
    if A.shape[-1] == 0:
        return zeros_like_type(A)
    squarings = squarings_in_a_graph(A.dtype) if squarings is None else squarings
    return bind(matrix_exp_p, A, halvings(detach(A)), squarings=squarings)


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
    if x.dtype.kind != "f":
        x = cast(x, dtypes.int64)
    ones = constant(1, x.dtype, (*x.shape, 1))
    wide = expand_to(reshaped(x, (*x.shape, 1)), (*x.shape, max(count - 1, 0)))
    return bind(concat_p, ones, bind(cumprod_p, wide, dim=x.ndim), dim=x.ndim)


@fused
def householder_product(A: Any, tau: Any) -> Any:
    """The first columns of the product of reflections 1 - τᵢ vᵢ vᵢᵀ, as `geqrf` gives them.

    A (…, m, n) with m ≥ n, its columns below the diagonal the vᵢ; tau (…, k), k ≤ n → (…, m, n).
    """
    return first_columns("linalg.householder_product", A, tau)


@fused
def ormqr(
    input: Any, tau: Any, other: Any, left: bool = True, transpose: bool = False
) -> Any:
    """Q · other (or other · Q, or with Qᵀ) for the square Q of reflections, without forming it."""
    v, t = reflectors("ormqr", input, tau)
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
