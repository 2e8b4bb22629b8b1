"""In-place functions that change a tensor's shape or memory, not its elements: `squeeze_`, `set_`, …"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from fanal.autograd.mode import mode
from fanal.core.errors import message
from fanal.core.symbols import size
from fanal.ops import rearranging, shape
from fanal.tensor import strided
from fanal.tensor.layout import layout
from fanal.tensor.lazy import move, place
from fanal.tensor.tensor import Tensor, allocate, new_tensor


def become(self: Tensor, view: Tensor) -> Tensor:
    """Make a tensor what a view of it is."""
    self._layout, self._storage = view._layout, view._storage
    move(self, place(view))
    self._node, self._index = view._node, view._index
    mine, its = self._rare, view._rare
    if mine is not None and mine.base is not None and its is not None:
        mine.base, mine.steps, mine.version = its.base, its.steps, its.version
    return self


def _in_place(function: Callable[..., Any]) -> Callable[..., Tensor]:
    name = f"{function.__name__}_"

    @functools.wraps(function)
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if mode.enabled and self._layout.grad and self._current_node() is None:
            raise RuntimeError(
                message(name, "a leaf that requires grad was used in an in-place operation",
                        hint="no_grad() around it, or an operation that makes a new tensor")
            )
        twin = self._alias(None, 0)
        twin._layout = self._layout
        twin._node, twin._index = self._current_node(), self._index
        if self._rare is not None and self._rare.base is not None:
            extra, mine = twin._extra(), self._rare
            extra.base, extra.steps, extra.version = mine.base, mine.steps, mine.version
        return become(self, function(twin, *args, **kwargs))

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"`{function.__name__}` that changes the tensor itself."
    return method


squeeze_, unsqueeze_, t_, transpose_, swapaxes_, swapdims_, as_strided_ = (
    _in_place(f)
    for f in (
        shape.squeeze, shape.unsqueeze, shape.t, shape.transpose, rearranging.swapaxes,
        rearranging.swapdims, strided.as_strided,
    )
)  # fmt: skip


def detach_(self: Tensor) -> Tensor:
    """Forget the past: the tensor becomes a leaf that requires no gradient."""
    if self._base is not None:
        raise RuntimeError(message("detach_", "a view can't be detached in place", hint="detach()"))
    self._node, self._index = None, 0
    self._layout = self._layout.wanting(False)
    return self


def _sizes(sizes: Sequence[Any]) -> tuple[int, ...]:
    given = sizes[0] if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes
    return tuple(map(size, given))


def resize_(self: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """Another shape, in row-major order: the first elements in memory stay, others are whatever
    is there."""
    wanted = _sizes(sizes)
    if self._layout.grad:
        raise RuntimeError(message("resize_", "the tensor requires grad", hint="detach()"))
    if any(n < 0 for n in wanted):
        raise RuntimeError(message("resize_", "a negative extent", wanted))
    target = layout(self.dtype, wanted)
    room = self._ptr
    room = self._storage.ptr + self._storage.nbytes - room
    if target.nbytes > room:
        fresh = allocate(target)
        line = layout(self.dtype, (room // self.dtype.itemsize,))
        new_tensor(fresh._storage, line, fresh._ptr).copy_(
            new_tensor(self._storage, line, self._ptr)
        )
        self._storage, self._ptr = fresh._storage, fresh._ptr
    self._layout = target
    return self


def resize_as_(self: Tensor, the_template: Tensor, memory_format: Any = None) -> Tensor:
    """`resize_` to another tensor's shape."""
    return resize_(self, tuple(the_template.shape))


def set_(
    self: Tensor, source: Tensor | None = None, storage_offset: int = 0, size: Any = None,
    stride: Any = None,
) -> Tensor:  # fmt: skip
    """Take the memory of another tensor (its shape too, unless a size is given)."""
    if source is None:
        source = allocate(layout(self.dtype, (0,)))
    if source.dtype is not self.dtype:
        raise RuntimeError(
            message("set_", "dtypes differ", f"{self.dtype!r} and {source.dtype!r}", "one dtype")
        )
    if size is not None:
        steps = stride if stride is not None else layout(self.dtype, tuple(size)).strides
        source = strided.as_strided(source.detach(), size, steps, storage_offset)
    pointer = source._ptr  # first: it may bring the memory into being
    self._storage, self._ptr = source._storage, pointer
    self._layout = source._layout.wanting(self._layout.grad)
    return self


def is_set_to(self: Tensor, tensor: Tensor) -> bool:
    """Whether two tensors are the same memory in the same layout."""
    same = self._layout.shape == tensor._layout.shape
    return same and self._ptr == tensor._ptr and self._layout.strides == tensor._layout.strides


def fill_diagonal_(self: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Set the main diagonal (with `wrap`: beginning anew below it in tall matrices)."""
    if self.ndim < 2:
        raise RuntimeError(message("fill_diagonal_", "fewer than two dimensions", tuple(self.shape)))
    if self.ndim > 2 and len(set(self.shape)) > 1:
        raise RuntimeError(
            message("fill_diagonal_", "the extents differ", tuple(self.shape), "equal extents")
        )
    step = sum(self.stride())
    rows = min(self.shape)
    here = self.storage_offset()
    strided.as_strided(self, (rows,), (step,), here).fill_(fill_value)
    height, width = self.shape[0], self.shape[1]
    if wrap and self.ndim == 2 and height > width + 1:
        start = here + self.stride(0) * (width + 1)
        for row in range(width + 1, height, width + 1):
            count = min(width, height - row)
            strided.as_strided(self, (count,), (step,), start).fill_(fill_value)
            start += self.stride(0) * (width + 1)
    return self


