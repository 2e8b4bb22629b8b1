"""Pooling: maxima and sums over windows, however they are written, as MaxPool and AveragePool.

Programs have them as reductions of windows, or dimension by dimension: the maximum (the sum) of slices
that begin one after another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fanal.export.onnx.activations import extreme
from fanal.export.onnx.kinds import takes
from fanal.export.onnx.matching import made_by, number, plain
from fanal.export.onnx.records import Ref
from fanal.export.onnx.writer import Writer, is_number, is_one, same_dim, same_dims
from fanal.graph.ir import Node, Value

Pair = tuple[Value, Value]


class Axis(NamedTuple):
    """Windows along one dimension."""

    dim: int
    size: int
    stride: int
    dilation: int


def max_step(node: Node) -> Pair | None:
    """(a, b) of the maximum of both, if a node is that: NaN of either is kept."""
    found = extreme(node)
    return found[1:] if found is not None and found[0] == "Max" else None


def _sum_step(node: Node) -> Pair | None:
    return (node.inputs[0], node.inputs[1]) if node.primitive.name == "add" else None


def _leaves(v: Value, step: Callable[[Node], Pair | None]) -> list[Value]:
    """The values that a chain of steps goes through, in order."""
    behind: list[Value] = []
    node = plain(v).node
    while node is not None and (pair := step(node)) is not None:
        behind.append(pair[1])
        v = pair[0]
        node = plain(v).node
    return [v, *reversed(behind)]


def _along(v: Value, step: Callable[[Node], Pair | None]) -> tuple[Value, Axis] | None:
    """Windows along one dimension: what they are taken from, and their form."""
    slices = [made_by(leaf, "slice") for leaf in _leaves(v, step)]
    if len(slices) < 2 or any(s is None or s.inputs[0] is not slices[0].inputs[0] for s in slices):  # type: ignore[union-attr]
        return None
    x = slices[0].inputs[0]  # type: ignore[union-attr]
    starts = [s.attributes["start"] for s in slices]  # type: ignore[union-attr]
    steps = slices[0].attributes["step"]  # type: ignore[union-attr]
    dims = [d for d in range(x.ndim) if not is_one(steps[d]) or not same_dim(starts[0][d], starts[1][d])]
    if len(dims) != 1 or any(not same_dims(s.attributes["step"], steps) for s in slices):  # type: ignore[union-attr]
        return None
    (d,) = dims
    first = [a[d] for a in starts]
    if any(type(a) is not int for a in first) or first[0] != 0 or type(steps[d]) is not int:
        return None
    gap = first[1]
    rest = (*v.shape[:d], *v.shape[d + 1 :])
    if first != [i * gap for i in range(len(first))] or not same_dims(rest, (*x.shape[:d], *x.shape[d + 1 :])):
        return None
    axis = Axis(d, len(first), steps[d], gap)
    return (x, axis) if _fits(x.shape[d], v.shape[d], axis) else None


def _fits(extent: Any, count: Any, axis: Axis) -> bool:
    """Whether there are as many windows as fit."""
    reach = axis.dilation * (axis.size - 1) + 1
    return same_dim((extent - reach) // axis.stride + 1, count)


def _separable(v: Value, step: Callable[[Node], Pair | None]) -> tuple[Value, list[Axis]] | None:
    """Windows over several dimensions, one after another."""
    axes: list[Axis] = []
    x = plain(v)
    while (found := _along(x, step)) is not None:
        x, axis = plain(found[0]), found[1]
        if any(axis.dim == a.dim for a in axes):
            return None
        axes.append(axis)
    return (x, axes) if axes and all(a.dim >= 2 for a in axes) and 3 <= x.ndim <= 5 else None


def _windowed(node: Node) -> tuple[Value, list[Axis]] | None:
    """Windows as such, reduced over all their offsets."""
    inner = made_by(node.inputs[0], "windows")
    if inner is None:
        return None
    at, x = inner.attributes, inner.inputs[0]
    n = len(at["size"])
    whole = at["first"] == 2 and x.ndim == 2 + n and node.attributes["dims"] == tuple(range(2 + n, 2 + 2 * n))
    if not whole or n > 3:
        return None
    return x, [Axis(2 + i, at["size"][i], at["stride"][i], at["dilation"][i]) for i in range(n)]


def _form(axes: Sequence[Axis], ndim: int) -> dict[str, Any]:
    """Attributes of ONNX's pools."""
    by = {a.dim: a for a in axes}
    rows = [by.get(d, Axis(d, 1, 1, 1)) for d in range(2, ndim)]
    return {
        "kernel_shape": tuple(a.size for a in rows), "strides": tuple(a.stride for a in rows),
        "dilations": tuple(a.dilation for a in rows),
    }  # fmt: skip


def max_pool(node: Node) -> Any:
    """Maxima over windows, with what surrounds the image: -inf."""
    reduced = node.primitive.name == "reduce_max"
    found = _windowed(node) if reduced else _separable(node.outputs[0], max_step)
    if found is None or found[0].dtype not in takes("MaxPool"):
        return None
    x, axes = found
    form = _form(axes, x.ndim)
    image, pads = _surrounded(x, axes, form["kernel_shape"], node.outputs[0].shape)

    def write(w: Writer, n: Node, v: Ref) -> Ref:
        more = {"pads": pads} if any(pads) else {}
        return w.op("MaxPool", [w.whole(v)], v.dtype, n.outputs[0].shape, **form, **more)

    return write, (image,)


def _surrounded(
    x: Value, axes: Sequence[Axis], kernel: Sequence[int], shape: Sequence[Any]
) -> tuple[Value, tuple[int, ...]]:
    """The image inside of a border of -inf that ONNX's pool makes itself, and the border's widths. What no
    window reaches may be cut off or not."""
    none = (0,) * (2 * len(kernel))
    pad = made_by(x, "pad")
    if pad is None or pad.attributes["value"] != -math.inf:
        return x, none
    at, image = pad.attributes, pad.inputs[0]
    low, high = at["low"], at["high"]
    outside = all(is_number(n, 0) for n in (*low[:2], *high[:2], *at["interior"]))
    if not outside or any(type(n) is not int for n in (*low, *high)):
        return x, none
    widths = (*low[2:], *(max(n, 0) for n in high[2:]))
    narrow = all(0 <= n < k for n, k in zip(widths, (*kernel, *kernel), strict=True))
    whole = [n + a + b for n, a, b in zip(image.shape[2:], low[2:], widths[len(kernel) :], strict=True)]
    by = {a.dim: a for a in axes}
    fits = all(_fits(n, shape[d], by.get(d, Axis(d, 1, 1, 1))) for d, n in enumerate(whole, 2))
    return (image, widths) if narrow and fits else (x, none)


def average_pool(node: Node) -> Any:
    """Sums over windows through their size."""
    found = _separable(node.inputs[0], _sum_step)
    if found is None or found[0].dtype not in takes("AveragePool"):
        return None
    x, axes = found
    form = _form(axes, x.ndim)
    if number(node.inputs[1]) != math.prod(form["kernel_shape"]) or any(d != 1 for d in form["dilations"]):
        return None
    form.pop("dilations")

    def write(w: Writer, n: Node, v: Ref) -> Ref:
        return w.op("AveragePool", [w.whole(v)], v.dtype, n.outputs[0].shape, **form)

    return write, (x,)
