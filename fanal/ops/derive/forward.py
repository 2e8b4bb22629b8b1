"""The forward derivative of a graph: tangents travel with the values, node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.core.dispatch import bind
from fanal.core.errors import Limit, message
from fanal.graph.ir import Graph, Node, Value
from fanal.ops.derive.reverse import times


def jvp(
    graph: Graph, inputs: Sequence[Value], tangents: Sequence[Value | None]
) -> tuple[list[Value], list[Value | None]]:
    """Outputs and their tangents; None stands for zero. Must be called while tracing."""
    values: dict[Value, Value] = dict(zip(graph.inputs, inputs, strict=True))
    moving: dict[Value, Value | None] = dict(zip(graph.inputs, tangents, strict=True))
    for node in graph.nodes:
        arguments = [values[v] for v in node.inputs]
        given = [moving[v] for v in node.inputs]
        push = node.primitive.push
        if push is not None and any(t is not None for t in given):
            results, moved = push(arguments, given, **node.attributes)
        else:
            result = bind(node.primitive, *arguments, **node.attributes)
            results = result if isinstance(result, tuple) else (result,)
            moved = _push(node, arguments, results, given)
        values.update(zip(node.outputs, results, strict=True))
        moving.update(zip(node.outputs, moved, strict=True))
    return [values[v] for v in graph.outputs], [moving[v] for v in graph.outputs]


def _push(
    node: Node, inputs: Sequence[Value], outputs: Sequence[Value], tangents: list[Value | None]
) -> Sequence[Value | None]:
    primitive: Any = node.primitive
    if all(t is None for t in tangents):
        return [None] * len(outputs)
    if primitive.partials is not None:
        total: Value | None = None
        partials = primitive.partials(*inputs, *outputs)
        for partial, tangent in zip(partials, tangents, strict=True):
            if partial is not None and tangent is not None:
                term = times(tangent, partial)
                total = term if total is None else total + term
        return [total]
    if primitive.jvp is None:
        raise Limit(message(primitive.name, "has no derivative", hint="detach()"))
    moved = primitive.jvp(tangents, inputs, outputs, **node.attributes)
    return moved if isinstance(moved, tuple | list) else [moved]
