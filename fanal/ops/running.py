"""Running sums and their like along one dimension, differences, and integrals of samples."""

from __future__ import annotations

from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused
from fanal.core.dtypes import DType
from fanal.core.errors import message
from fanal.graph.ir import Value
from fanal.ops.composite import composite
from fanal.ops.cumulative import cummax_p, cummin_p, cumprod_p, cumsum_p
from fanal.ops.formulas import logaddexp
from fanal.ops.layout import expand_to, pad_p, slice_dim
from fanal.ops.pointwise import ne
from fanal.ops.primitive import Primitive, normalize_dim
from fanal.ops.promotion import cast, constant, to_float
from fanal.ops.reductions import sum as sum_
from fanal.ops.results import ValuesAndIndices
from fanal.ops.shape import cat, clone, reshaped


def _running_dtype(x: Value, dtype: DType | None) -> DType:
    if dtype is not None:
        return dtype
    return x.dtype if x.dtype.kind == "f" else dtypes.int64


def _along(primitive: Primitive, x: Value, dim: int, name: str) -> Value:
    d = normalize_dim(name, dim, x.ndim)
    return bind(primitive, x, dim=d) if x.ndim else x


@fused
def cumsum(input: Any, dim: int, *, dtype: DType | None = None) -> Any:
    """Sums of all elements up to each one along a dimension; integers as int64."""
    return _along(cumsum_p, cast(input, _running_dtype(input, dtype)), dim, "cumsum")


@fused
def cumprod(input: Any, dim: int, *, dtype: DType | None = None) -> Any:
    """Products of all elements up to each one along a dimension; integers as int64."""
    return _along(cumprod_p, cast(input, _running_dtype(input, dtype)), dim, "cumprod")


def _running_extreme(primitive: Primitive, x: Value, dim: int, name: str) -> ValuesAndIndices:
    d = normalize_dim(name, dim, x.ndim)
    if x.ndim == 0:
        return ValuesAndIndices(x, constant(0, dtypes.int64))
    return ValuesAndIndices(*bind(primitive, x, dim=d))


@fused
def cummax(input: Any, dim: int) -> Any:
    """Running maximum along a dimension, and where it was found last."""
    return _running_extreme(cummax_p, input, dim, "cummax")


@fused
def cummin(input: Any, dim: int) -> Any:
    """Running minimum along a dimension, and where it was found last."""
    return _running_extreme(cummin_p, input, dim, "cummin")


@composite
def logcumsumexp(input: Any, dim: int) -> Any:
    """log of the running sum of exponentials, without overflow.

    By doubling: after k steps each element holds the sum over the 2^k elements that end with it.
    """
    x = cast(input, to_float(input.dtype))
    d = normalize_dim("logcumsumexp", dim, x.ndim)
    step, n = 1, x.shape[d] if x.ndim else 1
    while step < n:
        low, high = ([0] * x.ndim for _ in range(2))
        low[d], high[d] = step, -step
        before = bind(
            pad_p, x, low=tuple(low), high=tuple(high), interior=(0,) * x.ndim, value=float("-inf")
        )
        x = logaddexp(before, x)
        step *= 2
    return x


# -- differences and integrals ------------------------------------------------------------------------


