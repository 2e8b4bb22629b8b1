"""A backward graph without some of its cotangents: what only zeros would reach is left out.

A missing cotangent is an exact zero, as in a backward pass that never comes by: zero times infinity does
not arise. So the result has the bits of a pass over the other outputs alone.
"""

from __future__ import annotations

from typing import Any

from fanal.core.dispatch import bind, tracing
from fanal.graph.ir import Builder, Graph, Node, Value
from fanal.ops.arithmetic import neg_p
from fanal.ops.layout import zeros_like_type

# Zero wherever one operand is (products), or where the first is (quotients, and what moves elements).
_PRODUCTS = {"mul", "dot", "conv", "conv_input_grad", "conv_weight_grad", "conv_winograd"}
_FIRST = {
    "after", "div", "neg", "cast", "detach", "reshape", "permute", "expand", "slice", "flip", "windows",
    "reduce_sum", "window_sum", "cumsum", "gather",
}  # fmt: skip
_ALL = {"add", "sub", "concat", "interleave", "put_slice"}


def without(graph: Graph, missing: set[int]) -> tuple[Graph, list[bool]]:
    """The graph for which the inputs `missing` (numbers) are zero, without them; and which of its
    outputs are still there (the others are zero)."""
    builder = Builder()
    values: dict[Value, Value | None] = {}
    for i, v in enumerate(graph.inputs):
        if i in missing:
            values[v] = None
        else:
            values[v] = builder.input(v.dtype, v.shape)
            values[v].weak = v.weak  # type: ignore[union-attr]
    with tracing(builder):
        for node in graph.nodes:
            given = [values[v] for v in node.inputs]
            if None in given:
                found = _with_zeros(node, given)
            else:
                found = bind(node.primitive, *given, **node.attributes)
            results = found if isinstance(found, tuple) else (found,)
            values.update(zip(node.outputs, results, strict=True))
    outputs = [values[v] for v in graph.outputs]
    kept = [v for v in outputs if v is not None]
    return builder.graph(kept), [v is not None for v in outputs]


def _with_zeros(node: Node, given: list[Value | None]) -> Any:
    name = node.primitive.name
    nothing = tuple([None] * len(node.outputs))
    if name in _PRODUCTS or (name in _FIRST and given[0] is None):
        return nothing
    if name in _ALL and all(v is None for v in given):
        return nothing
    if name == "where" and given[1] is None and given[2] is None:
        return nothing
    if name == "pad" and node.attributes["value"] == 0:
        return nothing
    if name == "add":
        return next(v for v in given if v is not None)
    if name == "sub":
        return given[0] if given[1] is None else bind(neg_p, given[1])
    full = [
        zeros_like_type(old) if v is None else v for v, old in zip(given, node.inputs, strict=True)
    ]
    return bind(node.primitive, *full, **node.attributes)


