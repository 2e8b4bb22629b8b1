"""In which order the dimensions of values lie in memory, where a whole program is free to choose.

Contractions of windows are fastest over images whose pixels hold their channels side by side
(channels-last). What feeds such a convolution, or comes from one, is kept in that order; everything
elementwise in between follows, and so do pooling, padding and joins. A convolutional network then
never transposes between its layers. The order changes no number: reductions and contractions add
in an order of logical indices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fanal.core.symbols import largest
from fanal.graph.ir import Graph, Node, Value

Order = tuple[int, ...]  # dimensions, from the outermost in memory to the innermost
CONVOLUTIONS = ("conv", "conv_input_grad", "conv_weight_grad", "conv_winograd")
# Structural primitives whose result has its operands' dimensions.
_SAME = ("concat", "interleave", "pad", "slice", "put_slice", "flip", "window_sum")


def memory_orders(graph: Graph, lanes: Callable[[Value], int]) -> dict[Value, Order]:
    """The order of every value that should lie otherwise than its dimensions are numbered.

    `lanes` is the number of elements of a value's dtype that a vector holds.
    """
    orders: dict[Value, Order] = {}
    wanted: set[Node] = {n for n in graph.nodes if _gains(n, lanes)}
    if not wanted:
        return orders
    for node in reversed(graph.nodes):  # what convolutions read
        if node in wanted:
            for v in _images(node):
                orders.setdefault(v, channels_last(v.ndim))
        else:
            _backward(node, orders)
    for node in graph.nodes:  # what is made of their results
        if node in wanted and node.primitive.name != "conv_weight_grad":
            orders.setdefault(node.outputs[0], channels_last(node.outputs[0].ndim))
        else:
            _forward(node, orders)
    return {v: o for v, o in orders.items() if o != tuple(range(v.ndim))}


def channels_last(ndim: int) -> Order:
    return (0, *range(2, ndim), 1)


def strides_in(shape: tuple[int, ...], order: Order) -> tuple[int, ...]:
    """Strides of a dense value whose dimensions lie in an order."""
    strides, size = [0] * len(shape), 1
    for d in reversed(order):
        strides[d] = size
        size *= largest(shape[d], 1)
    return tuple(strides)


def _gains(node: Node, lanes: Callable[[Value], int]) -> bool:
    """Whether channels fill vectors: those of the result, or of both factors of a weight gradient."""
    if node.primitive.name not in CONVOLUTIONS:
        return False
    if node.primitive.name == "conv_winograd":
        return True
    groups: int = node.attributes["groups"]
    w = node.inputs[1]
    least = lanes(node.outputs[0])
    if node.primitive.name == "conv":
        inside, out = w.shape[1], w.shape[0] // groups
    elif node.primitive.name == "conv_input_grad":
        inside, out = w.shape[0] // groups, w.shape[1]
    else:
        kernel = node.outputs[0].shape
        inside, out = kernel[1], kernel[0] // groups
    if inside == out == 1:
        return groups >= least
    return out >= least


def _images(node: Node) -> tuple[Value, ...]:
    """The operands of a convolution that are images."""
    return tuple(node.inputs) if node.primitive.name == "conv_weight_grad" else (node.inputs[0],)


def _same_dimensions(node: Node) -> list[Value]:
    """Operands whose dimensions are the result's."""
    out = node.outputs[0]
    if node.primitive.kind == "elementwise":
        return [v for v in node.inputs if v.shape == out.shape]
    if node.primitive.name == "after":
        return [node.inputs[0]]
    if node.primitive.name in _SAME:
        return [v for v in node.inputs if v.ndim == out.ndim]
    return []


def _backward(node: Node, orders: dict[Value, Order]) -> None:
    """Give the operands of a node the order that its result is wanted in."""
    order = orders.get(node.outputs[0]) if node.outputs else None
    if order is None:
        return
    for v in _same_dimensions(node):
        orders.setdefault(v, order)
    if node.primitive.name == "permute":
        dims = node.attributes["dims"]
        orders.setdefault(node.inputs[0], tuple(dims[d] for d in order))


def _forward(node: Node, orders: dict[Value, Order]) -> None:
    """Give a node's result the order of its operands."""
    if not node.outputs or node.outputs[0] in orders:
        return
    found = [orders[v] for v in _same_dimensions(node) if v in orders]
    out = node.outputs[0]
    if found:
        orders[out] = found[0]
        return
    order = orders.get(node.inputs[0]) if node.inputs else None
    if order is None:
        return
    moved = _MOVED.get(node.primitive.name)
    if node.primitive.kind in ("reduce", "arg_reduce"):
        orders[out] = _without(order, _reduced(node.attributes))
    elif moved is not None:
        orders[out] = moved(order, node.attributes)


def _reduced(attributes: dict[str, Any]) -> tuple[int, ...]:
    dims = attributes.get("dims")
    return (attributes["dim"],) if dims is None else tuple(dims)


def _without(order: Order, dims: tuple[int, ...]) -> Order:
    """The order of the dimensions that a reduction keeps."""
    left = [d for d in range(len(order)) if d not in dims]
    return tuple(left.index(d) for d in order if d not in dims)


def _permuted(order: Order, attributes: dict[str, Any]) -> Order:
    dims = attributes["dims"]
    return tuple(dims.index(d) for d in order)


def _windowed(order: Order, attributes: dict[str, Any]) -> Order:
    """Positions lie as the pixels do, offsets are walked last."""
    first, n = attributes["first"], len(attributes["size"])
    after = [d if d < first + n else d + n for d in order]
    return (*after, *range(first + n, first + 2 * n))


_MOVED: dict[str, Callable[[Order, dict[str, Any]], Order]] = {
    "permute": _permuted,
    "windows": _windowed,
}
