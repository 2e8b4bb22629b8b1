"""Composed primitives on the native backend: the nodes of the body, in the node's place."""

from __future__ import annotations

from fanal.backends.native.lower.lowering import Lowering, rule
from fanal.graph.ir import Node
from fanal.ops.composed import body_of
from fanal.ops.derive.reverse import copied


@rule("composed")
def lower_body(low: Lowering, node: Node) -> None:
    """Lower what a node's body computes."""
    body = copied(body_of(node.primitive, [v.type for v in node.inputs], node.attributes))
    low.values.update(
        (inner, low.values[outer]) for inner, outer in zip(body.inputs, node.inputs, strict=True)
    )
    for inner, outer in zip(body.outputs, node.outputs, strict=True):
        if inner.node is not None and outer in low.destinations:
            low.destinations.setdefault(inner, low.destinations[outer])
    for part in body.nodes:
        part.origin = node.origin
        low.node(part)
    low.values.update(
        (outer, low.values[inner]) for inner, outer in zip(body.outputs, node.outputs, strict=True)
    )
