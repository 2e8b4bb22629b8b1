"""Batched graphs: every value may carry one more axis, each primitive says what becomes of it.

Elementwise operations bring their operands' batch axes to the front; all others have a rule in their
record. Random bits are the same for the whole batch, unless each member is to have its own.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from fanal.core.dispatch import bind
from fanal.core.errors import Limit, message
from fanal.graph.ir import Graph, Node, SubGraph, Value
from fanal.ops.layout import in_front

Axis = int | None


class _Draws(threading.local):
    different = False


_draws = _Draws()


def batched(
    graph: Graph,
    inputs: Sequence[Value],
    axes: Sequence[Axis],
    size: int,
    different: bool | None = None,
) -> tuple[list[Value], list[Axis]]:
    """The graph applied to inputs with batch axes (None: none); outputs and their axes.

    Must be called while tracing. `size` is the extent of the batch. `different`: whether each member
    draws its own random bits (None: as where this is called from, for graphs inside of graphs).
    """
    before = _draws.different
    if different is not None:
        _draws.different = different
    try:
        return _batched(graph, inputs, axes, size)
    finally:
        _draws.different = before


def _batched(
    graph: Graph, inputs: Sequence[Value], axes: Sequence[Axis], size: int
) -> tuple[list[Value], list[Axis]]:
    values: dict[Value, Value] = dict(zip(graph.inputs, inputs, strict=True))
    where: dict[Value, Axis] = dict(zip(graph.inputs, axes, strict=True))
    for node in graph.nodes:
        arguments = [values[v] for v in node.inputs]
        given = [where[v] for v in node.inputs]
        results, result_axes = _apply(node, arguments, given, size)
        values.update(zip(node.outputs, results, strict=True))
        where.update(zip(node.outputs, result_axes, strict=True))
    return [values[v] for v in graph.outputs], [where[v] for v in graph.outputs]


def _apply(
    node: Node, inputs: list[Value], axes: list[Axis], size: int
) -> tuple[Sequence[Value], Sequence[Axis]]:
    primitive: Any = node.primitive
    if all(a is None for a in axes) and not (_draws.different and draws(node)):
        result = bind(primitive, *inputs, **node.attributes)
        results = result if isinstance(result, tuple) else (result,)
        return results, [None] * len(results)
    if all(a is None for a in axes) and primitive.kind != "random":
        inputs, axes = [in_front(x, None, size) for x in inputs], [0] * len(inputs)
    if primitive.batch is not None:
        result, axis = primitive.batch(inputs, axes, size, **node.attributes)
        if isinstance(result, tuple):
            return result, axis
        return [result], [axis]
    if primitive.kind == "elementwise":
        moved = [in_front(x, a, size) for x, a in zip(inputs, axes, strict=True)]
        return [bind(primitive, *moved, **node.attributes)], [0]
    raise Limit(message(primitive.name, "has no batching rule", hint="a loop over the batch"))


def draws(node: Node) -> bool:
    """Whether a node gives random numbers, itself or in a graph inside of it."""
    if node.primitive.kind == "random":
        return True
    inner = [a for a in node.attributes.values() if isinstance(a, SubGraph)]
    return any(draws(n) for graph in inner for n in graph.nodes)
