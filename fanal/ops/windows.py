"""Sliding windows as a view, and its transpose, which adds overlapping windows up.

`windows` turns each spatial dimension n into (positions, offsets): element (p, k) is
x[p·stride + k·dilation]. Pooling is a reduction over the offsets, unfold a reshape.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from fanal.core.dispatch import bind
from fanal.core.errors import message
from fanal.graph.ir import Type, Value
from fanal.ops.layout import move_axis
from fanal.ops.primitive import NUMBERS, Primitive

Ints = tuple[int, ...]


def positions(extent: int, size: int, stride: int, dilation: int) -> int:
    """How many windows of `size` elements fit."""
    reach = dilation * (size - 1) + 1
    return (extent - reach) // stride + 1 if extent >= reach else 0


def _infer(x: Value, *, first: int, size: Ints, stride: Ints, dilation: Ints) -> list[Type]:
    spatial = x.shape[first : first + len(size)]
    counts = tuple(map(positions, spatial, size, stride, dilation))
    if any(c <= 0 for c in counts):
        raise RuntimeError(
            message("windows", "a window is larger than the input", f"{spatial} with {size}")
        )
    return [Type(x.dtype, (*x.shape[:first], *counts, *size, *x.shape[first + len(size) :]))]


def window_strides(
    shape: Ints, strides: Ints, first: int, size: Ints, stride: Ints, dilation: Ints
) -> Ints:
    """Strides of the windowed view of a strided tensor."""
    n = len(size)
    inner = strides[first : first + n]
    steps = tuple(a * s for a, s in zip(inner, stride, strict=True))
    offsets = tuple(a * d for a, d in zip(inner, dilation, strict=True))
    return (*strides[:first], *steps, *offsets, *strides[first + n :])


def _reference(x: Any, *, first: int, size: Ints, stride: Ints, dilation: Ints) -> Any:
    spatial = x.shape[first : first + len(size)]
    counts = tuple(map(positions, spatial, size, stride, dilation))
    item = x.itemsize
    elements = tuple(s // item for s in x.strides)
    strides = window_strides(x.shape, elements, first, size, stride, dilation)
    shape = (*x.shape[:first], *counts, *size, *x.shape[first + len(size) :])
    return np.lib.stride_tricks.as_strided(x, shape, tuple(s * item for s in strides))


def _batch(inputs: Any, axes: Any, size_: int, *, first: int, **at: Any) -> Any:
    return bind(windows_p, move_axis(inputs[0], axes[0], 0), first=first + 1, **at), 0


windows_p: Primitive = Primitive(
    name="windows",
    kind="layout",
    infer=_infer,
    reference=_reference,
    jvp=lambda t, inputs, outputs, **at: bind(windows_p, t[0], **at),
    transpose=lambda ct, inputs, linear, *, first, size, stride, dilation: [
        bind(
            window_sum_p, ct, first=first, size=size, stride=stride, dilation=dilation,
            extents=inputs[0].shape[first : first + len(size)],
        )
    ],
    batch=_batch,
    doc="Sliding windows of the dimensions from `first` on: positions, then offsets.",
)


def _sum_infer(
    y: Value, *, first: int, size: Ints, stride: Ints, dilation: Ints, extents: Ints
) -> list[Type]:
    n = len(size)
    return [Type(y.dtype, (*y.shape[:first], *extents, *y.shape[first + 2 * n :]))]


def _sum_reference(
    y: Any, *, first: int, size: Ints, stride: Ints, dilation: Ints, extents: Ints
) -> Any:
    n = len(size)
    out = np.zeros((*y.shape[:first], *extents, *y.shape[first + 2 * n :]), y.dtype)
    lead = (slice(None),) * first
    counts = y.shape[first : first + n]
    for offset in itertools.product(*(range(k) for k in size)):
        place = tuple(
            slice(o * d, o * d + (c - 1) * s + 1, s)
            for o, d, c, s in zip(offset, dilation, counts, stride, strict=True)
        )
        out[lead + place] += y[lead + (slice(None),) * n + offset]
    return out


def _sum_batch(inputs: Any, axes: Any, size_: int, *, first: int, **at: Any) -> Any:
    return bind(window_sum_p, move_axis(inputs[0], axes[0], 0), first=first + 1, **at), 0


window_sum_p: Primitive = Primitive(
    name="window_sum",
    kind="window_sum",
    dtypes=NUMBERS,
    infer=_sum_infer,
    reference=_sum_reference,
    jvp=lambda t, inputs, outputs, **at: bind(window_sum_p, t[0], **at),
    transpose=lambda ct, inputs, linear, *, extents, **at: [bind(windows_p, ct, **at)],
    batch=_sum_batch,
    doc="Sums of overlapping windows: the transpose of `windows`. Offsets in row-major order.",
)
