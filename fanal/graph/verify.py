"""The executable specification of a legal graph, run after each pass in tests."""

from __future__ import annotations

from fanal.graph.ir import Graph, SubGraph, Type, Value, attribute_key


def verify(graph: Graph) -> None:
    """Raise ValueError where the graph breaks a rule.

    Rules: every value is defined before use and once; types are what the primitives infer;
    attributes are hashable, graphs among them legal; outputs exist.
    """
    defined: set[Value] = set(graph.inputs)
    if len(defined) != len(graph.inputs):
        raise ValueError("[graph] an input appears twice")
    for position, node in enumerate(graph.nodes):
        where = f"[graph] node {position} ({node.primitive.name})"
        for value in node.inputs:
            if value not in defined:
                raise ValueError(f"{where} uses a value that is not defined before it")
        inferred = [Type(*t) for t in node.primitive.infer(*node.inputs, **node.attributes)]
        actual = [v.type for v in node.outputs]
        if inferred != actual:
            raise ValueError(f"{where} has types {actual}, its rule infers {inferred}")
        hash(attribute_key(node.attributes))
        for value in node.attributes.values():
            if isinstance(value, SubGraph):
                verify(value)
        for value in node.outputs:
            if value in defined:
                raise ValueError(f"{where} defines a value twice")
            if value.node is not node:
                raise ValueError(f"{where} has an output that names another node")
            defined.add(value)
    for value in graph.outputs:
        if value not in defined:
            raise ValueError("[graph] an output is not defined")
