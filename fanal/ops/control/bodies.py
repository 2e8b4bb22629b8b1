"""Graphs inside of nodes: functions of values traced into graphs that say what they take from outside.

A body is a function of values. It may use any value of the graphs around it; those become further
inputs of its own graph, which stands alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fanal.core.dispatch import bind, tracing
from fanal.graph.ir import Builder, Graph, Node, SubGraph, Type, Value

# What only looks at its operand or stands for numbers: free to do again in every iteration.
FREE = frozenset({"layout", "create"})


def traced(
    function: Callable[..., Sequence[Value]], types: Sequence[Type]
) -> tuple[Graph, list[Value]]:
    """The graph of a function of values, and the outside values that are its further inputs."""
    builder = Builder()
    inputs = [builder.input(*t) for t in types]
    outputs = list(builder.trace(function, *inputs))
    graph = Graph(inputs, builder.nodes, outputs).pruned()
    foreign = strangers(graph)
    return rebuilt(Graph([*inputs, *foreign], graph.nodes, outputs)), foreign


def strangers(graph: Graph) -> list[Value]:
    """Values that a graph uses but neither computes nor is given, in the order of their use."""
    known, found = set(graph.inputs), []
    for node in graph.nodes:
        found += [v for v in dict.fromkeys(node.inputs) if v not in known]
        known.update(node.inputs)
        known.update(node.outputs)
    return found + [v for v in dict.fromkeys(graph.outputs) if v not in known]


def rebuilt(graph: Graph) -> SubGraph:
    """The same graph with values and nodes of its own, equal nodes once, dead ones left out."""
    builder = Builder()
    inputs = [builder.input(v.dtype, v.shape) for v in graph.inputs]
    with tracing(builder):
        outputs = graph.apply(inputs, bind)
    live = builder.graph(outputs)
    return SubGraph(live.inputs, live.nodes, live.outputs)


def with_inputs(graph: Graph, inputs: Sequence[Value], outputs: Sequence[Value]) -> SubGraph:
    """A graph over some of its own values: other inputs, other outputs."""
    return rebuilt(Graph(list(inputs), graph.nodes, list(outputs)).pruned())


class Outside:
    """Values of a body that are known outside of its loop, because they depend on nothing in it.

    `known` maps those values of the body to values of the graph around it. Costly ones are computed
    there; what is `FREE` only where something costly needs it.
    """

    def __init__(self, graph: Graph, known: dict[Value, Value], may_fail: bool):
        """`may_fail`: whether what can raise an error may be computed though the loop never runs."""
        self.known = known
        fixed = set(known)
        depends = set(known)
        costly: list[Node] = []
        for node in graph.nodes:
            if all(v in fixed for v in node.inputs) and (may_fail or not _can_fail(node)):
                fixed.update(node.outputs)
                if any(v in depends for v in node.inputs):
                    depends.update(node.outputs)
                    costly += [node] if node.primitive.kind not in FREE else []
        self.fixed = fixed
        for node in costly:
            self.value(node.outputs[0])

    def value(self, v: Value) -> Value:
        """A fixed value as one of the graph around."""
        found = self.known.get(v)
        if found is None:
            node = v.node
            assert node is not None
            made = bind(node.primitive, *map(self.value, node.inputs), **node.attributes)
            results = made if isinstance(made, tuple) else (made,)
            self.known.update(zip(node.outputs, results, strict=True))
            found = self.known[v]
        return found


def _can_fail(node: Node) -> bool:
    """Whether a node may end the program with an error, or may never end."""
    name, kind = node.primitive.name, node.primitive.kind
    divides = name in ("floor_div", "trunc_div", "remainder", "fmod")
    integers = any(v.dtype.kind != "f" for v in node.outputs)
    return (divides and integers) or kind in ("host", "control") or name in ("gather", "scatter")


def nodes_before(graph: Graph, values: Iterable[Value]) -> list[Node]:
    """The nodes that values depend on, in order."""
    return Graph(graph.inputs, graph.nodes, list(values)).live_nodes()
