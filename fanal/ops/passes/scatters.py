"""Scatters that place one value in each line, as a comparison: the gradient of picking by label.

The derivative of `x.gather(d, label)` with one label a line adds each gradient into zeros. Every line of
the result has one place that is not zero, so it is `where(position == label, gradient, 0)`, which needs
no memory of its own and joins what reads it. Grade A (adding to zero makes +0 of -0, and so does this).
The labels were checked by the gather, which reads them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.core.dispatch import bind, state
from fanal.graph.ir import Node, Value
from fanal.ops.arithmetic import add_p, eq_p, where_p
from fanal.ops.create import iota_p
from fanal.ops.layout import expand_to, zeros_like_type
from fanal.ops.passes.rewrite import Pass


def one_a_line(node: Node, given: Sequence[Value]) -> Any:
    """A scatter into zeros whose indices are positions but for one dimension, of extent 1."""
    x, updates, *indices = given
    dims, mode = node.attributes["dims"], node.attributes["mode"]
    zero = x.node is not None and x.node.primitive.name == "full" and x.node.attributes["value"] == 0
    if not zero or mode != "add" or sorted(dims) != list(range(x.ndim)) or x.dtype.kind != "f":
        return None
    shape = indices[0].shape
    free = [d for d in range(x.ndim) if d >= len(shape) or shape[d] != x.shape[d]]
    if len(shape) != x.ndim or len(free) != 1 or shape[free[0]] != 1:
        return None
    (d,) = free
    label = None
    for at, index in zip(dims, indices, strict=True):
        if at == d:
            label = index
        elif not _is_position(index, at):
            return None
    if label is None or not _is_checked(label, d, x.shape[d]):
        return None
    place = bind(iota_p, shape=x.shape, dim=d, dtype=label.dtype)
    hit = bind(eq_p, place, expand_to(label, x.shape))
    value = expand_to(bind(add_p, updates, zeros_like_type(updates)), x.shape)
    return bind(where_p, hit, value, zeros_like_type(x))


def _is_checked(label: Value, d: int, extent: int) -> bool:
    """Whether a gather of the same extent reads with this index, and so reports one out of range."""
    return any(
        node.primitive.name == "gather"
        and any(
            index is label and at == d and node.inputs[0].shape[at] == extent
            for at, index in zip(node.attributes["dims"], node.inputs[1:], strict=True)
        )
        for node in state.tracer.nodes
    )


def _is_position(index: Value, d: int) -> bool:
    node = index.node
    return node is not None and node.primitive.name == "iota" and node.attributes["dim"] == d


SCATTER = Pass("scatter", "A", {"scatter": (one_a_line,)})
