"""Windows of a value that no chain of views describes: any strides, by index arithmetic.

What `windows.window_of` can't express (a diagonal, overlapping windows, `as_strided`) is read by a
gather and written by a scatter over the region's elements in the order of memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from fanal.compiler.windows import inverse
from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.graph.ir import Value
from fanal.ops.create import iota_p
from fanal.ops.index import gather_p, scatter_p
from fanal.ops.promotion import constant
from fanal.ops.shape import permuted, reshaped
from fanal.tensor.layout import Layout

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Strided:
    """A window of a region that fills its memory; the counterpart of `windows.Window`."""

    order: Shape  # the region's dimensions from the outermost to the innermost in memory
    offset: int
    shape: Shape
    strides: Shape

    def read(self, x: Any) -> Any:
        """The window of a region's value."""
        if 0 in self.shape:
            return constant(0, x.dtype, self.shape)
        line = reshaped(permuted(x, self.order), (math.prod(x.shape),))
        return bind(gather_p, line, self._places(), dims=(0,))

    def put(self, x: Any, v: Any) -> Any:
        """The region's value with this window replaced."""
        if 0 in self.shape:
            return x
        turned = permuted(x, self.order)
        line = reshaped(turned, (math.prod(x.shape),))
        count = (math.prod(self.shape),)
        places = reshaped(self._places(), count)
        line = bind(scatter_p, line, reshaped(v, count), places, dims=(0,), mode="set")
        return permuted(reshaped(line, turned.shape), inverse(self.order))

    def _places(self) -> Value:
        place: Any = constant(self.offset, dtypes.int64, self.shape)
        for d, step in enumerate(self.strides):
            if step:
                place = place + bind(iota_p, shape=self.shape, dim=d, dtype=dtypes.int64) * step
        found: Value = place
        return found


def strided_window(region: Layout, offset: int, window: Layout) -> Strided | None:
    """The window `offset` elements after the region's first element; None if it leaves the region,
    or the region has gaps."""
    if region.dtype is not window.dtype:
        return None
    if not window.numel:
        return Strided((), 0, window.shape, window.strides)
    pairs = list(zip(window.shape, window.strides, strict=True))
    last = offset + sum((n - 1) * s for n, s in pairs)
    inside = offset >= 0 and last < region.numel and all(s >= 0 for _, s in pairs)
    if not region.dense or not inside:
        return None
    order = tuple(sorted(range(region.ndim), key=lambda d: (-region.strides[d], d)))
    return Strided(order, offset, window.shape, window.strides)
