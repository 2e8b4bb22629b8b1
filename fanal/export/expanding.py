"""Composed primitives are for this house alone: in what leaves, what they are made of stands in their place."""

from __future__ import annotations

from typing import Any

from fanal.graph.ir import Builder, Graph, Node, SubGraph, Value
from fanal.ops.composed import body_of


def expanded(graph: Graph) -> Graph:
    """The same graph without composed primitives: what they are made of stands in their place."""
    b = Builder()
    values: dict[Value, Value] = {v: b.input(v.dtype, v.shape) for v in graph.inputs}
    for node in graph.nodes:
        given = tuple([values[v] for v in node.inputs])
        if node.primitive.kind == "composed":
            b.origin = node.origin
            body = expanded(body_of(node.primitive, [v.type for v in given], node.attributes))
            found: Any = tuple(b.inlined(body, given))
        else:
            inner = {
                k: SubGraph(g.inputs, g.nodes, g.outputs)
                for k, x in node.attributes.items()
                if isinstance(x, SubGraph)
                for g in [expanded(x)]
            }
            if inner and any(inner[k].key != node.attributes[k].key for k in inner):
                before, node = node, Node(node.primitive, node.inputs, {**node.attributes, **inner})
                node.origin = before.origin
                node.outputs = before.outputs
            found = b.copied(node, given, node.origin)
        values.update(zip(node.outputs, found if isinstance(found, tuple) else (found,), strict=True))
    return b.graph([values[v] for v in graph.outputs])
