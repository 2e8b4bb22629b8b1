"""A graph whose sizes follow from symbols, for given sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fanal.core.symbols import mapped
from fanal.graph.ir import Graph, Node, SubGraph, Value


def sized(graph: Graph, value: Callable[[Any], Any]) -> Graph:
    """The same graph with other values, whose sizes are what `value` says; so are attributes'."""
    return sized_alike((graph,), value)[0]


def sized_alike(graphs: Iterable[Graph], value: Callable[[Any], Any]) -> list[Graph]:
    """Several graphs, which may share values."""
    known: dict[Value, Value] = {}

    def new(v: Value, node: Node | None) -> Value:
        made = Value(v.dtype, tuple([value(n) for n in v.shape]), node, v.index)
        made.weak = v.weak
        known[v] = made
        return made

    def attribute(x: Any) -> Any:
        return sized(x, value) if isinstance(x, SubGraph) else mapped(x, value)

    def copied(graph: Graph) -> Graph:
        inputs = [known[v] if v in known else new(v, None) for v in graph.inputs]
        nodes = []
        for node in graph.nodes:
            if node.outputs and node.outputs[0] in known:
                made = known[node.outputs[0]].node
                assert made is not None
            else:
                attributes = {k: attribute(x) for k, x in node.attributes.items()}
                made = Node(node.primitive, tuple([known[v] for v in node.inputs]), attributes)
                made.origin = node.origin
                made.outputs = tuple([new(v, made) for v in node.outputs])
            nodes.append(made)
        kind = SubGraph if isinstance(graph, SubGraph) else Graph
        return kind(inputs, nodes, [known[v] for v in graph.outputs])

    return [copied(graph) for graph in graphs]
