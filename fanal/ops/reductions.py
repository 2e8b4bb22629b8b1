"""Public reductions: sums, means, extremes, variances, softmax."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused
from fanal.core.dtypes import DType
from fanal.core.errors import message
from fanal.core.symbols import real
from fanal.graph.ir import Value
from fanal.ops.index import take_along
from fanal.ops.moments import moments
from fanal.ops.pointwise import exp, log, ne, sqrt, where
from fanal.ops.primitive import Primitive, normalize_dim
from fanal.ops.promotion import cast, constant, to_float
from fanal.ops.reduce import (
    argmax_p,
    argmin_p,
    ones_shape,
    reduce_all_p,
    reduce_any_p,
    reduce_max_p,
    reduce_min_p,
    reduce_prod_p,
    reduce_sum_p,
)
from fanal.ops.shape import reshaped

Dim = int | Sequence[int] | None


def dims_of(name: str, dim: Dim, ndim: int) -> tuple[int, ...]:
    """The dimensions meant: None and an empty sequence mean all."""
    if dim is None or (not isinstance(dim, int) and len(dim) == 0):
        return tuple(range(ndim))
    given = (dim,) if isinstance(dim, int) else tuple(dim)
    found = tuple(sorted(normalize_dim(name, d, ndim) for d in given))
    if len(set(found)) != len(found):
        raise RuntimeError(message(name, "a dimension appears twice", given))
    return found if ndim else ()


def reduced(primitive: Primitive, x: Value, dims: tuple[int, ...], keepdim: bool) -> Value:
    """A reduction; with `keepdim` the reduced dimensions stay with extent 1."""
    y = bind(primitive, x, dims=dims) if dims else x
    return reshaped(y, ones_shape(x.shape, dims)) if keepdim else y


def _sum_dtype(x: Value, dtype: DType | None) -> DType:
    if dtype is not None:
        return dtype
    return x.dtype if x.dtype.kind == "f" else dtypes.int64


@fused
def sum(input: Any, dim: Dim = None, keepdim: bool = False, *, dtype: DType | None = None) -> Any:
    """Sum over dimensions (all by default); integers are summed as int64."""
    x = cast(input, _sum_dtype(input, dtype))
    return reduced(reduce_sum_p, x, dims_of("sum", dim, x.ndim), keepdim)


@fused
def nansum(
    input: Any, dim: Dim = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Any:
    """Sum that counts NaN as 0."""
    x = cast(input, _sum_dtype(input, dtype))
    if x.dtype.kind == "f":
        x = where(ne(x, x), 0.0, x)
    return reduced(reduce_sum_p, x, dims_of("nansum", dim, x.ndim), keepdim)


@fused
def mean(input: Any, dim: Dim = None, keepdim: bool = False, *, dtype: DType | None = None) -> Any:
    """Mean over dimensions (all by default)."""
    x = input if dtype is None else cast(input, dtype)
    if x.dtype.kind != "f":
        raise RuntimeError(
            message("mean", "only floating tensors have a mean", repr(x.dtype), hint="dtype=float32")
        )
    dims = dims_of("mean", dim, x.ndim)
    total = reduced(reduce_sum_p, x, dims, keepdim)
    return total / real(count(x, dims)) if count(x, dims) else total * float("nan")


def count(x: Value, dims: tuple[int, ...]) -> int:
    """Number of elements that a reduction over `dims` takes together."""
    return math.prod(x.shape[d] for d in dims)


@fused
def prod(input: Any, dim: int | None = None, keepdim: bool = False, *, dtype: DType | None = None) -> Any:
    """Product over one dimension, or all."""
    if dtype is dtypes.bool_:
        return all(cast(input, dtypes.bool_), dim, keepdim)
    x = cast(input, _sum_dtype(input, dtype))
    return reduced(reduce_prod_p, x, dims_of("prod", dim, x.ndim), keepdim)


@fused
def amax(input: Any, dim: Dim = None, keepdim: bool = False) -> Any:
    """Largest elements; NaN if any is NaN. Equal ones share the gradient."""
    _some("amax", input, dim)
    return reduced(reduce_max_p, input, dims_of("amax", dim, input.ndim), keepdim)


@fused
def amin(input: Any, dim: Dim = None, keepdim: bool = False) -> Any:
    """Smallest elements; NaN if any is NaN. Equal ones share the gradient."""
    _some("amin", input, dim)
    return reduced(reduce_min_p, input, dims_of("amin", dim, input.ndim), keepdim)


def _some(name: str, input: Value, dim: Dim) -> None:
    if dim in (None, ()) and 0 in input.shape:
        raise RuntimeError(
            message(name, "no value for a tensor without elements", tuple(input.shape), hint="a dim")
        )


@fused
def all(input: Any, dim: Dim = None, keepdim: bool = False) -> Any:
    """Whether all elements are true (not zero); of uint8 as uint8, as in PyTorch."""
    x = input if input.dtype is dtypes.bool_ else ne(input, 0)
    answer = reduced(reduce_all_p, x, dims_of("all", dim, x.ndim), keepdim)
    return cast(answer, dtypes.uint8) if input.dtype is dtypes.uint8 else answer


@fused
def any(input: Any, dim: Dim = None, keepdim: bool = False) -> Any:
    """Whether any element is true (not zero); of uint8 as uint8, as in PyTorch."""
    x = input if input.dtype is dtypes.bool_ else ne(input, 0)
    answer = reduced(reduce_any_p, x, dims_of("any", dim, x.ndim), keepdim)
    return cast(answer, dtypes.uint8) if input.dtype is dtypes.uint8 else answer


class Extreme(NamedTuple):
    """Values and their indices along a dimension."""

    values: Any
    indices: Any


def arg_reduce(primitive: Primitive, x: Value, dim: int | None, keepdim: bool, name: str) -> Value:
    """Index of an extreme along one dimension, or in the flattened tensor."""
    if dim is None:
        flat = reshaped(x, (math.prod(x.shape),))
        y = bind(primitive, flat, dim=0)
        return reshaped(y, (1,) * x.ndim) if keepdim else y
    if x.ndim == 0:
        return constant(0, dtypes.int64)
    d = normalize_dim(name, dim, x.ndim)
    y = bind(primitive, x, dim=d)
    return reshaped(y, ones_shape(x.shape, (d,))) if keepdim else y


@fused
def argmax(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Index of the first largest element along a dimension, or in the flattened tensor."""
    return arg_reduce(argmax_p, input, dim, keepdim, "argmax")


