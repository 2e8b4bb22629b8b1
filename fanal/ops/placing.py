"""The primitive that replaces a part: what a write through a view is on values.

`put_slice(x, v)` is x with the elements at start + i·step replaced by v's. It is linear in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.core.dispatch import bind
from fanal.core.errors import message
from fanal.graph.ir import Type, Value
from fanal.ops.layout import (
    all_tangents,
    in_front,
    slice_p,
    zeros_like_type,
)
from fanal.ops.primitive import Primitive

Shape = tuple[int, ...]


def _infer(x: Value, v: Value, *, start: Shape, step: Shape) -> list[Type]:
    rows = list(zip(x.shape, v.shape, start, step, strict=True))
    inside = all(a >= 0 and s >= 1 and (m == 0 or a + (m - 1) * s < n) for n, m, a, s in rows)
    if x.dtype is not v.dtype or not inside:
        raise ValueError(
            message("put_slice", "the part lies outside", f"{v.type!r} at {start} by {step}", f"{x.type!r}")
        )
    return [x.type]


def _reference(x: Any, v: Any, *, start: Shape, step: Shape) -> Any:
    out = x.copy()
    out[tuple(slice(a, a + m * s, s) for a, m, s in zip(start, v.shape, step, strict=True))] = v
    return out


def part_of(x: Value, shape: Shape, start: Shape, step: Shape) -> Value:
    """The elements of x that a part of this shape replaces."""
    stop = tuple(a + ((m - 1) * s + 1 if m else 0) for a, m, s in zip(start, shape, step, strict=True))
    if (start, stop) == ((0,) * x.ndim, x.shape) and set(step) <= {1}:
        return x
    return bind(slice_p, x, start=start, stop=stop, step=step)


def _jvp(tangents: Sequence[Any], inputs: Any, outputs: Any, *, start: Shape, step: Shape) -> Any:
    return bind(put_slice_p, *all_tangents(tangents, inputs), start=start, step=step)


def _transpose(ct: Value, inputs: Any, linear: Any, *, start: Shape, step: Shape) -> Any:
    v = inputs[1]
    rest = bind(put_slice_p, ct, zeros_like_type(v), start=start, step=step) if linear[0] else None
    return [rest, part_of(ct, v.shape, start, step) if linear[1] else None]


def _batch(inputs: Any, axes: Any, size: int, *, start: Shape, step: Shape) -> Any:
    wide = [in_front(x, a, size) for x, a in zip(inputs, axes, strict=True)]
    return bind(put_slice_p, *wide, start=(0, *start), step=(1, *step)), 0


put_slice_p: Primitive = Primitive(
    name="put_slice",
    kind="layout",
    infer=_infer,
    reference=_reference,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    doc="x with the elements at start + i·step of each dimension replaced by those of v.",
)


def put_slice(x: Value, v: Value, start: Shape, step: Shape) -> Value:
    """x with a part replaced (v itself where that is all of x)."""
    if v.shape == x.shape and set(step) <= {1}:
        return v
    return bind(put_slice_p, x, v, start=tuple(start), step=tuple(step))
