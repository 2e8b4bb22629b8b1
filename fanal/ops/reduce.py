"""Primitives that reduce dimensions. The reduced dimensions vanish; public functions keep them.

Order of accumulation (sum, prod): adjacent reduced dimensions count as one logical index; see the
native backend's reduction rule for the tree over it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.core.errors import message
from fanal.graph.ir import Type, Value
from fanal.ops.layout import expand_to, move_axis, reshape_p
from fanal.ops.primitive import BOOL, EVERY, NUMBERS, Primitive, check_dtype

Dims = tuple[int, ...]


def kept_shape(shape: Dims, dims: Dims) -> Dims:
    """The shape with the given dimensions taken out."""
    return tuple(n for d, n in enumerate(shape) if d not in dims)


def ones_shape(shape: Dims, dims: Dims) -> Dims:
    """The shape with the given dimensions at extent 1 (keepdim)."""
    return tuple(1 if d in dims else n for d, n in enumerate(shape))


def spread(reduced: Value, like: Value, dims: Dims) -> Value:
    """A reduced value repeated over the dimensions that were reduced."""
    return expand_to(bind(reshape_p, reduced, shape=ones_shape(like.shape, dims)), like.shape)


def _batch(primitive: Primitive) -> Callable[..., Any]:
    def batch(inputs: Any, axes: Any, size: int, *, dims: Dims) -> Any:
        moved = tuple(d + 1 for d in dims)
        return bind(primitive, move_axis(inputs[0], axes[0], 0), dims=moved), 0

    return batch


def _reduction(
    name: str, reference: Callable[..., Any], allowed: Any, empty: bool, **fields: Any
) -> Primitive:
    def infer(x: Value, *, dims: Dims) -> list[Type]:
        check_dtype(name, x.dtype, allowed)
        if not empty and any(x.shape[d] == 0 for d in dims):
            raise IndexError(
                message(
                    name.removeprefix("reduce_"), "no value for a dimension without elements",
                    x.shape,
                )
            )
        return [Type(x.dtype, kept_shape(x.shape, dims))]

    primitive = Primitive(
        name=name, kind="reduce", infer=infer, reference=reference, dtypes=allowed, **fields
    )
    primitive.batch = _batch(primitive)
    return primitive


def _sum_transpose(ct: Value, inputs: Any, linear: Any, *, dims: Dims) -> Any:
    return [spread(ct, inputs[0], dims)]


reduce_sum_p: Primitive = _reduction(
    "reduce_sum",
    lambda x, *, dims: np.sum(x, axis=dims, dtype=x.dtype),
    NUMBERS,
    True,
    transpose=_sum_transpose,
    jvp=lambda t, inputs, outputs, *, dims: bind(reduce_sum_p, t[0], dims=dims),
    doc="Sum of the elements; 0 for none. Integers wrap around.",
)


def sum_to(x: Value, shape: Dims) -> Value:
    """Sum of the dimensions in which x is larger than `shape` (the transpose of broadcasting)."""
    if x.shape == shape:
        return x
    extra = x.ndim - len(shape)
    wide = (1,) * extra + tuple(shape)
    dims = tuple(d for d, (a, b) in enumerate(zip(x.shape, wide, strict=True)) if a != b)
    if dims:
        x = bind(reduce_sum_p, x, dims=dims)
    return x if x.shape == tuple(shape) else bind(reshape_p, x, shape=tuple(shape))


def _prod_jvp(t: Any, inputs: Any, outputs: Any, *, dims: Dims) -> Any:
    # Products of all others, without dividing (elements may be zero): an exclusive product from
    # either side. The reduced dimensions are brought together as one.
    x = inputs[0]
    kept = tuple(d for d in range(x.ndim) if d not in dims)
    from fanal.ops.cumulative import exclusive_product
    from fanal.ops.layout import permute_p

    def together(v: Value) -> Value:
        v = bind(permute_p, v, dims=kept + dims)
        return bind(reshape_p, v, shape=(*outputs[0].shape, _count(x, dims)))

    flat, tangent = together(x), together(t[0])
    axis = flat.ndim - 1
    others = exclusive_product(flat, axis, False) * exclusive_product(flat, axis, True)
    return bind(reduce_sum_p, others * tangent, dims=(axis,))


def _count(x: Value, dims: Dims) -> int:
    return functools.reduce(lambda a, d: a * x.shape[d], dims, 1)


reduce_prod_p = _reduction(
    "reduce_prod",
    lambda x, *, dims: np.prod(x, axis=dims, dtype=x.dtype),
    NUMBERS,
    True,
    jvp=_prod_jvp,
    doc="Product of the elements; 1 for none.",
    domain=(0.5, 1.5),
)


def _extreme_jvp(t: Any, inputs: Any, outputs: Any, *, dims: Dims) -> Any:
    # Ties share the derivative evenly, as PyTorch's amax and amin do.
    x, y = inputs[0], outputs[0]
    from fanal.ops.arithmetic import cast_p, eq_p

    hits = bind(eq_p, x, spread(y, x, dims))
    weight = bind(cast_p, hits, dtype=x.dtype)
    count = bind(reduce_sum_p, weight, dims=dims)
    return bind(reduce_sum_p, weight * t[0], dims=dims) / count


def _nan_extreme(f: Any) -> Any:
    return lambda x, *, dims: f(x, axis=dims)


reduce_max_p = _reduction(
    "reduce_max", _nan_extreme(np.max), EVERY, False, jvp=_extreme_jvp, smooth=False,
    doc="The largest element; NaN if any is NaN.",
)  # fmt: skip
reduce_min_p = _reduction(
    "reduce_min", _nan_extreme(np.min), EVERY, False, jvp=_extreme_jvp, smooth=False,
    doc="The smallest element; NaN if any is NaN.",
)  # fmt: skip
reduce_any_p = _reduction(
    "reduce_any", lambda x, *, dims: np.any(x, axis=dims), BOOL, True,
    doc="Whether any element is true; False for none.",
)  # fmt: skip
reduce_all_p = _reduction(
    "reduce_all", lambda x, *, dims: np.all(x, axis=dims), BOOL, True,
    doc="Whether all elements are true; True for none.",
)  # fmt: skip


def _arg(name: str, reference: Callable[..., Any], doc: str) -> Primitive:
    def infer(x: Value, *, dim: int) -> list[Type]:
        check_dtype(name, x.dtype, EVERY)
        if x.shape[dim] == 0:
            raise IndexError(message(name, "no index in a dimension without elements", x.shape))
        return [Type(dtypes.int64, kept_shape(x.shape, (dim,)))]

    def batch(inputs: Any, axes: Any, size: int, *, dim: int) -> Any:
        return bind(primitive, move_axis(inputs[0], axes[0], 0), dim=dim + 1), 0

    primitive = Primitive(
        name=name,
        kind="arg_reduce",
        infer=infer,
        reference=lambda x, *, dim: reference(x, axis=dim).astype(np.int64),
        jvp=lambda t, inputs, outputs, *, dim: None,
        batch=batch,
        doc=doc,
    )
    return primitive


argmax_p = _arg("argmax", np.argmax, "Index of the first largest element (of the first NaN).")
argmin_p = _arg("argmin", np.argmin, "Index of the first smallest element (of the first NaN).")
