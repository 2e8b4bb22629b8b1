"""Interned layouts: one object for each combination of shape, strides, dtype and gradient flag.

Whether a compiled program fits a call is decided by the identity of its arguments' layouts, so the
fast path of an operation is one dictionary look-up. A layout that wants a gradient is another
object than its twin that does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from fanal.core.dtypes import DType
from fanal.core.symbols import symbols_in
from fanal.ops.primitive import contiguous_strides

Shape = tuple[int, ...]


class Size(tuple[int, ...]):
    """A shape: a tuple that also counts elements, as `torch.Size`."""

    __slots__ = ()

    def numel(self) -> int:
        """Number of elements of a tensor of this shape."""
        total = 1
        for n in self:
            total *= n
        return total

    def __repr__(self) -> str:
        return f"fanal.Size({[int(n) for n in self]})"

    def __getitem__(self, index: Any) -> Any:
        found = tuple.__getitem__(self, index)
        return Size(found) if isinstance(index, slice) else found

    def __add__(self, other: Any) -> Size:
        return Size(tuple(self) + tuple(other))


class Layout:
    """Shape, strides (in elements), dtype, and whether a gradient is wanted. Never built twice."""

    __slots__ = (
        "contiguous", "dense", "dtype", "grad", "nbytes", "ndim", "numel", "overlaps", "shape",
        "size", "strides", "twin",
    )  # fmt: skip

    shape: Shape
    size: Size  # the shape as users get it
    strides: Shape
    dtype: DType
    grad: bool
    twin: Layout
    ndim: int
    numel: int
    nbytes: int
    contiguous: bool
    dense: bool
    overlaps: bool

    def __repr__(self) -> str:
        flag = ", grad" if self.grad else ""
        return f"Layout({self.dtype.name}, {self.shape}, {self.strides}{flag})"

    def wanting(self, grad: bool) -> Layout:
        """This layout or its twin."""
        return self if self.grad == grad else self.twin


_interned: dict[tuple[Shape, Shape, DType], Layout] = {}
_contiguous: dict[tuple[Shape, DType], Layout] = {}


def layout(dtype: DType, shape: Shape, strides: Shape | None = None) -> Layout:
    """The layout without gradient; contiguous if no strides are given."""
    if strides is None:
        found = _contiguous.get((shape, dtype))
        if found is None:
            found = layout(dtype, shape, contiguous_strides(shape))
            if symbols_in(shape) is None:
                _contiguous[shape, dtype] = found
        return found
    found = _interned.get((shape, strides, dtype))
    if found is None:
        symbols = symbols_in((shape, strides))
        table = _interned if symbols is None else symbols.interned
        found = table.get((shape, strides, dtype))
        if found is None:
            found = table.setdefault((shape, strides, dtype), _make(dtype, shape, strides))
    return found


def sized(like: Layout, value: Callable[[Any], Any]) -> Layout:
    """A layout where its sizes, which follow from symbols, are what `value` says."""
    shape, strides = (tuple(map(value, numbers)) for numbers in (like.shape, like.strides))
    return layout(like.dtype, shape, strides).wanting(like.grad)


def _make(dtype: DType, shape: Shape, strides: Shape) -> Layout:
    pair = (Layout(), Layout())
    numel = math.prod(shape)
    plain = contiguous_strides(shape)
    contiguous = numel == 0 or all(
        n == 1 or s == t for n, s, t in zip(shape, strides, plain, strict=True)
    )
    for grad, one in zip((False, True), pair, strict=True):
        one.dtype, one.shape, one.strides, one.grad = dtype, shape, strides, grad
        one.ndim, one.numel, one.nbytes = len(shape), numel, numel * dtype.itemsize
        one.contiguous, one.size = contiguous, Size(shape)
        one.dense = contiguous or is_dense(shape, strides)
        one.overlaps = numel > 0 and any(s == 0 and n > 1 for n, s in zip(shape, strides))
    pair[0].twin, pair[1].twin = pair[1], pair[0]
    return pair[0]


def is_dense(shape: Shape, strides: Shape) -> bool:
    """Whether the elements fill their memory without gaps or overlaps, in some order of the dims."""
    step = 1
    for s, n in sorted((s, n) for s, n in zip(strides, shape, strict=True) if n != 1):
        if s != step:
            return False
        step *= n
    return True


def extent_bytes(shape: Shape, strides: Shape, itemsize: int) -> tuple[int, int]:
    """Lowest and highest (exclusive) byte that a strided tensor touches, from its first element."""
    if math.prod(shape) == 0:
        return 0, 0
    low = sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if s < 0)
    high = sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if s > 0)
    return low * itemsize, (high + 1) * itemsize
