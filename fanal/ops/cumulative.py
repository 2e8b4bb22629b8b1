"""Running sums, products and extremes along one dimension, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.graph.ir import Type, Value
from fanal.ops.layout import flip_p, move_axis, pad_p, slice_dim
from fanal.ops.primitive import EVERY, NUMBERS, Primitive, check_dtype


def _cumulative(
    name: str, reference: Callable[..., Any], allowed: Any, multiple: bool, **fields: Any
) -> Primitive:
    def infer(x: Value, *, dim: int) -> list[Type]:
        check_dtype(name, x.dtype, allowed)
        return [x.type, Type(dtypes.int64, x.shape)] if multiple else [x.type]

    def batch(inputs: Any, axes: Any, size: int, *, dim: int) -> Any:
        out = bind(primitive, move_axis(inputs[0], axes[0], 0), dim=dim + 1)
        return out, (0, 0) if multiple else 0

    primitive = Primitive(
        name=name, kind="cumulative", infer=infer, reference=reference, dtypes=allowed,
        multiple=multiple, batch=batch, **fields,
    )  # fmt: skip
    return primitive


def reversed_sum(x: Value, dim: int) -> Value:
    """Sums from each element to the end."""
    back = bind(flip_p, x, dims=(dim,))
    return bind(flip_p, bind(cumsum_p, back, dim=dim), dims=(dim,))


cumsum_p: Primitive = _cumulative(
    "cumsum",
    lambda x, *, dim: np.cumsum(x, dim, dtype=x.dtype),
    NUMBERS,
    False,
    jvp=lambda t, inputs, outputs, *, dim: bind(cumsum_p, t[0], dim=dim),
    transpose=lambda ct, inputs, linear, *, dim: [reversed_sum(ct, dim)],
    doc="y_i = x_0 + … + x_i along a dimension.",
)


def exclusive_product(x: Value, dim: int, from_end: bool) -> Value:
    """Products of all elements before each one (after it, with `from_end`)."""
    if from_end:
        x = bind(flip_p, x, dims=(dim,))
    n = x.shape[dim]
    low = tuple(int(d == dim) for d in range(x.ndim))
    zero = (0,) * x.ndim
    shifted = slice_dim(x, dim, 0, max(n - 1, 0))
    if n:
        value = 1.0 if x.dtype.kind == "f" else 1
        shifted = bind(pad_p, shifted, low=low, high=zero, interior=zero, value=value)
    out = bind(cumprod_p, shifted, dim=dim)
    return bind(flip_p, out, dims=(dim,)) if from_end else out


def _cumprod_jvp(t: Any, inputs: Any, outputs: Any, *, dim: int) -> Any:
    # dy_i = Σ_{j≤i} t_j · Π_{k≤i, k≠j} x_k. Without zeros this is y · cumsum(t / x). With them the
    # recurrence dy_i = dy_{i-1}·x_i + y_{i-1}·t_i is unrolled by doubling over pairs (x, dy).
    x = inputs[0]
    n = x.shape[dim]
    value, tangent = x, t[0]
    step = 1
    while step < n:
        value, tangent = _double(value, tangent, dim, step)
        step *= 2
    return tangent


def _double(value: Value, tangent: Value, dim: int, step: int) -> tuple[Value, Value]:
    """One step of a parallel scan of the pairs (v, t): (v₁v₂, t₁v₂ + v₁t₂)."""
    n = value.shape[dim]

    def shifted(x: Value, fill: float) -> Value:
        low = tuple(step if d == dim else 0 for d in range(x.ndim))
        high = tuple(-step if d == dim else 0 for d in range(x.ndim))
        return bind(pad_p, x, low=low, high=high, interior=(0,) * x.ndim, value=fill)

    del n
    before_v, before_t = shifted(value, 1.0), shifted(tangent, 0.0)
    return before_v * value, before_t * value + before_v * tangent


cumprod_p = _cumulative(
    "cumprod",
    lambda x, *, dim: np.cumprod(x, dim, dtype=x.dtype),
    NUMBERS,
    False,
    jvp=_cumprod_jvp,
    doc="y_i = x_0 · … · x_i along a dimension.",
    domain=(0.5, 1.5),
)


def _running(better: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def reference(x: Any, *, dim: int) -> Any:
        moved = np.moveaxis(x, dim, 0)
        values, indices = moved.copy(), np.zeros(moved.shape, np.int64)
        for i in range(1, len(moved)):
            wins = better(moved[i], values[i - 1]) | (moved[i] == values[i - 1])
            if x.dtype.kind == "f":
                wins = (wins & ~np.isnan(values[i - 1])) | np.isnan(moved[i])
            values[i] = np.where(wins, moved[i], values[i - 1])
            indices[i] = np.where(wins, i, indices[i - 1])
        return np.moveaxis(values, 0, dim), np.moveaxis(indices, 0, dim)

    return reference


def _extreme_jvp(t: Any, inputs: Any, outputs: Any, *, dim: int) -> Any:
    from fanal.ops.index import take_along

    return take_along(t[0], outputs[1], dim), None


cummax_p = _cumulative(
    "cummax", _running(np.greater), EVERY, True, jvp=_extreme_jvp, smooth=False,
    doc="Running maximum and the index of its last occurrence; NaN stays.",
)  # fmt: skip
cummin_p = _cumulative(
    "cummin", _running(np.less), EVERY, True, jvp=_extreme_jvp, smooth=False,
    doc="Running minimum and the index of its last occurrence; NaN stays.",
)  # fmt: skip
