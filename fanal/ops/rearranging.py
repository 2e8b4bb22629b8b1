"""More rearrangements: rolls, rotations, repetitions, broadcasts, windows over a dimension."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fanal.core.dispatch import bind, fused
from fanal.core.errors import message
from fanal.graph.ir import Value
from fanal.ops.layout import concat_p, expand_to, flip_p, slice_dim
from fanal.ops.pointwise import ne, where
from fanal.ops.primitive import normalize_dim
from fanal.ops.promotion import broadcast_shapes
from fanal.ops.shape import expand, infer_shape, permuted, reshaped
from fanal.ops.windows import windows_p

Ints = int | Sequence[int]


def _listed(x: Ints) -> tuple[int, ...]:
    return (x,) if isinstance(x, int) else tuple(x)


@fused
def roll(input: Any, shifts: Ints, dims: Ints | None = None) -> Any:
    """Elements moved along dimensions, those that leave come in at the other end.

    Without `dims` the flattened tensor is rolled.
    """
    steps = _listed(shifts)
    if dims is None or dims == ():
        if len(steps) != 1:
            raise RuntimeError(message("roll", "one shift is needed without dims", steps))
        flat = reshaped(input, (math.prod(input.shape),))
        return reshaped(_rolled(flat, steps[0], 0), input.shape)
    if input.ndim == 0:
        raise IndexError(message("roll", "a 0-d tensor has no dimensions", dims))
    places = [normalize_dim("roll", d, input.ndim) for d in _listed(dims)]
    if len(places) != len(steps):
        raise RuntimeError(message("roll", "one shift a dimension is needed", (steps, dims)))
    for step, d in zip(steps, places, strict=True):
        input = _rolled(input, step, d) if input.ndim else input
    return input


def _rolled(x: Value, shift: int, d: int) -> Value:
    n = x.shape[d]
    at = -shift % n if n else 0
    if at == 0:
        return x
    return bind(concat_p, slice_dim(x, d, at, n), slice_dim(x, d, 0, at), dim=d)


@fused
def rot90(input: Any, k: int = 1, dims: Sequence[int] = (0, 1)) -> Any:
    """A quarter turn, k times, in the plane of two dimensions, from the first to the second."""
    if len(dims) != 2 or input.ndim < 2:
        raise RuntimeError(message("rot90", "not a plane", (tuple(dims), input.shape), "two dims"))
    a, b = (normalize_dim("rot90", d, input.ndim) for d in dims)
    if a == b:
        raise RuntimeError(message("rot90", "the dimensions are the same", tuple(dims)))
    order = list(range(input.ndim))
    order[a], order[b] = b, a
    turns = k % 4
    if turns == 1:
        return permuted(bind(flip_p, input, dims=(b,)), order)
    if turns == 2:
        return bind(flip_p, input, dims=tuple(sorted((a, b))))
    return bind(flip_p, permuted(input, order), dims=(b,)) if turns else input


def _flipped(name: str, x: Value, dim: int) -> Value:
    if x.ndim <= dim:
        raise RuntimeError(message(name, "too few dimensions", x.shape, f"at least {dim + 1}"))
    return bind(flip_p, x, dims=(dim,))


@fused
def fliplr(input: Any) -> Any:
    """Columns (dimension 1) in reverse order."""
    return _flipped("fliplr", input, 1)


@fused
def flipud(input: Any) -> Any:
    """Rows (dimension 0) in reverse order."""
    return _flipped("flipud", input, 0)


def swapaxes(input: Any, axis0: int, axis1: int) -> Any:
    """Two dimensions exchanged; the same as `transpose`."""
    from fanal.ops.shape import transpose

    return transpose(input, axis0, axis1)


def swapdims(input: Any, dim0: int, dim1: int) -> Any:
    """Two dimensions exchanged; the same as `transpose`."""
    return swapaxes(input, dim0, dim1)


def moveaxis(input: Any, source: Ints, destination: Ints) -> Any:
    """Dimensions moved to other places; the same as `movedim`."""
    from fanal.ops.shape import movedim

    return movedim(input, source, destination)


@fused(view=True)
def adjoint(input: Any) -> Any:
    """Matrices transposed (for real numbers the conjugate transpose)."""
    if input.ndim == 1:
        raise RuntimeError(message("adjoint", "a vector has no transpose", input.shape))
    order = list(range(input.ndim))
    return permuted(input, [*order[:-2], *order[-2:][::-1]])


@fused(view=True)
def ravel(input: Any) -> Any:
    """All elements in one dimension; a view where strides allow it."""
    return reshaped(input, (math.prod(input.shape),))


@fused
def repeat(input: Any, sizes: Sequence[int]) -> Any:
    """The tensor laid out several times along each dimension (new dimensions in front)."""
    extra = len(sizes) - input.ndim
    if extra < 0:
        raise RuntimeError(
            message("repeat", "fewer repetitions than dimensions", tuple(sizes), f"{input.ndim}")
        )
    if any(n < 0 for n in sizes):
        raise RuntimeError(message("repeat", "a negative number of repetitions", tuple(sizes)))
    shape = (1,) * extra + input.shape
    thin = tuple(k for n in shape for k in (1, n))
    wide = tuple(k for s, n in zip(sizes, shape, strict=True) for k in (s, n))
    out = tuple(s * n for s, n in zip(sizes, shape, strict=True))
    return reshaped(expand_to(reshaped(input, thin), wide), out)


@fused
def tile(input: Any, dims: Sequence[int]) -> Any:
    """`repeat` that repeats the last dimensions if fewer numbers are given."""
    full = (1,) * (input.ndim - len(dims)) + tuple(dims)
    return repeat(input, full)


@fused
def repeat_each(input: Any, repeats: int, dim: int | None) -> Any:
    """Each element (or slice of a dimension) repeated a number of times, one after another."""
    if repeats < 0:
        raise RuntimeError(message("repeat_interleave", "a negative number", repeats, "0 or more"))
    x = reshaped(input, (math.prod(input.shape),)) if dim is None else input
    d = 0 if dim is None else normalize_dim("repeat_interleave", dim, x.ndim)
    x = x if x.ndim else reshaped(x, (1,))
    shape = (*x.shape[: d + 1], 1, *x.shape[d + 1 :])
    wide = (*x.shape[: d + 1], repeats, *x.shape[d + 1 :])
    out = (*x.shape[:d], x.shape[d] * repeats, *x.shape[d + 1 :])
    return reshaped(expand_to(reshaped(x, shape), wide), out)


@fused(view=True)
def broadcast_to(input: Any, size: Sequence[int]) -> Any:
    """The tensor expanded to a shape without copying; the same as `expand`."""
    return expand(input, size)


def broadcast_tensors(*tensors: Any) -> tuple[Any, ...]:
    """Tensors expanded to the shape that they broadcast to."""
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], tuple | list) else tensors
    shape = broadcast_shapes(*(tuple(t.shape) for t in given), op="broadcast_tensors")
    return tuple(expand(t, shape) for t in given)


@fused(view=True)
def unfold(input: Any, dimension: int, size: int, step: int) -> Any:
    """All windows of `size` elements of a dimension, `step` apart, as a last dimension (a view)."""
    d = normalize_dim("unfold", dimension, input.ndim)
    x = input if input.ndim else reshaped(input, (1,))
    if step <= 0 or not 0 <= size <= x.shape[d]:
        raise RuntimeError(
            message("unfold", f"windows of {size} elements, {step} apart, do not fit", input.shape,
                    "a positive step and a size within the dimension")
        )
    if size == 0:
        return reshaped(slice_dim(x, d, 0, 0), (*x.shape[:d], x.shape[d] // step + 1, *x.shape[d + 1 :], 0))
    if input.ndim == 0:
        return reshaped(x, (size,))
    out = bind(windows_p, x, first=d, size=(size,), stride=(step,), dilation=(1,))
    return permuted(out, [*range(d + 1), *range(d + 2, out.ndim), d + 1])


@fused
def sum_to_size(input: Any, size: Sequence[int]) -> Any:
    """Sums over dimensions until the tensor has a shape that broadcasts to its own."""
    from fanal.core import dtypes
    from fanal.ops.promotion import cast
    from fanal.ops.reduce import sum_to

    shape = infer_shape("sum_to_size", size, math.prod(size))
    if broadcast_shapes(input.shape, shape, op="sum_to_size") != input.shape:
        raise RuntimeError(
            message("sum_to_size", "the size does not expand to the tensor's", shape, f"{input.shape}")
        )
    # Integers and bools become int64 where there is a sum, and always for the sum of all.
    summed = not shape or shape != input.shape[input.ndim - len(shape) :]
    whole = summed and input.dtype.kind != "f"
    return sum_to(cast(input, dtypes.int64) if whole else input, shape)


@fused
def fill(input: Any, value: Any) -> Any:
    """One number (or 0-d tensor) in the shape and dtype of input."""
    from fanal.ops.layout import expand_to
    from fanal.ops.promotion import cast, constant

    if isinstance(value, Value):
        if value.ndim:
            raise RuntimeError(message("fill", "value is not a number or 0-d", value.shape))
        return expand_to(cast(value, input.dtype), input.shape)
    return constant(value, input.dtype, input.shape)


@fused
def masked_fill(input: Any, mask: Any, value: Any) -> Any:
    """A copy with one number (or 0-d tensor) where the mask holds; the two broadcast."""
    from fanal.core import dtypes
    from fanal.ops.promotion import cast

    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(message("masked_fill", "the mask is not bool", repr(mask.dtype)))
    if isinstance(value, Value) and value.ndim:
        raise RuntimeError(message("masked_fill", "value is not a number or 0-d", value.shape))
    return where(mask, cast(value, input.dtype), input)


@fused
def masked_scatter(input: Any, mask: Any, source: Any) -> Any:
    """A copy with the elements of source, one after another, where the mask holds.

    Raises IndexError if source has fewer elements than the mask has true ones.
    """
    from fanal.core import dtypes
    from fanal.ops.cumulative import cumsum_p
    from fanal.ops.index import gather_p
    from fanal.ops.promotion import cast

    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(message("masked_scatter", "the mask is not bool", repr(mask.dtype)))
    if source.dtype is not input.dtype:
        raise RuntimeError(
            message("masked_scatter", "dtypes differ", f"{input.dtype!r} and {source.dtype!r}")
        )
    shape = broadcast_shapes(input.shape, mask.shape, op="masked_scatter")
    x, m = expand_to(input, shape), expand_to(mask, shape)
    count, available = math.prod(shape), math.prod(source.shape)
    if count == 0 or available == 0:
        return x
    flags = cast(reshaped(m, (count,)), dtypes.int64)
    place = where(ne(flags, 0), bind(cumsum_p, flags, dim=0) - 1, 0)
    taken = bind(gather_p, reshaped(source, (available,)), place, dims=(0,))
    return where(m, reshaped(taken, shape), x)
