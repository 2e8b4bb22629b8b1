"""Operations that move elements: reshape, permute, expand, slice, pad, flip, concat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.core import dtypes
from fanal.core.dtypes import DType
from fanal.core.symbols import is_symbolic
from fanal.export.onnx.records import Ref
from fanal.export.onnx.registry import rule
from fanal.export.onnx.writer import LAST, Writer, is_number, is_one, same_dim

Shape = Sequence[Any]


def moved(w: Writer, op: str, x: Ref, inputs: Sequence[Ref | str], shape: Shape, **at: Any) -> Ref:
    """A node that moves the elements of x, through a dtype that the operator takes."""
    dtype = w.dtype_for(op, x.dtype)
    return w.cast(w.op(op, [w.cast(x, dtype), *inputs], dtype, shape, **at), x.dtype)


def _is_number(x: Ref) -> bool:
    """Whether all elements are one number, which is nowhere written out."""
    return x.held == ()


def transposed(w: Writer, x: Ref, dims: Sequence[int]) -> Ref:
    """Dimensions in another order; of what broadcasts, only what is there is moved."""
    shape = tuple(x.shape[d] for d in dims)
    if list(dims) == list(range(x.ndim)):
        return x
    if _is_number(x):
        return Ref(x.name, x.dtype, shape, ())
    x = w.aligned(x)
    held = tuple(x.held[d] for d in dims)
    y = w.op("Transpose", [x], x.dtype, held, perm=tuple(dims))
    return Ref(y.name, y.dtype, shape, held)


@rule("reshape")
def _reshape(w: Writer, node: Any, x: Ref) -> Ref:
    shape = node.attributes["shape"]
    if _is_number(x):
        return Ref(x.name, x.dtype, tuple(shape), ())
    return w.reshape(w.whole(x), shape)


@rule("permute")
def _permute(w: Writer, node: Any, x: Ref) -> Ref:
    return transposed(w, x, node.attributes["dims"])


@rule("expand")
def _expand(w: Writer, node: Any, x: Ref) -> Ref:
    return Ref(x.name, x.dtype, tuple(node.attributes["shape"]), x.held)


@rule("slice")
def _slice(w: Writer, node: Any, x: Ref) -> Ref:
    at = node.attributes
    return sliced(w, x, at["start"], at["stop"], at["step"], node.outputs[0].shape)


def sliced(w: Writer, x: Ref, start: Shape, stop: Shape, step: Shape, shape: Shape) -> Ref:
    """Every step-th element from start to stop."""
    if _is_number(x):
        return Ref(x.name, x.dtype, tuple(shape), ())
    whole = [
        is_number(a, 0) and is_one(s) and same_dim(b, n)
        for n, a, b, s in zip(x.shape, start, stop, step, strict=True)
    ]
    axes = [d for d, all_of_it in enumerate(whole) if not all_of_it]
    if not axes:
        return x
    ends = [LAST if same_dim(stop[d], x.shape[d]) else stop[d] for d in axes]
    inputs = [w.sizes([start[d] for d in axes]), w.sizes(ends), w.ints(axes), w.sizes([step[d] for d in axes])]
    return moved(w, "Slice", w.whole(x), inputs, shape)


@rule("pad")
def _pad(w: Writer, node: Any, x: Ref) -> Ref:
    at = node.attributes
    return padded(w, x, at["low"], at["high"], at["interior"], at["value"], node.outputs[0].shape)


def padded(
    w: Writer, x: Ref, low: Shape, high: Shape, interior: Shape, value: Any, shape: Shape
) -> Ref:
    """Elements added at the ends (negative: removed) and in between."""
    x = w.whole(x)
    for d, extra in enumerate(interior):
        if not is_number(extra, 0):
            x = _spread(w, x, d, extra, value)
    if all(is_number(n, 0) for n in (*low, *high)):
        return x
    dtype = w.dtype_for("Pad", x.dtype)
    fill = w.number(value, x.dtype)
    y = w.op("Pad", [w.cast(x, dtype), w.sizes([*low, *high]), w.cast(fill, dtype)], dtype, shape)
    return w.cast(y, x.dtype)


def _spread(w: Writer, x: Ref, d: int, extra: Any, value: Any) -> Ref:
    """Elements of a value behind each one of a dimension, except the last: as a dimension of its own,
    then merged and cut."""
    apart = (*x.shape[: d + 1], 1, *x.shape[d + 1 :])
    zero = (0,) * len(apart)
    high = tuple(extra if i == d + 1 else 0 for i in range(len(apart)))
    wide = (*x.shape[: d + 1], extra + 1, *x.shape[d + 1 :])
    y = padded(w, w.reshape(x, apart), zero, high, zero, value, wide)
    n = x.shape[d]
    merged = (*x.shape[:d], n * (extra + 1), *x.shape[d + 1 :])
    y = w.reshape(y, merged)
    if is_number(n, 0):
        return y
    first = (0,) * len(merged)
    shape = (*x.shape[:d], n * (extra + 1) - extra, *x.shape[d + 1 :])
    return sliced(w, y, first, shape, (1,) * len(merged), shape)


@rule("flip")
def _flip(w: Writer, node: Any, x: Ref) -> Ref:
    dims = node.attributes["dims"]
    if _is_number(x) or not dims:
        return x
    n = len(dims)
    # From the last element down, to before the first.
    inputs = [w.ints([-1] * n), w.ints([-LAST] * n), w.ints(dims), w.ints([-1] * n)]
    return moved(w, "Slice", w.whole(x), inputs, x.shape)


@rule("concat")
def _concat(w: Writer, node: Any, *xs: Ref) -> Ref:
    return joined(w, xs, node.attributes["dim"], node.outputs[0].shape)


def joined(w: Writer, xs: Sequence[Ref], dim: int, shape: Shape) -> Ref:
    """Tensors one after another."""
    if len(xs) == 1:
        return xs[0]
    return w.op("Concat", [w.whole(x) for x in xs], xs[0].dtype, shape, axis=dim)


def ramp(w: Writer, n: Any, dtype: DType) -> Ref:
    """0, 1, 2, … as a vector."""
    if not is_symbolic(n) and n <= 1024:
        held = dtype if dtype in (dtypes.int32, dtypes.float32) else dtypes.int64
        return w.cast(w.constant(list(range(n)), held, (n,)), dtype)
    ends = [w.constant([v], dtypes.int64, ()).name for v in (0, 1)]
    y = w.op("Range", [ends[0], w.scalar_size(n), ends[1]], dtypes.int64, (n,))
    return w.cast(y, dtype)
