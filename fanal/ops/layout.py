"""Primitives that move elements without computing: each is linear, its transpose stands beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fanal.core.dispatch import bind
from fanal.core.errors import message
from fanal.graph.ir import Type, Value
from fanal.ops.create import full_p
from fanal.ops.primitive import Primitive, contiguous_strides

Shape = tuple[int, ...]


def zeros_like_type(v: Value, shape: Shape | None = None) -> Value:
    """A graph constant of zeros with v's type."""
    value: bool | int | float = 0.0 if v.dtype.kind == "f" else 0
    return bind(full_p, value=value, shape=v.shape if shape is None else shape, dtype=v.dtype)


def linear_jvp(primitive: Primitive) -> Any:
    """jvp of an operation that is linear in its only differentiable input."""

    def jvp(tangents: Sequence[Any], inputs: Any, outputs: Any, **attributes: Any) -> Any:
        return bind(primitive, tangents[0], **attributes)

    return jvp


# -- reshape -----------------------------------------------------------------------------------------


def _reshape_infer(x: Value, *, shape: Shape) -> list[Type]:
    if math.prod(shape) != math.prod(x.shape):
        raise ValueError(message("reshape", "number of elements differs", f"{x.shape} to {shape}"))
    return [Type(x.dtype, tuple(shape))]


reshape_p: Primitive = Primitive(
    name="reshape",
    kind="layout",
    infer=_reshape_infer,
    reference=lambda x, *, shape: np.reshape(x, shape),
    transpose=lambda ct, inputs, linear, *, shape: [bind(reshape_p, ct, shape=inputs[0].shape)],
    batch=lambda inputs, axes, size, *, shape: (
        bind(reshape_p, move_axis(inputs[0], axes[0], 0), shape=(size, *shape)),
        0,
    ),
    doc="The same elements in row-major order under another shape.",
)

# -- permute -----------------------------------------------------------------------------------------


def _permute_infer(x: Value, *, dims: tuple[int, ...]) -> list[Type]:
    if sorted(dims) != list(range(x.ndim)):
        raise ValueError(message("permute", "not a permutation of the dimensions", dims))
    return [Type(x.dtype, tuple(x.shape[d] for d in dims))]


def _permute_batch(inputs: Any, axes: Any, size: int, *, dims: tuple[int, ...]) -> Any:
    shifted = tuple(d + (d >= axes[0]) for d in dims)
    return bind(permute_p, inputs[0], dims=(axes[0], *shifted)), 0


permute_p: Primitive = Primitive(
    name="permute",
    kind="layout",
    infer=_permute_infer,
    reference=lambda x, *, dims: np.transpose(x, dims),
    transpose=lambda ct, inputs, linear, *, dims: [
        bind(permute_p, ct, dims=tuple(int(i) for i in np.argsort(dims)))
    ],
    batch=_permute_batch,
    doc="The dimensions in another order.",
)


def move_axis(x: Value, source: int, to: int) -> Value:
    """`x` with one axis moved (no node when it is there already)."""
    if source == to:
        return x
    dims = [d for d in range(x.ndim) if d != source]
    dims.insert(to, source)
    return bind(permute_p, x, dims=tuple(dims))


def in_front(x: Value, axis: int | None, size: int) -> Value:
    """The batch axis as the first one; a value without one is repeated."""
    if axis is None:
        return expand_to(bind(reshape_p, x, shape=(1, *x.shape)), (size, *x.shape))
    return move_axis(x, axis, 0)


def all_tangents(tangents: Any, inputs: Any) -> list[Value]:
    """Tangents with zeros where an input has none."""
    return [zeros_like_type(x) if t is None else t for t, x in zip(tangents, inputs, strict=True)]


# -- expand ------------------------------------------------------------------------------------------


def _expand_infer(x: Value, *, shape: Shape) -> list[Type]:
    if len(shape) != x.ndim or any(a not in (1, b) for a, b in zip(x.shape, shape, strict=True)):
        raise ValueError(message("expand", "cannot expand", f"{x.shape} to {tuple(shape)}"))
    return [Type(x.dtype, tuple(shape))]


def _expand_transpose(ct: Value, inputs: Any, linear: Any, *, shape: Shape) -> Any:
    from fanal.ops.reduce import sum_to

    return [sum_to(ct, inputs[0].shape)]


def _expand_batch(inputs: Any, axes: Any, size: int, *, shape: Shape) -> Any:
    return bind(expand_p, move_axis(inputs[0], axes[0], 0), shape=(size, *shape)), 0


expand_p = Primitive(
    name="expand",
    kind="layout",
    infer=_expand_infer,
    reference=lambda x, *, shape: np.broadcast_to(x, shape),
    transpose=_expand_transpose,
    batch=_expand_batch,
    doc="Dimensions of extent 1 repeated.",
)


