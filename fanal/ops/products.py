"""Products of tensors with tensors that are not matrix products, and grids of combinations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused
from fanal.core.errors import message
from fanal.ops.create import iota_p
from fanal.ops.cumulative import cumprod_p
from fanal.ops.dot import dot_p
from fanal.ops.layout import expand_to, slice_dim
from fanal.ops.linear import scaled_sum
from fanal.ops.pointwise import bitwise_and, bitwise_or, ne
from fanal.ops.primitive import normalize_dim
from fanal.ops.promotion import cast, constant, result_type, together
from fanal.ops.shape import cat, expand, reshape, reshaped, stack


@fused
def cross(input: Any, other: Any, dim: int | None = None) -> Any:
    """Vector product of 3-vectors along a dimension (the first of extent 3 by default)."""
    a, b = together("cross", input, other)
    if dim is None:
        found = [d for d, n in enumerate(a.shape) if n == 3]
        if not found:
            raise RuntimeError(message("cross", "no dimension of extent 3", a.shape))
        d = found[0]
    else:
        d = normalize_dim("cross", dim, a.ndim)
    if a.ndim == 0 or a.shape[d] != 3:
        raise RuntimeError(message("cross", f"the extent of dimension {dim} is not 3", a.shape))
    x, y = ([slice_dim(v, d, i, i + 1) for i in range(3)] for v in (a, b))
    pairs = ((1, 2), (2, 0), (0, 1))
    return cat([x[i] * y[j] - x[j] * y[i] for i, j in pairs], d)


@fused
def kron(input: Any, other: Any) -> Any:
    """Kronecker product: every element of input times the whole of other."""
    dtype = result_type(input, other)
    a, b = cast(input, dtype), cast(other, dtype)
    rank = max(a.ndim, b.ndim)
    a, b = (reshaped(v, (1,) * (rank - v.ndim) + v.shape) for v in (a, b))
    thin = tuple(k for n in a.shape for k in (n, 1))
    wide = tuple(k for n in b.shape for k in (1, n))
    out = tuple(n * m for n, m in zip(a.shape, b.shape, strict=True))
    return reshaped(reshaped(a, thin) * reshaped(b, wide), out)


@fused
def inner(input: Any, other: Any) -> Any:
    """Sums of products over the last dimensions: (…, k) and (…, k); a number scales."""
    if input.ndim == 0 or other.ndim == 0:
        return input * other
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(
            message("inner", "the last extents differ", f"{input.shape} and {other.shape}")
        )
    if input.dtype is not other.dtype:
        raise RuntimeError(message("inner", "dtypes differ", f"{input.dtype!r} and {other.dtype!r}"))
    k = (input.ndim - 1,), (other.ndim - 1,)
    return bind(dot_p, input, other, contract=k, batch=((), ()))


@fused
def vdot(input: Any, other: Any) -> Any:
    """Sum of products of two vectors of equal length."""
    from fanal.ops.linear import dot

    return dot(input, other)


@fused(scalars=("beta", "alpha"))
def addr(input: Any, vec1: Any, vec2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta · input + alpha · (vec1 ⊗ vec2)."""
    if vec1.ndim != 1 or vec2.ndim != 1:
        raise RuntimeError(message("addr", "not vectors", f"{vec1.shape} and {vec2.shape}"))
    product = reshaped(vec1, (*vec1.shape, 1)) * reshaped(vec2, (1, *vec2.shape))
    input = expand_to(input, product.shape)
    if input.dtype is dtypes.bool_ and product.dtype is dtypes.bool_:
        return bitwise_or(
            input if beta is True or beta == 1 else bitwise_and(input, cast(beta, dtypes.bool_)),
            product if alpha is True or alpha == 1 else bitwise_and(product, cast(alpha, dtypes.bool_)),
        )
    return scaled_sum(input, product, beta, alpha)


@fused
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """Powers of a vector's elements as columns: from N - 1 down to 0, or up from 0."""
    if x.ndim != 1:
        raise RuntimeError(message("vander", "not a vector", x.shape))
    count = x.shape[0] if N is None else N
    if count < 0:
        raise RuntimeError(message("vander", "a negative number of columns", count))
    dtype = x.dtype if x.dtype.kind == "f" else dtypes.int64
    column = reshaped(cast(x, dtype), (x.shape[0], 1))
    ones = constant(1, dtype, (x.shape[0], min(count, 1)))
    if count < 2:
        return ones
    powers = bind(cumprod_p, expand_to(column, (x.shape[0], count - 1)), dim=1)
    from fanal.ops.layout import flip_p

    out = cat([ones, powers], 1)
    return out if increasing else bind(flip_p, out, dims=(1,))


# -- grids ---------------------------------------------------------------------------------------------


def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Any, ...]:
    """Coordinates of a grid spanned by vectors: one tensor a vector, all of the grid's shape.

    indexing "ij" (the default): dimension k follows vector k; "xy": the first two are exchanged.
    """
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], tuple | list) else tensors
    if indexing not in (None, "ij", "xy"):
        raise RuntimeError(message("meshgrid", "unknown indexing", repr(indexing), "'ij' or 'xy'"))
    if not given:
        raise ValueError(message("meshgrid", "no tensors", None, "at least one"))
    for t in given:
        if t.ndim > 1:
            raise RuntimeError(message("meshgrid", "not a vector", tuple(t.shape)))
        if t.dtype is not given[0].dtype:
            raise RuntimeError(
                message("meshgrid", "dtypes differ", f"{given[0].dtype!r} and {t.dtype!r}")
            )
    order = list(range(len(given)))
    if indexing == "xy" and len(given) > 1:
        order[:2] = 1, 0  # vector 0 runs along the columns
    shape = tuple(math.prod(given[k].shape) for k in order)
    grids = []
    for k, t in enumerate(given):
        thin = tuple(n if order[d] == k else 1 for d, n in enumerate(shape))
        grids.append(expand(reshape(t, thin), shape))
    return tuple(grids)


@fused
def _products(tensors: Sequence[Any]) -> Any:
    shape = tuple(t.shape[0] for t in tensors)
    columns = []
    for d, t in enumerate(tensors):
        wide = reshaped(t, tuple(shape[d] if i == d else 1 for i in range(len(shape))))
        columns.append(reshaped(expand_to(wide, shape), (math.prod(shape),)))
    return stack(columns, 1)


def cartesian_prod(*tensors: Any) -> Any:
    """All combinations of the vectors' elements as rows; of one vector, the vector."""
    for t in tensors:
        if t.ndim != 1:
            raise RuntimeError(message("cartesian_prod", "not a vector", tuple(t.shape)))
    return tensors[0] if len(tensors) == 1 else _products(tensors)


@fused
def chosen(n: int, r: int, with_replacement: bool) -> Any:
    """Which of the n^r places are combinations: ascending indices (bool, n × … × n)."""
    shape = (n,) * r
    index = [bind(iota_p, shape=shape, dim=d, dtype=dtypes.int64) for d in range(r)]
    ok = constant(True, dtypes.bool_, shape)
    for left, right in itertools.pairwise(index):
        ok = ok & (left <= right)
        if not with_replacement:
            ok = ok & ne(left, right)
    return ok
