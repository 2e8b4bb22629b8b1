"""Norms, distances and similarities."""

from __future__ import annotations

import math
from typing import Any

from fanal.core.dispatch import bind
from fanal.core.dtypes import int64
from fanal.core.errors import message
from fanal.nn.functional.composite import composite
from fanal.ops.create import iota_p
from fanal.ops.index import gather_p
from fanal.ops.pointwise import abs as absolute
from fanal.ops.pointwise import bitwise_right_shift, eq, ne, pow_general, sqrt, where
from fanal.ops.promotion import cast, constant, together
from fanal.ops.reductions import amax, amin, dims_of
from fanal.ops.reductions import sum as sum_op


def safe_sqrt(x: Any) -> Any:
    """√x with derivative 0 at 0 (PyTorch's choice for norms)."""
    zero = eq(x, 0.0)
    return where(zero, 0.0, sqrt(where(zero, 1.0, x)))


def norm(x: Any, p: float, dims: tuple[int, ...], keepdim: bool) -> Any:
    """(Σ |x|^p)^(1/p) over dimensions, with derivative 0 where it is 0."""
    if p == 2:
        return safe_sqrt(sum_op(x * x, dims, keepdim))
    size = absolute(x)
    if p == 1:
        return sum_op(size, dims, keepdim)
    if p == math.inf:
        return amax(size, dims, keepdim)
    if p == -math.inf:
        return amin(size, dims, keepdim)
    if p == 0:
        return sum_op(cast(ne(x, 0.0), x.dtype), dims, keepdim)
    inside = eq(size, 0.0)
    powers = where(inside, 0.0, pow_general(where(inside, 1.0, size), p))
    total = sum_op(powers, dims, keepdim)
    zero = eq(total, 0.0)
    return where(zero, 0.0, pow_general(where(zero, 1.0, total), 1.0 / p))


def at_least(x: Any, bound: float) -> Any:
    """max(x, bound); the gradient passes where x ≥ bound."""
    return where(x < bound, bound, x)


@composite
def _normalize(input: Any, p: float, dim: Any, eps: float) -> Any:
    return input / at_least(norm(input, p, dims_of("normalize", dim, input.ndim), True), eps)


def normalize(
    input: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Any = None
) -> Any:
    """x / max(‖x‖_p, eps) along a dimension (or several)."""
    result = _normalize(input, float(p), dim if isinstance(dim, int) else tuple(dim), eps)
    return result if out is None else out.copy_(result)


@composite
def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """x₁·x₂ / (max(‖x₁‖, eps) max(‖x₂‖, eps)) along a dimension; the inputs broadcast."""
    a, b = together("cosine_similarity", x1, x2)
    if a.dtype.kind != "f":
        raise RuntimeError(
            message("cosine_similarity", "only for floating tensors", repr(a.dtype), hint=".float()")
        )
    dims = dims_of("cosine_similarity", dim, a.ndim)
    lengths = [at_least(norm(v, 2, dims, True), eps) for v in (a, b)]
    return sum_op((a / lengths[0]) * (b / lengths[1]), dims)


@composite
def pairwise_distance(
    x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Any:
    """‖x₁ - x₂ + eps‖_p along the last dimension; the inputs broadcast."""
    difference = x1 - x2 + eps
    return norm(difference, p, (difference.ndim - 1,), keepdim)


@composite
def pdist(input: Any, p: float = 2.0) -> Any:
    """The p-distances between the rows of (n, d): (n (n-1) / 2,), row by row (0,1), (0,2), …"""
    if input.ndim != 2:
        raise RuntimeError(
            message("pdist", "not a matrix", tuple(input.shape), "two dimensions")
        )
    if p < 0:
        raise RuntimeError(message("pdist", "p is negative", p, "0 or more"))
    n = input.shape[0]
    count = n * (n - 1) // 2
    if count == 0:
        return constant(0, input.dtype, (0,))
    first, second = pair_indices(n, count)
    a, b = (bind(gather_p, input, i, dims=(0,)) for i in (first, second))
    return norm(a - b, p, (1,), False)


def pair_indices(n: int, count: int) -> tuple[Any, Any]:
    """Rows i < j of pair number k in the order (0,1), (0,2), …, (1,2), …"""
    # Row i begins at pair s(i) = i (2n - i - 1) / 2: i is the number of row starts that are ≤ k.
    k = bind(iota_p, shape=(count, n - 1), dim=0, dtype=int64)
    i = bind(iota_p, shape=(count, n - 1), dim=1, dtype=int64) + 1
    begins = bitwise_right_shift(i * (2 * n - 1) - i * i, 1)
    row = sum_op(cast(begins <= k, int64), 1)
    start = bitwise_right_shift(row * (2 * n - 1) - row * row, 1)
    position = bind(iota_p, shape=(count,), dim=0, dtype=int64)
    return row, position - start + row + 1