def expand_to(x: Value, shape: Shape) -> Value:
    """Broadcast to `shape`: leading dimensions are added, extents of 1 repeated."""
    if x.shape == shape:
        return x
    if x.ndim < len(shape):
        x = bind(reshape_p, x, shape=(1,) * (len(shape) - x.ndim) + x.shape)
    return x if x.shape == shape else bind(expand_p, x, shape=tuple(shape))


# -- slice, pad --------------------------------------------------------------------------------------


def _slice_infer(x: Value, *, start: Shape, stop: Shape, step: Shape) -> list[Type]:
    for extent, a, b, s in zip(x.shape, start, stop, step, strict=True):
        if not (0 <= a <= b <= extent and s >= 1):
            raise ValueError(message("slice", "bounds outside of the tensor", (a, b, s)))
    lengths = (-(-(b - a) // s) for a, b, s in zip(start, stop, step, strict=True))
    return [Type(x.dtype, tuple(lengths))]


def _slice_reference(x: Any, *, start: Shape, stop: Shape, step: Shape) -> Any:
    return x[tuple(slice(a, b, s) for a, b, s in zip(start, stop, step, strict=True))]


def _slice_transpose(
    ct: Value, inputs: Any, linear: Any, *, start: Shape, stop: Shape, step: Shape
) -> Any:
    x = inputs[0]
    high = []
    for extent, a, s, n in zip(x.shape, start, step, ct.shape, strict=True):
        covered = a + ((n - 1) * s + 1 if n else 0)
        high.append(extent - covered)
    interior = tuple(s - 1 for s in step)
    return [bind(pad_p, ct, low=tuple(start), high=tuple(high), interior=interior, value=0)]


def _slice_batch(
    inputs: Any, axes: Any, size: int, *, start: Shape, stop: Shape, step: Shape
) -> Any:
    x = move_axis(inputs[0], axes[0], 0)
    return bind(slice_p, x, start=(0, *start), stop=(size, *stop), step=(1, *step)), 0


slice_p = Primitive(
    name="slice",
    kind="layout",
    infer=_slice_infer,
    reference=_slice_reference,
    transpose=_slice_transpose,
    batch=_slice_batch,
    doc="Every step-th element from start to stop in each dimension (positive steps).",
)


def _pad_infer(x: Value, *, low: Shape, high: Shape, interior: Shape, value: Any) -> list[Type]:
    shape = []
    for n, a, b, i in zip(x.shape, low, high, interior, strict=True):
        extent = a + b + n + max(n - 1, 0) * i
        if extent < 0:
            raise ValueError(
                message("pad", "padding leaves a negative extent", f"{x.shape} with {low}, {high}")
            )
        shape.append(extent)
    return [Type(x.dtype, tuple(shape))]


def _pad_reference(x: Any, *, low: Shape, high: Shape, interior: Shape, value: Any) -> Any:
    (out,) = _pad_infer_shape(x.shape, low, high, interior)
    result = np.full(out, value, x.dtype)
    source, target = [], []
    for n, m, a, i in zip(x.shape, out, low, interior, strict=True):
        at = a + np.arange(n) * (i + 1)
        keep = (at >= 0) & (at < m)
        source.append(np.arange(n)[keep])
        target.append(at[keep])
    result[np.ix_(*target)] = x[np.ix_(*source)]
    return result


def _pad_infer_shape(shape: Shape, low: Shape, high: Shape, interior: Shape) -> tuple[Shape]:
    rows = zip(shape, low, high, interior, strict=True)
    return (tuple(a + b + n + max(n - 1, 0) * i for n, a, b, i in rows),)


def _pad_jvp(tangents: Any, inputs: Any, outputs: Any, *, value: Any, **a: Any) -> Any:
    return bind(pad_p, tangents[0], value=0, **a)


def _pad_transpose(
    ct: Value, inputs: Any, linear: Any, *, low: Shape, high: Shape, interior: Shape, value: Any
) -> Any:
    # Crop what was padded (negative padding), then take every (interior+1)-th element.
    n = inputs[0].ndim
    zero = (0,) * n
    crop = bind(
        pad_p, ct, low=tuple(-a for a in low), high=tuple(-b for b in high), interior=zero, value=0
    )
    if any(interior):
        step = tuple(i + 1 for i in interior)
        crop = bind(slice_p, crop, start=zero, stop=crop.shape, step=step)
    return [crop]


def _pad_batch(
    inputs: Any, axes: Any, size: int, *, low: Shape, high: Shape, interior: Shape, value: Any
) -> Any:
    x = move_axis(inputs[0], axes[0], 0)
    rows = {"low": (0, *low), "high": (0, *high), "interior": (0, *interior)}
    return bind(pad_p, x, value=value, **rows), 0


pad_p = Primitive(
    name="pad",
    kind="layout",
    infer=_pad_infer,
    reference=_pad_reference,
    jvp=_pad_jvp,
    transpose=_pad_transpose,
    batch=_pad_batch,
    doc=(
        "`low` and `high` elements of `value` added at the ends of each dimension (negative: "
        "removed), `interior` between neighbours."
    ),
)

# -- flip, concat ------------------------------------------------------------------------------------


def _flip_batch(inputs: Any, axes: Any, size: int, *, dims: Shape) -> Any:
    moved = tuple(d + 1 for d in dims)
    return bind(flip_p, move_axis(inputs[0], axes[0], 0), dims=moved), 0


flip_p: Primitive = Primitive(
    name="flip",
    kind="layout",
    infer=lambda x, *, dims: [x.type],
    reference=lambda x, *, dims: np.flip(x, dims),
    transpose=lambda ct, inputs, linear, *, dims: [bind(flip_p, ct, dims=dims)],
    batch=_flip_batch,
    doc="Dimensions in reverse order.",
)


def _concat_infer(*values: Value, dim: int) -> list[Type]:
    first = values[0]
    for v in values:
        rest = [e for d, e in enumerate(v.shape) if d != dim]
        if v.dtype is not first.dtype or rest != [e for d, e in enumerate(first.shape) if d != dim]:
            raise ValueError(
                message(
                    "cat", f"shapes differ outside of dimension {dim}",
                    ", ".join(str(x.shape) for x in values),
                )
            )
    shape = list(first.shape)
    shape[dim] = sum(v.shape[dim] for v in values)
    return [Type(first.dtype, tuple(shape))]


def slice_dim(x: Value, dim: int, start: int, stop: int, step: int = 1) -> Value:
    """Elements start..stop of one dimension."""
    if (start, stop, step) == (0, x.shape[dim], 1):
        return x
    starts, steps = [0] * x.ndim, [1] * x.ndim
    stops = list(x.shape)
    starts[dim], stops[dim], steps[dim] = start, stop, step
    return bind(slice_p, x, start=tuple(starts), stop=tuple(stops), step=tuple(steps))


def _concat_jvp(tangents: Any, inputs: Any, outputs: Any, *, dim: int) -> Any:
    return bind(concat_p, *all_tangents(tangents, inputs), dim=dim)


def _concat_transpose(ct: Value, inputs: Any, linear: Any, *, dim: int) -> Any:
    parts, at = [], 0
    for x, wanted in zip(inputs, linear, strict=True):
        parts.append(slice_dim(ct, dim, at, at + x.shape[dim]) if wanted else None)
        at += x.shape[dim]
    return parts


def _concat_batch(inputs: Any, axes: Any, size: int, *, dim: int) -> Any:
    moved = [in_front(x, a, size) for x, a in zip(inputs, axes, strict=True)]
    return bind(concat_p, *moved, dim=dim + 1), 0


concat_p = Primitive(
    name="concat",
    kind="layout",
    infer=_concat_infer,
    reference=lambda *xs, dim: np.concatenate(xs, dim),
    jvp=_concat_jvp,
    transpose=_concat_transpose,
    batch=_concat_batch,
    doc="Tensors one after another along a dimension.",
)

for _p in (reshape_p, permute_p, expand_p, slice_p, flip_p):
    _p.jvp = linear_jvp(_p)


def reshape_strides(
    shape: Shape, strides: Shape, new_shape: Shape
) -> tuple[int, ...] | None:
    """Strides under which a strided tensor has `new_shape` without a copy; None where impossible.

    Dimensions are grouped into runs that lie one after another in memory; a new dimension must not
    cross a run's border.
    """
    if math.prod(shape) == 0:
        return contiguous_strides(new_shape)
    old = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    runs: list[tuple[int, int]] = []  # (elements, innermost stride) of each contiguous run
    for n, s in old:
        if runs and runs[-1][1] == n * s:
            runs[-1] = (runs[-1][0] * n, s)
        else:
            runs.append((n, s))
    result: list[int] = []
    at = len(runs) - 1
    left = runs[at][0] if runs else 1
    step = runs[at][1] if runs else 1
    for n in reversed(new_shape):
        if n == 1:
            result.append(step * 1 if result == [] else result[-1])
            continue
        if left == 1:
            at -= 1
            if at < 0:
                return None
            left, step = runs[at]
        if left % n:
            return None
        result.append(step)
        left //= n
        step *= n
    return tuple(reversed(result)) if left == 1 and at <= 0 else None
