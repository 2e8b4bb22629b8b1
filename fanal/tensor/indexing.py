"""Indexing: `x[...]` and `x[...] = v` with ints, slices, None, Ellipsis, masks and index tensors.

Ints, slices, None and Ellipsis give a view, computed straight from the strides. Index tensors and
masks go through the gather and scatter primitives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fanal.core import dtypes
from fanal.core.cache import BoundedCache
from fanal.core.dispatch import bind, fused
from fanal.core.errors import message
from fanal.core.symbols import largest, slice_bounds
from fanal.ops.arithmetic import cast_p
from fanal.ops.index import gather_p, scatter_p
from fanal.ops.layout import expand_to, pad_p
from fanal.ops.pointwise import lt, where
from fanal.ops.promotion import broadcast_shapes, cast
from fanal.ops.shape import permuted, reshaped
from fanal.tensor import inplace
from fanal.tensor.layout import Layout, layout
from fanal.tensor.tensor import Tensor
from fanal.tensor.views import View, take

Step = tuple[int, int, int]  # start, length, step of a dimension


def getitem(self: Tensor, index: Any) -> Tensor:
    """`self[index]`: a view for basic indices, else a new tensor."""
    if type(index) is int and self._layout.ndim:
        return take(self, _row(self._layout, index))
    items = index if type(index) is tuple else (index,)
    view = _looked_up(self._layout, items)
    return _advanced(self, items)[0] if view is None else take(self, view)


_BOUNDS = (int, type(None))
_views = BoundedCache(10_000)  # programs repeat their indices


def _looked_up(source: Layout, items: tuple[Any, ...]) -> View | None:
    """The view that an index makes of a layout; None if it is not basic."""
    key: list[Any] = [source]
    for i in items:
        kind = type(i)
        if kind is slice:
            start, stop, step = i.start, i.stop, i.step
            for bound in (start, stop, step):
                if type(bound) not in _BOUNDS:  # a tensor's or an array's element
                    return _view(source, items) if all(map(_is_basic, items)) else None
            key.append((start, stop, step))
        elif kind is int or i is None or i is Ellipsis:
            key.append(i)
        else:
            return None
    whole = tuple(key)
    found = _views.get(whole)
    if found is None:
        found = _views[whole] = _view(source, items)
    return found


class _Row(View):
    """The view `x[i]`. It is not kept, as other views are: a data set has more rows than a cache has
    places, and making one is as cheap as finding it."""

    __slots__ = ("full", "index")
    index: int
    full: tuple[int, ...]

    def again(self, x: Tensor) -> Tensor:
        return getitem(x, self.index)

    def pull(self, grad: Tensor) -> Tensor:
        rest = self.full[1:]
        steps = ((self.index, 1, 1), *((0, n, 1) for n in rest))
        return slice_backward(grad, self.full, (1, *rest), steps)


_new_row = _Row.__new__
_rows = BoundedCache(10_000)  # what the rows of a layout share


def _row(source: Layout, i: int) -> View:
    found = _rows.get(source)
    if found is None:
        to = layout(source.dtype, source.shape[1:], source.strides[1:])
        step = source.strides[0] * source.dtype.itemsize
        found = _rows[source] = to.wanting(False), to.wanting(True), source.shape, step
    made = _new_row(_Row)
    made.layout, made.recorded, made.full, step = found
    n = made.full[0]
    if not -n <= i < n:
        _integer(i, n, 0)
    made.index = i = i if i >= 0 else i + n
    made.offset = i * step
    made.name = "slice"
    return made


def _is_basic(i: Any) -> bool:
    return type(i) is int or type(i) is slice or i is None or i is Ellipsis


def expanded(ndim: int, items: Sequence[Any]) -> list[Any]:
    """The index with Ellipsis replaced and trailing dimensions added."""
    used = sum(_dims_used(i) for i in items)
    if used > ndim:
        raise IndexError(
            message("index", "too many indices", f"{used} for {ndim} dimensions", f"at most {ndim}")
        )
    if sum(i is Ellipsis for i in items) > 1:
        raise IndexError(message("index", "more than one Ellipsis"))
    fill = [slice(None)] * (ndim - used)
    for position, i in enumerate(items):
        if i is Ellipsis:
            return [*items[:position], *fill, *items[position + 1 :]]
    return [*items, *fill]


def _dims_used(i: Any) -> int:
    if i is None or i is Ellipsis or isinstance(i, bool):
        return 0
    if isinstance(i, Tensor) and i.dtype in (dtypes.bool_, dtypes.uint8):
        return i.ndim
    return 1


def _basic(t: Tensor, items: Sequence[Any]) -> Tensor:
    return take(t, _view(t._layout, items))


def _view(source: Layout, items: Sequence[Any]) -> View:
    """What an index of ints, slices, None and Ellipsis makes of a layout."""
    items = expanded(source.ndim, items)
    shape: list[int] = []
    strides: list[int] = []
    steps: list[Step] = []
    offset, d = 0, 0
    kept_shape: list[int] = []
    for i in items:
        if i is None:
            shape.append(1)
            strides.append(0)
            continue
        n, s = source.shape[d], source.strides[d]
        if isinstance(i, slice):
            start, length, step = _slice(i, n)
            shape.append(length)
            strides.append(s * step)
        else:
            start, length, step = _integer(i, n, d), 1, 1
        offset += start * s if n else 0
        steps.append((start, length, step))
        kept_shape.append(length)
        d += 1
    to = layout(source.dtype, tuple(shape), tuple(strides))
    full = source.shape
    whole = tuple(steps)

    def pull(grad: Tensor) -> Tensor:
        return slice_backward(grad, full, tuple(kept_shape), whole)

    return View(to, offset, "slice", lambda x: _basic(x, items), pull)


def _slice(i: slice, n: int) -> Step:
    if i.step is not None and i.step <= 0:
        raise ValueError(message("index", "step must be positive", i.step, hint="flip()"))
    a, b, step = slice_bounds(i, n)
    return a, largest(0, -(-(b - a) // step)), step


def _integer(i: int, n: int, d: int) -> int:
    if not -n <= i < n:
        raise IndexError(
            message(
                "index", f"index out of range in dimension {d}", i, f"a number from {-n} to {n - 1}"
            )
        )
    return i % n


@fused
def slice_backward(grad: Any, shape: tuple[int, ...], kept: tuple[int, ...], steps: Any) -> Any:
    """Zeros of `shape` with the gradient of a slice in its place."""
    g = reshaped(grad, kept)
    high = []
    for n, (start, length, step) in zip(shape, steps, strict=True):
        covered = start + ((length - 1) * step + 1 if length else 0)
        high.append(n - covered)
    low = tuple(s for s, _, _ in steps)
    interior = tuple(step - 1 for _, _, step in steps)
    zero = 0.0 if g.dtype.kind == "f" else 0
    return bind(pad_p, g, low=low, high=tuple(high), interior=interior, value=zero)


# -- index tensors and masks ------------------------------------------------------------------------------


def as_index(i: Any) -> Any:
    """An index object as a tensor, where it is a list, array or bool."""
    if isinstance(i, Tensor):
        if i.dtype.kind == "f":
            raise IndexError(
                message("index", "tensors used as indices must be integers or bools", repr(i.dtype))
            )
        return i
    if isinstance(i, list | range | np.ndarray | np.generic | bool):
        from fanal.tensor.creation import tensor

        if isinstance(i, np.integer):
            return int(i)
        made = tensor(list(i) if isinstance(i, range) else i)
        return made.to(dtypes.int64) if made.dtype.kind == "f" and made._layout.numel == 0 else made
    if isinstance(i, slice):
        return slice(*(None if v is None else int(v) for v in (i.start, i.stop, i.step)))
    if i is None or i is Ellipsis:
        return i
    if hasattr(i, "__index__"):
        return int(i)
    raise IndexError(
        message("index", "not an index", type(i).__name__, "ints, slices, None, ..., tensors, masks")
    )


def _advanced(t: Tensor, items: Sequence[Any]) -> tuple[Tensor, Any]:
    """The gathered tensor, and (viewed base, index tensors, dims, place) for assignment."""
    base, indices, dims, place = _plan(t, items)
    if not indices:
        return base, None
    return gather_at(base, indices, dims, place), (base, indices, dims, place)


def _plan(t: Tensor, items: Sequence[Any]) -> tuple[Tensor, list[Tensor], tuple[int, ...], int]:
    """Split an index: a view by its basic part, and index tensors for dimensions of the view."""
    items = expanded(t.ndim, [as_index(i) for i in items])
    basic: list[Any] = []
    advanced: list[tuple[int, Tensor]] = []  # (position in the result of the basic part, index)
    position = 0
    d = 0
    for i in items:
        if isinstance(i, Tensor):
            for one in _mask_indices(i, t, d) if i.dtype in (dtypes.bool_, dtypes.uint8) else [i]:
                basic.append(slice(None))
                advanced.append((position, one))
                position += 1
                d += 1
            if i.ndim == 0 and i.dtype is dtypes.bool_:
                basic.append(None)
                advanced.append((position, _zero_d_mask(i)))
                position += 1
            continue
        basic.append(i)
        if i is None or isinstance(i, slice):
            position += 1
        d += i is not None
    base = _basic(t, basic)
    dims = tuple(p for p, _ in advanced)
    together = dims == tuple(range(dims[0], dims[0] + len(dims))) if dims else True
    # Integers between index tensors count as index tensors for where the result dims go.
    return base, [i for _, i in advanced], dims, dims[0] if dims and together else 0


def _zero_d_mask(mask: Tensor) -> Tensor:
    from fanal.tensor.creation import zeros

    return zeros(int(bool(mask)), dtype=dtypes.int64)


def _mask_indices(mask: Tensor, t: Tensor, d: int) -> list[Tensor]:
    if mask.ndim == 0:
        return []
    shape = t._layout.shape[d : d + mask.ndim]
    if mask._layout.shape != shape:
        raise IndexError(
            message("index", "the mask's shape differs from the indexed dimensions'",
                    tuple(mask.shape), str(shape))
        )
    return list(nonzero_indices(mask))


def nonzero_indices(t: Tensor) -> tuple[Tensor, ...]:
    """Index tensors of the nonzero elements, in row-major order, one a dimension.

    The number of results depends on the data, so this runs when it is called: positions by a
    running count, then a scatter of each element's index to its place.
    """
    flags = _flags(t)
    if t._layout.numel == 0:
        from fanal.tensor.creation import empty

        return tuple(empty(0, dtype=dtypes.int64) for _ in range(t.ndim))
    places, total = _places(flags)
    return _collect(flags, places, int(total.item()), t._layout.shape)


@fused
def _flags(t: Any) -> Any:
    from fanal.ops.pointwise import ne

    flat = reshaped(t, (math.prod(t.shape),))
    return flat if t.dtype is dtypes.bool_ else ne(flat, 0)


@fused
def _places(flags: Any) -> Any:
    from fanal.ops.cumulative import cumsum_p

    ones = bind(cast_p, flags, dtype=dtypes.int64)
    running = bind(cumsum_p, ones, dim=0)
    total = reshaped(
        bind_slice(running, running.shape[0] - 1, running.shape[0]), ()
    )
    return running - ones, total


def bind_slice(x: Any, start: int, stop: int) -> Any:
    from fanal.ops.layout import slice_dim

    return slice_dim(x, 0, start, stop)


@fused
def _collect(flags: Any, places: Any, total: int, shape: tuple[int, ...]) -> Any:
    from fanal.ops.create import full_p, iota_p

    # Elements that are zero go to a spare place behind the last one.
    target = where(flags, places, total)
    out = []
    for d in range(len(shape)):
        values = reshaped(bind(iota_p, shape=shape, dim=d, dtype=dtypes.int64), flags.shape)
        empty = bind(full_p, value=0, shape=(total + 1,), dtype=dtypes.int64)
        filled = bind(scatter_p, empty, values, target, dims=(0,), mode="set")
        out.append(bind_slice(filled, 0, total))
    return tuple(out)


def _wrapped(indices: Sequence[Any], shape: Sequence[int], dims: Sequence[int]) -> list[Any]:
    """Index values broadcast to one shape, negative ones counted from the end."""
    common = broadcast_shapes(*(i.shape for i in indices), op="index")
    out = []
    for i, d in zip(indices, dims, strict=True):
        i = cast(i, dtypes.int64)
        out.append(expand_to(where(lt(i, 0), i + shape[d], i), common))
    return out


@fused
def gather_at(x: Any, indices: Sequence[Any], dims: tuple[int, ...], place: int) -> Any:
    """x at index tensors for `dims`; the index dimensions come at `place` of the result."""
    wide = _wrapped(indices, x.shape, dims)
    out = bind(gather_p, x, *wide, dims=dims)
    count = wide[0].ndim
    order = [*range(count, count + place), *range(count), *range(count + place, out.ndim)]
    return permuted(out, order)


@fused
def scatter_at(
    x: Any, indices: Sequence[Any], values: Any, dims: tuple[int, ...], place: int, mode: str
) -> Any:
    """x with `values` (broadcast) written at index tensors for `dims`."""
    wide = _wrapped(indices, x.shape, dims)
    count = wide[0].ndim
    rest = [n for d, n in enumerate(x.shape) if d not in dims]
    shape = (*rest[:place], *wide[0].shape, *rest[place:])
    updates = _fit(cast(values, x.dtype), shape)
    order = [*range(place, place + count), *range(place), *range(place + count, len(shape))]
    return bind(scatter_p, x, permuted(updates, order), *wide, dims=dims, mode=mode)


def _fit(values: Any, shape: tuple[int, ...]) -> Any:
    """Values broadcast to the indexed shape; leading extents of 1 may be dropped."""
    while values.ndim > len(shape) and values.shape[0] == 1:
        values = reshaped(values, values.shape[1:])
    try:
        return expand_to(values, shape)
    except ValueError:
        raise RuntimeError(
            message(
                "index_put", "the values' shape does not broadcast to the indexed shape",
                tuple(values.shape), str(tuple(shape)),
            )
        ) from None


# What users call them by.
gather_at.fused.name, scatter_at.fused.name = "index", "index_put"


def setitem(self: Tensor, index: Any, value: Any) -> None:
    """`self[index] = value`, in place."""
    items = index if isinstance(index, tuple) else (index,)
    view = _looked_up(self._layout, items)
    from fanal.tensor.creation import tensor

    if not isinstance(value, Tensor):
        if view is not None and isinstance(value, bool | int | float):
            inplace.fill_(take(self, view), value)
            return
        value = tensor(value)
        if value.dtype is not self.dtype and value.ndim == 0:
            value = value.to(self.dtype)
    if view is not None:
        _assign(take(self, view), value)
        return
    if len(items) == 1 and isinstance(items[0], Tensor) and items[0].dtype is dtypes.bool_:
        mask = items[0]
        if value._layout.numel == 1 and mask.ndim <= self.ndim:
            inplace.apply(masked_source.fused, self, (mask, value), {})
            return
    base, indices, dims, place = _plan(self, items)
    if not indices:
        _assign(base, value)
        return
    inplace.apply(scatter_at.fused, base, (indices, value, dims, place, "set"), {})


def _assign(target: Tensor, value: Tensor) -> None:
    while value.ndim > target.ndim and value._layout.shape[0] == 1:
        value = value.squeeze(0)
    inplace.copy_(target, value)


@fused
def masked_source(input: Any, mask: Any, value: Any) -> Any:
    """input with one value where the mask (over leading dimensions) holds."""
    if mask.shape != input.shape[: mask.ndim]:
        raise IndexError(
            message("index", "the mask's shape differs from the indexed dimensions'",
                    tuple(mask.shape), str(tuple(input.shape[: mask.ndim])))
        )
    wide = reshaped(mask, mask.shape + (1,) * (input.ndim - mask.ndim))
    return where(wide, cast(reshaped(value, ()), input.dtype), input)