@fused
def diff(input: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """The n-th differences of neighbours along a dimension (of bools: where they differ)."""
    if n < 0:
        raise RuntimeError(message("diff", "a negative order", n, "0 or more"))
    if input.ndim == 0:
        raise RuntimeError(message("diff", "a 0-d tensor has no neighbours", hint="reshape(1)"))
    d = normalize_dim("diff", dim, input.ndim)
    if n == 0:
        return clone(input)
    parts = [p for p in (prepend, input, append) if p is not None]
    x = cat(parts, d) if len(parts) > 1 else input
    for _ in range(n):
        extent = x.shape[d]
        if extent == 0:
            break
        left, right = slice_dim(x, d, 0, extent - 1), slice_dim(x, d, 1, extent)
        x = ne(right, left) if x.dtype is dtypes.bool_ else right - left
    return x


def _trapezoids(name: str, y: Value, x: Any, dx: float, dim: int) -> tuple[Value, int]:
    """The areas between neighbouring samples, and the dimension."""
    d = normalize_dim(name, dim, y.ndim)
    n = y.shape[d]
    left, right = slice_dim(y, d, 0, max(n - 1, 0)), slice_dim(y, d, min(n, 1), n)
    total = left + right
    if x is None:
        if total.dtype.kind != "f":
            total = cast(total, to_float(total.dtype))
        return total * (dx / 2.0), d
    if x.ndim == 1:
        if x.shape[0] != n:
            raise RuntimeError(
                message(name, "as many points as samples are needed", x.shape, f"({n},)")
            )
        x = reshaped(x, (n,) + (1,) * (y.ndim - 1 - d))
    axis = x.ndim - y.ndim + d
    m = x.shape[axis]
    width = slice_dim(x, axis, min(m, 1), m) - slice_dim(x, axis, 0, max(m - 1, 0))
    areas = total * width
    if areas.dtype.kind != "f":
        areas = cast(areas, to_float(areas.dtype))
    return areas * 0.5, areas.ndim - y.ndim + d


def _spacing(name: str, x: Any, dx: float | None) -> float:
    if x is not None and dx is not None:
        raise TypeError(message(name, "both x and dx are given", hint="one of them"))
    return 1.0 if dx is None else dx


@fused
def trapezoid(y: Any, x: Any = None, *, dx: float | None = None, dim: int = -1) -> Any:
    """Integral of samples along a dimension by the trapezoidal rule.

    The samples lie at the points x (a vector, or broadcast with y), or dx (1) apart.
    """
    areas, d = _trapezoids("trapezoid", y, x, _spacing("trapezoid", x, dx), dim)
    return sum_(areas, d)


@fused
def cumulative_trapezoid(
    y: Any, x: Any = None, *, dx: float | None = None, dim: int = -1
) -> Any:
    """Running integral of samples by the trapezoidal rule: one element less than y."""
    areas, d = _trapezoids(
        "cumulative_trapezoid", y, x, _spacing("cumulative_trapezoid", x, dx), dim
    )
    return bind(cumsum_p, areas, dim=d)


@fused
def _gradient(
    input: Any, points: tuple[Any, ...], steps: tuple[float, ...], dims: tuple[int, ...],
    edge_order: int,
) -> Any:  # fmt: skip
    x = input if input.dtype.kind == "f" else cast(input, to_float(input.dtype))
    rows = zip(dims, points or steps, strict=True)
    return tuple(_slope(x, d, at, edge_order) for d, at in rows)


def _slope(x: Value, d: int, at: Any, edge_order: int) -> Value:
    n = x.shape[d]
    if n < edge_order + 1:
        raise RuntimeError(
            message("gradient", f"too few samples in dimension {d}", n, f"at least {edge_order + 1}")
        )
    if isinstance(at, Value):
        if at.shape != (n,):
            raise RuntimeError(
                message("gradient", "as many points as samples are needed", at.shape, f"({n},)")
            )
        gaps = slice_dim(at, 0, 1, n) - slice_dim(at, 0, 0, n - 1)
    else:
        gaps = constant(at, x.dtype, (n - 1,))
    shape = tuple(n - 1 if i == d else 1 for i in range(x.ndim))
    h = cast(reshaped(gaps, shape), x.dtype)
    change = slice_dim(x, d, 1, n) - slice_dim(x, d, 0, n - 1)
    slopes = change / expand_to(h, change.shape)
    first, last = slice_dim(slopes, d, 0, 1), slice_dim(slopes, d, n - 2, n - 1)
    if n == 2:
        return cat([first, last], d)
    before, after = slice_dim(slopes, d, 0, n - 2), slice_dim(slopes, d, 1, n - 1)
    a, b = slice_dim(h, d, 0, n - 2), slice_dim(h, d, 1, n - 1)
    # Second-order accurate also for unequal gaps: each slope weighted by the other gap.
    inside = (before * b + after * a) / (a + b)
    if edge_order == 2:
        first = first + (first - slice_dim(slopes, d, 1, 2)) * _share(a, b, d, 0)
        m = n - 3
        last = last + (last - slice_dim(slopes, d, m, m + 1)) * _share(b, a, d, m)
    return cat([first, inside, last], d)


def _share(near: Value, far: Value, d: int, at: int) -> Value:
    near, far = slice_dim(near, d, at, at + 1), slice_dim(far, d, at, at + 1)
    return near / (near + far)


def gradient(
    input: Any, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1
) -> list[Any]:
    """Derivatives of samples along dimensions by central differences, one tensor a dimension.

    `spacing`: a number, numbers, or tensors of coordinates, one a dimension. `edge_order` 1 or 2:
    the accuracy at the ends. Raises RuntimeError where these do not fit together.
    """
    if edge_order not in (1, 2):
        raise RuntimeError(message("gradient", "edge_order is not 1 or 2", edge_order))
    given = range(input.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    dims = tuple(normalize_dim("gradient", d, input.ndim) for d in given)
    if len(set(dims)) != len(dims):
        raise RuntimeError(message("gradient", "a dimension appears more than once", dims))
    if spacing is None or isinstance(spacing, int | float):
        spacing = [1 if spacing is None else spacing] * len(dims)
    parts = list(spacing) if isinstance(spacing, tuple | list) else [spacing]
    if len(parts) != len(dims):
        raise RuntimeError(
            message("gradient", "one spacing a dimension is needed", len(parts), str(len(dims)))
        )
    numbers = all(isinstance(p, int | float) for p in parts)
    points = () if numbers else tuple(parts)
    steps = tuple(float(p) for p in parts) if numbers else ()
    return list(_gradient(input, points, steps, dims, edge_order))
