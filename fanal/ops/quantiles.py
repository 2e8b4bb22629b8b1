"""Quantiles of lines, between neighbours by five kinds of interpolation."""

from __future__ import annotations

import math
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused
from fanal.core.errors import message
from fanal.graph.ir import Value
from fanal.ops.arithmetic import round_p
from fanal.ops.index import take_along
from fanal.ops.layout import expand_to, move_axis
from fanal.ops.ordering import sorted_line
from fanal.ops.pointwise import ceil, floor, ne, where
from fanal.ops.primitive import normalize_dim
from fanal.ops.promotion import cast, constant
from fanal.ops.reduce import reduce_sum_p
from fanal.ops.shape import reshaped

KINDS = ("linear", "lower", "higher", "midpoint", "nearest")


@fused(scalars=("q",))
def _quantile(
    input: Any, q: Any, dim: int | None, keepdim: bool, interpolation: str, ignore_nan: bool
) -> Any:
    name = "nanquantile" if ignore_nan else "quantile"
    if input.dtype not in (dtypes.float32, dtypes.float64):
        raise RuntimeError(
            message(name, "only for float32 and float64", repr(input.dtype), hint=".float()")
        )
    if not isinstance(q, Value):
        q = constant(q, input.dtype)
    if not q.weak and q.dtype is not input.dtype:
        raise RuntimeError(
            message(name, "q has another dtype", repr(q.dtype), f"the input's, {input.dtype!r}")
        )
    if q.ndim > 1:
        raise RuntimeError(message(name, "q is not a number or vector", q.shape))
    if interpolation not in KINDS:
        raise RuntimeError(
            message(name, "unknown interpolation", repr(interpolation), ", ".join(KINDS))
        )
    if dim is None:
        x, d = reshaped(input, (math.prod(input.shape),)), 0
        kept: tuple[int, ...] = (1,) * input.ndim
    else:
        d = normalize_dim(name, dim, input.ndim)
        x = input if input.ndim else reshaped(input, (1,))
        kept = tuple(1 if i == d else n for i, n in enumerate(input.shape))
    if math.prod(x.shape) == 0:
        raise RuntimeError(message(name, "the input is empty", input.shape))
    line = move_axis(x, d, x.ndim - 1)
    values = _interpolated(line, cast(q, input.dtype), interpolation, ignore_nan)
    rest = line.shape[:-1]
    # The quantiles' dimension comes first.
    values = move_axis(values, values.ndim - 1, 0)
    shape = kept if keepdim else rest
    return reshaped(values, (*q.shape, *shape))


def _interpolated(line: Value, q: Value, kind: str, ignore_nan: bool) -> Value:
    """(…, n) and q () or (k,) → (…, k)."""
    n = line.shape[-1]
    ordered = sorted_line(line, line.ndim - 1).values
    wild = cast(ne(line, line), dtypes.int64)
    missing = reshaped(
        bind(reduce_sum_p, wild, dims=(line.ndim - 1,)), (*line.shape[:-1], 1)
    )
    count = q.shape[0] if q.ndim else 1
    shape = (*line.shape[:-1], count)
    last = cast(n - 1 - missing, q.dtype) if ignore_nan else float(n - 1)
    rank = expand_to(reshaped(q, (count,)), shape) * last
    if ignore_nan:
        rank = where(rank < 0.0, 0.0, rank)  # nothing but NaN: the first of them
    else:
        rank = where(expand_to(missing, shape) > 0, float(n - 1), rank)  # NaN comes last
    if kind in ("lower", "higher", "nearest"):
        step = {"lower": floor, "higher": ceil, "nearest": _nearest}[kind]
        return _at(ordered, step(rank))
    low = floor(rank)
    below, above = _at(ordered, low), _at(ordered, ceil(rank))
    from fanal.ops.formulas import lerp

    if kind == "midpoint":
        return lerp(below, above, 0.5)
    return lerp(below, above, rank - low)


def _nearest(x: Value) -> Value:
    return bind(round_p, x)


def _at(ordered: Value, rank: Value) -> Value:
    return take_along(ordered, cast(rank, dtypes.int64), ordered.ndim - 1)


def _checked(name: str, q: Any) -> Any:
    """Numbers are checked here; tensors' values are not read."""
    if isinstance(q, int | float) and not 0 <= q <= 1:
        raise RuntimeError(message(name, "q is out of range", q, "a number from 0 to 1"))
    return float(q) if isinstance(q, int | float) else q


def quantile(
    input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *,
    interpolation: str = "linear",
) -> Any:  # fmt: skip
    """The q-quantiles (numbers from 0 to 1) along a dimension, or of all elements.

    Shapes: q () → the reduced shape; q (k,) → (k, reduced shape). NaN in a line gives NaN. Raises
    RuntimeError for other dtypes than float32 and float64.
    """
    return _quantile(input, _checked("quantile", q), dim, keepdim, interpolation, False)


def nanquantile(
    input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *,
    interpolation: str = "linear",
) -> Any:  # fmt: skip
    """Quantiles of the elements that are not NaN; see `quantile`."""
    return _quantile(input, _checked("nanquantile", q), dim, keepdim, interpolation, True)
