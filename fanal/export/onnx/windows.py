"""Sliding windows, as Gather at indices that are sums of a position and an offset."""

from __future__ import annotations

from typing import Any

from fanal.core import dtypes
from fanal.export.onnx.layout import ramp, transposed
from fanal.export.onnx.records import Ref, full_ref
from fanal.export.onnx.registry import rule
from fanal.export.onnx.writer import Writer


@rule("windows")
def _windows(w: Writer, node: Any, x: Ref) -> Ref:
    at = node.attributes
    first, size, n = at["first"], at["size"], len(at["size"])
    counts = node.outputs[0].shape[first : first + n]
    y = w.whole(x)
    for i in reversed(range(n)):
        index = _places(w, counts[i], size[i], at["stride"][i], at["dilation"][i])
        d = first + i
        shape = (*y.shape[:d], counts[i], size[i], *y.shape[d + 1 :])
        y = w.op("Gather", [y, index], y.dtype, shape, axis=d)
    # Positions and offsets of each dimension stand side by side: all positions first.
    order = [*range(first), *range(first, first + 2 * n, 2), *range(first + 1, first + 2 * n, 2)]
    return transposed(w, y, [*order, *range(first + 2 * n, y.ndim)])


def _places(w: Writer, count: Any, size: int, stride: int, dilation: int) -> Ref:
    """position · stride + offset · dilation."""
    if type(count) is int:
        places = [p * stride + k * dilation for p in range(count) for k in range(size)]
        return w.constant(places, dtypes.int64, (count, size))
    line = w.reshape(ramp(w, count, dtypes.int64), (count, 1))
    begin = Ref(line.name, line.dtype, (count, size), (count, 1))
    offsets = w.constant([k * dilation for k in range(size)], dtypes.int64, (size,))
    offset = Ref(offsets.name, offsets.dtype, (count, size), (size,))
    step = w.number(stride, dtypes.int64, (count, size))
    found = w.map("Add", w.map("Mul", begin, step), offset)
    return full_ref(found.name, found.dtype, (count, size))
