"""Distances between tensors, and slices scaled to a largest norm."""

from __future__ import annotations

import math
from typing import Any

from fanal.core.errors import message
from fanal.graph.ir import Value
from fanal.ops.composite import composite
from fanal.ops.pointwise import abs as absolute
from fanal.ops.pointwise import eq, ne, pow_general, sqrt, where
from fanal.ops.primitive import normalize_dim
from fanal.ops.promotion import broadcast_shapes, cast, constant, to_float, together
from fanal.ops.reductions import amax, amin
from fanal.ops.reductions import sum as sum_
from fanal.ops.shape import reshaped


def vector_norm(x: Value, p: float, dims: tuple[int, ...], keepdim: bool = False) -> Value:
    """(Σ |x|^p)^(1/p) over dimensions, with derivative 0 where it is 0 (PyTorch's choice)."""
    if math.prod(x.shape[d] for d in dims) == 0:
        return sum_(absolute(x), dims, keepdim)
    size = absolute(x)
    if p == math.inf:
        return amax(size, dims, keepdim)
    if p == -math.inf:
        return amin(size, dims, keepdim)
    if p == 0:
        return sum_(cast(ne(x, 0.0), x.dtype), dims, keepdim)
    if p == 1:
        return sum_(size, dims, keepdim)
    if p == 2:
        total = sum_(x * x, dims, keepdim)
        zero = eq(total, 0.0)
        return where(zero, 0.0, sqrt(where(zero, 1.0, total)))
    if p < 0:
        return pow_general(sum_(pow_general(size, p), dims, keepdim), 1 / p)
    inside = eq(size, 0.0)
    total = sum_(where(inside, 0.0, pow_general(where(inside, 1.0, size), p)), dims, keepdim)
    zero = eq(total, 0.0)
    return where(zero, 0.0, pow_general(where(zero, 1.0, total), 1 / p))


@composite
def dist(input: Any, other: Any, p: float = 2) -> Any:
    """The p-norm of input - other, broadcast: a number."""
    a, b = together("dist", input, other)
    if a.dtype.kind != "f":
        a, b = (cast(v, to_float(v.dtype)) for v in (a, b))
    difference = a - b
    return vector_norm(difference, float(p), tuple(range(difference.ndim)))


@composite
def cdist(
    x1: Any, x2: Any, p: float = 2.0,
    compute_mode: str = "use_mm_for_euclid_dist_if_necessary",
) -> Any:  # fmt: skip
    """p-distances of all pairs of rows: (…, n, d) and (…, m, d) → (…, n, m).

    Always computed from differences, whatever the compute mode: the matrix product that PyTorch
    may use is not accurate for near rows.
    """
    if x1.ndim < 2 or x2.ndim < 2 or x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(
            message("cdist", "not rows of one length", f"{x1.shape} and {x2.shape}", "(…, n, d)")
        )
    if p < 0:
        raise RuntimeError(message("cdist", "p is negative", p, "0 or more"))
    if x1.dtype is not x2.dtype or x1.dtype.kind != "f":
        raise RuntimeError(
            message("cdist", "not one floating dtype", f"{x1.dtype!r} and {x2.dtype!r}")
        )
    batch = broadcast_shapes(x1.shape[:-2], x2.shape[:-2], op="cdist")
    shape = (*batch, x1.shape[-2], x2.shape[-2])
    if x1.shape[-1] == 0:
        return constant(0, x1.dtype, shape)
    a = reshaped(x1, (*x1.shape[:-1], 1, x1.shape[-1]))
    b = reshaped(x2, (*x2.shape[:-2], 1, *x2.shape[-2:]))
    difference = a - b
    return vector_norm(difference, float(p), (difference.ndim - 1,))


@composite
def renorm(input: Any, p: float, dim: int, maxnorm: float) -> Any:
    """Slices along a dimension scaled down so that none has a p-norm above maxnorm."""
    if input.ndim < 2:
        raise RuntimeError(message("renorm", "fewer than two dimensions", input.shape))
    if input.dtype.kind != "f":
        raise RuntimeError(message("renorm", "only for floating tensors", repr(input.dtype)))
    if p <= 0 or maxnorm < 0:
        raise RuntimeError(
            message("renorm", "p must be positive, maxnorm 0 or more", (p, maxnorm))
        )
    d = normalize_dim("renorm", dim, input.ndim)
    others = tuple(i for i in range(input.ndim) if i != d)
    norm = vector_norm(input, float(p), others, True)
    # 1e-7 as in PyTorch, so that the result is not above the bound by rounding.
    return where(norm > maxnorm, input * (maxnorm / (norm + 1e-7)), input)
