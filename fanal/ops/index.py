"""Gather and scatter: reading and writing at computed places.

One primitive each: `gather` reads `x[..., i₁, …, i_k, …]` for index tensors of one shape and the
given dimensions, which come first in the result; `scatter` writes updates of that shape. All of
PyTorch's indexing functions are made of these two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.core.errors import message
from fanal.graph.ir import Type, Value
from fanal.ops.create import iota_p
from fanal.ops.layout import in_front, move_axis, zeros_like_type
from fanal.ops.primitive import Primitive

Dims = tuple[int, ...]


def _check_indices(name: str, x: Value, indices: Sequence[Value], dims: Dims) -> tuple[int, ...]:
    if len(indices) != len(dims) or not indices:
        raise ValueError(message(name, "one index tensor a dimension", len(indices), str(len(dims))))
    for i in indices:
        if i.dtype.kind not in "iu":
            raise IndexError(message(name, "indices must be integers", repr(i.dtype)))
        if i.shape != indices[0].shape:
            raise ValueError(message(name, "index shapes differ", i.shape, str(indices[0].shape)))
    return indices[0].shape


def _rest(shape: Dims, dims: Dims) -> Dims:
    return tuple(n for d, n in enumerate(shape) if d not in dims)


def _gather_infer(x: Value, *indices: Value, dims: Dims) -> list[Type]:
    shape = _check_indices("gather", x, indices, dims)
    return [Type(x.dtype, shape + _rest(x.shape, dims))]


def _front(x: Any, dims: Dims) -> Any:
    rest = [d for d in range(x.ndim) if d not in dims]
    return np.transpose(x, (*dims, *rest))


def _gather_reference(x: Any, *indices: Any, dims: Dims) -> Any:
    return _front(x, dims)[tuple(indices)]


def _gather_jvp(tangents: Any, inputs: Any, outputs: Any, *, dims: Dims) -> Any:
    return bind(gather_p, tangents[0], *inputs[1:], dims=dims)


def _gather_transpose(ct: Value, inputs: Any, linear: Any, *, dims: Dims) -> Any:
    zeros = zeros_like_type(inputs[0])
    out = bind(scatter_p, zeros, ct, *inputs[1:], dims=dims, mode="add")
    return [out] + [None] * (len(inputs) - 1)


def _gather_batch(inputs: Any, axes: Any, size: int, *, dims: Dims) -> Any:
    x, *indices = inputs
    moved = tuple(d + 1 for d in dims)
    wide = [in_front(i, a, size) for i, a in zip(indices, axes[1:], strict=True)]
    if axes[0] is None:
        return bind(gather_p, x, *wide, dims=dims), 0
    x = move_axis(x, axes[0], 0)
    rows = bind(iota_p, shape=wide[0].shape, dim=0, dtype=dtypes.int64)
    return bind(gather_p, x, rows, *wide, dims=(0, *moved)), 0


gather_p = Primitive(
    name="gather",
    kind="gather",
    infer=_gather_infer,
    reference=_gather_reference,
    jvp=_gather_jvp,
    transpose=_gather_transpose,
    batch=_gather_batch,
    doc="Elements at index tensors for the dimensions `dims`, the other dimensions behind.",
)


def _scatter_infer(x: Value, updates: Value, *indices: Value, dims: Dims, mode: str) -> list[Type]:
    shape = _check_indices("scatter", x, indices, dims)
    wanted = shape + _rest(x.shape, dims)
    if updates.shape != wanted or updates.dtype is not x.dtype:
        raise ValueError(message("scatter", "updates do not fit", updates.type, str(wanted)))
    return [x.type]


def _scatter_reference(x: Any, updates: Any, *indices: Any, dims: Dims, mode: str) -> Any:
    out = x.copy()
    front = _front(out, dims)
    table = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
    if mode == "set":
        front[tuple(indices)] = updates
    else:
        table[mode].at(front, tuple(indices), updates)
    return out


def _scatter_jvp(tangents: Any, inputs: Any, outputs: Any, *, dims: Dims, mode: str) -> Any:
    x, updates, *indices = inputs
    dx, du = (zeros_like_type(v) if t is None else t for v, t in zip(inputs[:2], tangents[:2]))
    if mode not in ("add", "set"):
        of_x, of_u = _scatter_weights(x, updates, indices, dims, mode)
        dx, du, mode = of_x * dx, of_u * du, "add"
    return bind(scatter_p, dx, du, *indices, dims=dims, mode=mode)


def _scatter_weights(
    x: Value, updates: Value, indices: Any, dims: Dims, mode: str
) -> tuple[Value, Value]:
    """Partial derivatives of the result's element at each place by x's element and each update.

    max, min: the elements that are equal to the result share it evenly. mul: the product of all
    other factors, found without dividing by zero.
    """
    from fanal.ops.arithmetic import cast_p
    from fanal.ops.pointwise import eq, where

    def gathered(v: Value) -> Value:
        return bind(gather_p, v, *indices, dims=dims)

    def scattered(a: Value, b: Value, how: str) -> Value:
        return bind(scatter_p, a, b, *indices, dims=dims, mode=how)

    if mode in ("max", "min"):
        y = scattered(x, updates, mode)
        hits = [bind(cast_p, eq(*p), dtype=x.dtype) for p in ((x, y), (updates, gathered(y)))]
        count = scattered(hits[0], hits[1], "add")
        return hits[0] / where(eq(count, 0.0), 1.0, count), hits[1] / gathered(count)
    zeros = [eq(v, 0.0) for v in (x, updates)]
    filled = [where(z, 1.0, v) for z, v in zip(zeros, (x, updates), strict=True)]
    counts = [bind(cast_p, z, dtype=x.dtype) for z in zeros]
    count = scattered(counts[0], counts[1], "add")
    product = scattered(filled[0], filled[1], "mul")
    pairs = ((count, product), (gathered(count), gathered(product)))
    rows = zip(zeros, filled, pairs, strict=True)
    of_x, of_u = (
        where(zero, where(eq(n, 1.0), p, 0.0), where(eq(n, 0.0), p / v, 0.0))
        for zero, v, (n, p) in rows
    )
    return of_x, of_u


def _scatter_transpose(
    ct: Value, inputs: Any, linear: Any, *, dims: Dims, mode: str
) -> Any:
    x, updates, *indices = inputs
    if mode not in ("add", "set"):
        # Not linear: this is the transpose of the jvp.
        of_x, of_u = _scatter_weights(x, updates, indices, dims, mode)
        back = bind(gather_p, ct, *indices, dims=dims)
        return [of_x * ct, of_u * back] + [None] * len(indices)
    taken = bind(gather_p, ct, *indices, dims=dims) if linear[1] else None
    kept = None
    if linear[0]:
        kept = ct
        if mode == "set":
            zeros = zeros_like_type(updates)
            kept = bind(scatter_p, ct, zeros, *indices, dims=dims, mode="set")
    return [kept, taken] + [None] * len(indices)


def _scatter_batch(inputs: Any, axes: Any, size: int, *, dims: Dims, mode: str) -> Any:
    x, updates, *indices = (in_front(v, a, size) for v, a in zip(inputs, axes, strict=True))
    rows = bind(iota_p, shape=indices[0].shape, dim=0, dtype=dtypes.int64)
    moved = (0, *(d + 1 for d in dims))
    return bind(scatter_p, x, updates, rows, *indices, dims=moved, mode=mode), 0


scatter_p = Primitive(
    name="scatter",
    kind="scatter",
    infer=_scatter_infer,
    reference=_scatter_reference,
    jvp=_scatter_jvp,
    transpose=_scatter_transpose,
    batch=_scatter_batch,
    doc=(
        "A copy of x with updates written at index tensors for the dimensions `dims`. mode: set "
        "(the last of several wins), add, mul, max, min; in order of the updates."
    ),
)


def take_along(x: Value, index: Value, dim: int) -> Value:
    """x[..., index, ...] along one dimension, the other dimensions matched one to one."""
    shape = index.shape
    places = [
        index if d == dim else bind(iota_p, shape=shape, dim=d, dtype=dtypes.int64)
        for d in range(x.ndim)
    ]
    return bind(gather_p, x, *places, dims=tuple(range(x.ndim)))
