"""Graphs inside of nodes: functions of values traced into graphs that say what they take from outside.

A body is a function of values. It may use any value of the graphs around it; those become further
inputs of its own graph, which stands alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fanal.core.dispatch import bind, tracing
from fanal.graph.ir import Builder, Graph, Node, SubGraph, Type, Value
from fanal.ops.layout import zeros_like_type

Values = list[Value]

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


def restated(
    graph: Graph, outputs: Sequence[Value], known: dict[Value, Value],
    carries: Sequence[Value] = (), slices: dict[Value, Value] | None = None,
) -> tuple[SubGraph, Values, Values]:  # fmt: skip
    """The part of a graph that outputs need, where `known` and `slices` give the values of the graph
    around that its own ones are, or are slices of. Its inputs: those of `known` that it uses, each
    once, the carries, those of `slices` that it uses, each once. With the values around of both.
    """
    nodes, needed = [], set(outputs)
    for node in reversed(graph.nodes):
        if any(v in needed and v not in known for v in node.outputs):
            nodes.append(node)
            needed.update(node.inputs)
    builder = Builder()
    env: dict[Value, Value] = {}

    def inputs_for(table: dict[Value, Value]) -> Values:
        inner: dict[Value, Value] = {}
        for v, around in table.items():
            if v in needed:
                if around not in inner:
                    inner[around] = builder.input(v.dtype, v.shape)
                env[v] = inner[around]
        return list(inner)

    consts = inputs_for(known)
    env.update((v, builder.input(v.dtype, v.shape)) for v in carries)
    sequences = inputs_for(slices or {})
    with tracing(builder):
        for node in reversed(nodes):
            builder.origin = node.origin
            made = bind(node.primitive, *(env[v] for v in node.inputs), **node.attributes)
            results = made if isinstance(made, tuple) else (made,)
            env.update((v, r) for v, r in zip(node.outputs, results, strict=True) if v not in env)
    live = builder.graph([env[v] for v in outputs])
    return SubGraph(live.inputs, live.nodes, live.outputs), consts, sequences


def widened(graph: Graph, consts: Sequence[Value], all_consts: Sequence[Value]) -> SubGraph:
    """A graph whose first inputs stand for `consts` of the graph around it, with an input for each
    one of `all_consts` in their place."""
    builder = Builder()
    inputs = {v: builder.input(v.dtype, v.shape) for v in all_consts}
    rest = [builder.input(v.dtype, v.shape) for v in graph.inputs[len(consts) :]]
    with tracing(builder):
        outputs = graph.apply([*(inputs[v] for v in consts), *rest], bind)
    return SubGraph([*inputs.values(), *rest], builder.nodes, outputs)


# -- what the rules of loops and branches share ------------------------------------------------------


def fixpoint(first: Sequence[bool], step: Callable[[list[bool]], Sequence[bool]]) -> list[bool]:
    """The flags that no further step adds to; `step` gives those that follow from others."""
    flags = list(first)
    while True:
        more = [a or b for a, b in zip(flags, step(flags), strict=True)]
        if more == flags:
            return flags
        flags = more


def tried(graph: Graph, function: Callable[[Values], Any]) -> Any:
    """What a function gives for values like a graph's inputs; what it builds is thrown away."""
    builder = Builder()
    inputs = [builder.input(*v.type) for v in graph.inputs]
    return builder.trace(function, inputs)


def floating(body: Graph, tangents: Sequence[Value | None]) -> list[Value | None]:
    """The tangents of a body's outputs; values of other kinds have none."""
    return [t if v.dtype.kind == "f" else None for v, t in zip(body.outputs, tangents, strict=True)]


def filled(tangents: Sequence[Value | None], like: Sequence[Value], flags: Sequence[bool]) -> Values:
    """The tangents of the flagged values, zeros where there is none."""
    rows = zip(tangents, like, flags, strict=True)
    return [zeros_like_type(v) if t is None else t for t, v, flag in rows if flag]


def placed(found: Sequence[Any], flags: Sequence[bool]) -> list[Any]:
    """One item for each flag: the next one found, or None."""
    left = iter(found)
    return [next(left) if flag else None for flag in flags]
