"""Values interleaved: what slices with one step, one for each offset, were taken from.

`interleave` of parts with step (1, 2) puts the first part's columns at 0, 2, 4, ... and the second's
at 1, 3, 5, .... Whole programs use it for the gradient of such slices (of pooling, for one).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from fanal.core.dispatch import bind
from fanal.core.errors import message
from fanal.graph.ir import Type, Value
from fanal.ops.layout import (
    Shape,
    expand_to,
    move_axis,
    reshape_p,
    slice_p,
    zeros_like_type,
)
from fanal.ops.primitive import Primitive


def offsets(step: Shape) -> Iterator[Shape]:
    """Where each part begins, in the order of the operands."""
    return itertools.product(*map(range, step))


def _infer(*parts: Value, step: Shape) -> list[Type]:
    first = parts[0]
    if len(parts) != math.prod(step) or any(p.type != first.type for p in parts):
        raise ValueError(
            message(
                "interleave", "parts differ, or there are too few or too many",
                ", ".join(str(p.type) for p in parts), f"{math.prod(step)} of one type",
            )
        )
    return [Type(first.dtype, tuple(n * s for n, s in zip(first.shape, step, strict=True)))]


def _reference(*parts: Any, step: Shape) -> Any:
    out = np.empty([n * s for n, s in zip(parts[0].shape, step, strict=True)], parts[0].dtype)
    for at, part in zip(offsets(step), parts, strict=True):
        out[tuple(slice(a, None, s) for a, s in zip(at, step, strict=True))] = part
    return out


def _jvp(tangents: Any, inputs: Any, outputs: Any, *, step: Shape) -> Any:
    full = [zeros_like_type(x) if t is None else t for t, x in zip(tangents, inputs, strict=True)]
    return bind(interleave_p, *full, step=step)


def _transpose(ct: Value, inputs: Any, linear: Any, *, step: Shape) -> Any:
    return [
        bind(slice_p, ct, start=at, stop=ct.shape, step=step) if wanted else None
        for at, wanted in zip(offsets(step), linear, strict=True)
    ]


def _batch(inputs: Any, axes: Any, size: int, *, step: Shape) -> Any:
    moved = [
        expand_to(bind(reshape_p, x, shape=(1, *x.shape)), (size, *x.shape))
        if a is None
        else move_axis(x, a, 0)
        for x, a in zip(inputs, axes, strict=True)
    ]
    return bind(interleave_p, *moved, step=(1, *step)), 0


interleave_p: Primitive = Primitive(
    name="interleave",
    kind="layout",
    infer=_infer,
    reference=_reference,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    doc="Parts at every step-th place, one part for each offset in row-major order.",
)
