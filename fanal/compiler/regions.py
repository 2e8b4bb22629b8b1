"""What is known of memory while a function is taken down: parts of it, and the values that they have."""

from __future__ import annotations

import math
from typing import Any

from fanal.compiler.windows import window_of
from fanal.tensor.layout import Layout, extent_bytes
from fanal.tensor.layout import layout as layout_of
from fanal.tensor.tensor import Tensor


class Region:
    """A part of a memory whose value is known: from its first element on, in a layout."""

    __slots__ = ("layout", "number", "start", "tensor", "windows", "written")

    def __init__(self, start: int, layout: Layout, number: int, tensor: Tensor | None):
        self.start, self.layout, self.number, self.tensor = start, layout, number, tensor
        self.windows: dict[tuple[int, Layout], int] = {(start, layout): number}
        self.written = False

    def span(self) -> tuple[int, int]:
        """The bytes that it touches."""
        size = self.layout.dtype.itemsize
        low, high = extent_bytes(self.layout.shape, self.layout.strides, size)
        return self.start + low, self.start + high

    def window(self, start: int, layout: Layout) -> Any:
        """How a window lies in this region; None where no views lead there."""
        offset, rest = divmod(start - self.start, layout.dtype.itemsize)
        return None if rest else window_of(self.layout, offset, layout)


class Memory:
    """What is known of a real memory in this segment."""

    __slots__ = ("regions", "storage")

    def __init__(self, storage: Any):
        self.storage = storage
        self.regions: list[Region] = []


def overlap(region: Region, start: int, layout: Layout) -> bool:
    """Whether a window touches a region."""
    low, high = extent_bytes(layout.shape, layout.strides, layout.dtype.itemsize)
    first, last = region.span()
    return start + low < last and first < start + high


def base_of(t: Tensor) -> Tensor | None:
    """What a view from outside that holds all of its base's elements is a view of."""
    rare = t._rare
    if rare is None or rare.base is None:
        return None
    base = rare.base
    elements = math.prod(
        n for n, s in zip(t._layout.shape, t._layout.strides, strict=True) if s != 0
    )
    same = base._layout.numel == elements and not base._layout.overlaps
    return base if same and base._layout.dtype is t._layout.dtype else None


def once(layout: Layout) -> Layout:
    """A layout without repetition: extents of 1 where the stride is 0."""
    if not layout.overlaps:
        return layout
    pairs = zip(layout.shape, layout.strides, strict=True)
    return layout_of(layout.dtype, tuple(1 if s == 0 else n for n, s in pairs), layout.strides)


def contiguous(like: Layout) -> Layout:
    """A layout of the same elements in order."""
    return layout_of(like.dtype, like.shape)
