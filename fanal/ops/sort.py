"""Sorting along a dimension: values with the indices that they came from."""

from __future__ import annotations

from typing import Any

import numpy as np

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.graph.ir import Type, Value
from fanal.ops.layout import move_axis
from fanal.ops.primitive import EVERY, Primitive, check_dtype


def _infer(x: Value, *, dim: int, descending: bool, count: int | None = None) -> list[Type]:
    check_dtype("sort", x.dtype, EVERY)
    shape = x.shape if count is None else (*x.shape[:dim], count, *x.shape[dim + 1 :])
    return [Type(x.dtype, shape), Type(dtypes.int64, shape)]


def _reference(x: Any, *, dim: int, descending: bool, count: int | None = None) -> Any:
    if descending:
        # Stable in descending order: sort the reversed array and reverse the result.
        order = np.flip(np.argsort(np.flip(x, dim), axis=dim, kind="stable"), dim)
        order = x.shape[dim] - 1 - order
    else:
        order = np.argsort(x, axis=dim, kind="stable")
    if count is not None:
        order = np.take(order, np.arange(count), dim)
    return np.take_along_axis(x, order, dim), order.astype(np.int64)


def _jvp(
    t: Any, inputs: Any, outputs: Any, *, dim: int, descending: bool, count: int | None = None
) -> Any:
    from fanal.ops.index import take_along

    return take_along(t[0], outputs[1], dim), None


def _batch(inputs: Any, axes: Any, size: int, *, dim: int, **attributes: Any) -> Any:
    x = move_axis(inputs[0], axes[0], 0)
    return bind(sort_p, x, dim=dim + 1, **attributes), (0, 0)


sort_p = Primitive(
    name="sort",
    kind="sort",
    infer=_infer,
    reference=_reference,
    multiple=True,
    jvp=_jvp,
    batch=_batch,
    smooth=False,
    doc="Sorted values and their indices (the first `count` of them, if given); equal elements keep "
    "their order, NaN counts as largest.",
)