@fused
def argmin(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Index of the first smallest element along a dimension, or in the flattened tensor."""
    return arg_reduce(argmin_p, input, dim, keepdim, "argmin")


@fused
def max_dim(input: Any, dim: int, keepdim: bool = False) -> Any:
    """Largest elements along a dimension with their indices; the gradient goes to those."""
    return _extreme(argmax_p, input, dim, keepdim, "max")


@fused
def min_dim(input: Any, dim: int, keepdim: bool = False) -> Any:
    """Smallest elements along a dimension with their indices; the gradient goes to those."""
    return _extreme(argmin_p, input, dim, keepdim, "min")


def _extreme(primitive: Primitive, x: Value, dim: int, keepdim: bool, name: str) -> Extreme:
    index = arg_reduce(primitive, x, dim, True, name)
    if x.ndim == 0:
        return Extreme(x, index)
    d = normalize_dim(name, dim, x.ndim)
    values = take_along(x, index, d)
    if keepdim:
        return Extreme(values, index)
    shape = tuple(n for i, n in enumerate(x.shape) if i != d)
    return Extreme(reshaped(values, shape), reshaped(index, shape))


@fused
def var(
    input: Any, dim: Dim = None, *, correction: float = 1, keepdim: bool = False
) -> Any:
    """Variance over dimensions, divided by the number of elements less `correction`."""
    return variance(input, dims_of("var", dim, input.ndim), correction, keepdim)[0]


@fused
def std(
    input: Any, dim: Dim = None, *, correction: float = 1, keepdim: bool = False
) -> Any:
    """Standard deviation over dimensions; see `var`."""
    return sqrt(variance(input, dims_of("std", dim, input.ndim), correction, keepdim)[0])


@fused
def var_mean(
    input: Any, dim: Dim = None, *, correction: float = 1, keepdim: bool = False
) -> Any:
    """Variance and mean."""
    return variance(input, dims_of("var_mean", dim, input.ndim), correction, keepdim)


def variance(
    x: Value, dims: tuple[int, ...], correction: float, keepdim: bool
) -> tuple[Value, Value]:
    """Two passes: the mean, then the mean of squared differences from it."""
    n = count(x, dims)
    if n == 0:
        empty = reduced(reduce_sum_p, x, dims, keepdim) * float("nan")
        return empty, empty
    center, total = moments(x, dims)
    left = max(n - correction, 0)
    result = total / real(left) if left else total * float("nan") if n <= 1 else total / 0.0
    if not keepdim:
        shape = tuple(e for d, e in enumerate(x.shape) if d not in dims)
        return reshaped(result, shape), reshaped(center, shape)
    return result, center


def max(*values: Any) -> Any:
    """Python's maximum of numbers."""
    return values[0] if values[0] >= values[1] else values[1]


@fused
def logsumexp(input: Any, dim: Dim, keepdim: bool = False) -> Any:
    """log Σ exp(x), without overflow."""
    x = cast(input, to_float(input.dtype))
    dims = dims_of("logsumexp", dim, x.ndim)
    peak = _finite_peak(x, dims)
    total = log(reduced(reduce_sum_p, exp(x - peak), dims, True)) + peak
    shape = tuple(e for d, e in enumerate(x.shape) if d not in dims)
    return total if keepdim else reshaped(total, shape)


def _finite_peak(x: Value, dims: tuple[int, ...]) -> Value:
    """The maximum as a constant; 0 where it is infinite (so that inf - inf never arises)."""
    from fanal.ops.pointwise import abs, detach, eq

    if count(x, dims) == 0:
        return constant(0, x.dtype, ones_shape(x.shape, dims))
    peak = detach(reduced(reduce_max_p, x, dims, True))
    return where(eq(abs(peak), math.inf), 0.0, peak)


@fused
def softmax(input: Any, dim: int, dtype: DType | None = None) -> Any:
    """exp(x) / Σ exp(x) along a dimension."""
    x = input if dtype is None else cast(input, dtype)
    from fanal.ops.pointwise import detach

    dims = dims_of("softmax", dim, x.ndim)
    if 0 in x.shape:
        return x
    e = exp(x - detach(reduced(reduce_max_p, x, dims, True)))
    return e / reduced(reduce_sum_p, e, dims, True)


@fused
def log_softmax(input: Any, dim: int, dtype: DType | None = None) -> Any:
    """log softmax(x), without overflow."""
    x = input if dtype is None else cast(input, dtype)
    from fanal.ops.pointwise import detach

    dims = dims_of("log_softmax", dim, x.ndim)
    if 0 in x.shape:
        return x
    shifted = x - detach(reduced(reduce_max_p, x, dims, True))
    return shifted - log(reduced(reduce_sum_p, exp(shifted), dims, True))
