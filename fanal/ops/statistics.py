"""Statistics of elements: variances with both of PyTorch's spellings, covariance, counts, extremes."""

from __future__ import annotations

import math
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import fused, is_tracing
from fanal.core.dtypes import DType
from fanal.core.errors import message
from fanal.core.symbols import real
from fanal.graph.ir import Value
from fanal.ops import reductions
from fanal.ops.comparing import as_bool, clamp
from fanal.ops.diagonals import diagonal_copy
from fanal.ops.pointwise import eq, lt, ne, sqrt, where
from fanal.ops.promotion import cast, result_type, to_float
from fanal.ops.reduce import reduce_max_p, reduce_min_p
from fanal.ops.reductions import Dim, dims_of, reduced
from fanal.ops.reductions import sum as sum_
from fanal.ops.results import MinMax
from fanal.ops.shape import reshaped


@fused
def _spread(
    input: Any, dim: Dim, correction: float, keepdim: bool, root: bool, with_mean: bool, name: str
) -> Any:
    if input.dtype.kind != "f":
        raise RuntimeError(
            message(name, "only for floating tensors", repr(input.dtype), hint=".float()")
        )
    dims = dims_of(name, dim, input.ndim)
    x = cast(input, dtypes.float32) if input.dtype.bits == 16 else input
    square, mean = reductions.variance(x, dims, correction, keepdim)
    first = cast(sqrt(square) if root else square, input.dtype)
    return (first, cast(mean, input.dtype)) if with_mean else first


def _variance(name: str, root: bool, with_mean: bool, doc: str) -> Any:
    def function(
        input: Any, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *,
        correction: float | None = None,
    ) -> Any:  # fmt: skip
        if isinstance(dim, bool):  # var(x, unbiased)
            dim, unbiased = None, dim
        if unbiased is not None and correction is not None:
            raise TypeError(message(name, "unbiased and correction both given", hint="correction"))
        if unbiased is not None:
            correction = int(unbiased)
        divisor = 1 if correction is None else correction
        return _spread(input, dim, divisor, keepdim, root, with_mean, name)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc + (
        "\n\n    The sum is divided by the number of elements less `correction` (1; `unbiased`: 1 or 0)."
    )
    return function


var = _variance("var", False, False, "Variance over dimensions (all by default).")
std = _variance("std", True, False, "Standard deviation over dimensions (all by default).")
var_mean = _variance("var_mean", False, True, "Variance and mean over dimensions.")
std_mean = _variance("std_mean", True, True, "Standard deviation and mean over dimensions.")


@fused
def nanmean(
    input: Any, dim: Dim = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Any:
    """Mean of the elements that are not NaN (NaN if there is none)."""
    x = input if dtype is None else cast(input, dtype)
    if x.dtype.kind != "f":
        raise RuntimeError(message("nanmean", "only for floating tensors", repr(x.dtype)))
    wide = cast(x, dtypes.float32) if x.dtype.bits == 16 else x
    total = sum_(where(ne(wide, wide), 0.0, wide), dim, keepdim)
    count = sum_(cast(eq(wide, wide), wide.dtype), dim, keepdim)
    return cast(total / count, x.dtype)


@fused
def _aminmax(input: Any, dim: int | None, keepdim: bool) -> Any:
    dims = dims_of("aminmax", dim, input.ndim)
    if 0 in input.shape and dim is None:
        raise RuntimeError(message("aminmax", "no value for a tensor without elements", input.shape))
    return MinMax(*(reduced(p, input, dims, keepdim) for p in (reduce_min_p, reduce_max_p)))


def aminmax(input: Any, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """The smallest and the largest element, of all or along a dimension."""
    return _aminmax(input, dim, keepdim)


@fused
def count_nonzero(input: Any, dim: Dim = None) -> Any:
    """How many elements are not zero, over dimensions."""
    return sum_(cast(as_bool(input), dtypes.int64), dim)


@fused
def _cov(input: Any, correction: float, fweights: Any, aweights: Any) -> Any:
    if input.ndim > 2:
        raise RuntimeError(message("cov", "more than two dimensions", input.shape, "variables in rows"))
    x = input if input.dtype.kind == "f" else cast(input, to_float(input.dtype))
    if aweights is not None and aweights.dtype.kind == "f":
        x = cast(x, result_type(x, aweights))
    x = reshaped(x, (1, math.prod(x.shape))) if x.ndim < 2 else x
    n = x.shape[1]
    weights = _weights(x, fweights, aweights)
    if weights is None:
        total: Any = real(n)
        mean = sum_(x, 1, True) / total
        centered = x - mean
        scaled = centered
        norm: Any = real(n) - correction
    else:
        total = sum_(weights)
        mean = sum_(x * weights, 1, True) / total
        centered = x - mean
        scaled = centered * weights
        if aweights is None:
            norm = total - correction
        else:
            again = weights * cast(aweights, x.dtype)
            norm = total - sum_(again) * correction / total
    if isinstance(norm, Value):
        norm = where(norm <= 0.0, 0.0, norm)
    else:
        norm = max(norm, 0.0)
    from fanal.ops.linear import matmul
    from fanal.ops.shape import permuted

    product = matmul(scaled, permuted(centered, (1, 0)))
    out = product / norm if isinstance(norm, Value) or norm else product * math.inf
    rows = x.shape[0]
    return reshaped(out, () if rows == 1 else (rows, rows))


def _weights(x: Value, fweights: Any, aweights: Any) -> Value | None:
    found = None
    for name, w in (("fweights", fweights), ("aweights", aweights)):
        if w is None:
            continue
        if w.shape != (x.shape[1],):
            raise RuntimeError(
                message("cov", f"{name} are not one number an observation", w.shape, f"({x.shape[1]},)")
            )
        if name == "fweights" and w.dtype.kind not in "iu":
            raise RuntimeError(message("cov", "fweights are not integers", repr(w.dtype)))
        w = cast(w, x.dtype)
        found = w if found is None else found * w
    return found


def cov(
    input: Any, *, correction: int = 1, fweights: Any = None, aweights: Any = None
) -> Any:
    """Covariances of variables (rows) over observations (columns): (n, m) → (n, n).

    fweights: how often each observation counts; aweights: its relative importance.
    """
    for name, weights in (("fweights", fweights), ("aweights", aweights)):
        if weights is not None and not is_tracing() and bool(lt(weights, 0).any()):
            raise RuntimeError(message("cov", f"{name} are negative"))
    return _cov(input, correction, fweights, aweights)


@fused
def corrcoef(input: Any) -> Any:
    """Pearson's correlation of variables (rows) over observations (columns): (n, m) → (n, n)."""
    c = _cov(input, 1, None, None)
    if c.ndim == 0:
        return c / c
    root = sqrt(diagonal_copy(c))
    n = c.shape[0]
    return clamp(c / reshaped(root, (n, 1)) / reshaped(root, (1, n)), -1.0, 1.0)
