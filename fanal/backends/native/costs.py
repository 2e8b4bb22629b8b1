"""How much arithmetic nodes of a graph are: the operations of their definitions, whatever computes them.

A multiply-add is two operations, an elementwise primitive one an element (an exponential too); moving
elements, sorting and host calls are none. Bytes are those of the memory that phases name, each access once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from fanal.backends.native.description import Description
from fanal.backends.native.program import Unit
from fanal.graph.ir import Node, SubGraph
from fanal.ops.composed import body_of

_FREE = frozenset(["cast", "where"])  # elementwise, but no arithmetic
_OF_INPUT = frozenset(["reduce", "arg_reduce", "cumulative", "window_sum"])


def operations(nodes: Iterable[Node]) -> int:
    """Arithmetic operations of some nodes."""
    return sum(map(_operations, nodes))


def _operations(node: Node) -> int:
    kind, name = node.primitive.kind, node.primitive.name
    if kind == "elementwise":
        return 0 if name in _FREE else math.prod(node.outputs[0].shape)
    if kind == "dot":
        a = node.inputs[0]
        inner = math.prod(a.shape[d] for d in node.attributes["contract"][0])
        return 2 * math.prod(node.outputs[0].shape) * inner
    if kind == "conv":
        return 2 * _products(node)
    if kind == "attention":
        return 2 * _of_attention(node)
    if kind in _OF_INPUT:
        return math.prod(node.inputs[0].shape)
    if kind == "scatter":
        return math.prod(node.inputs[1].shape)
    if kind == "composed":
        return operations(
            body_of(node.primitive, [v.type for v in node.inputs], node.attributes).nodes
        )
    return 0


def multiply_adds(nodes: Iterable[Node]) -> int:
    """Products that are added up, in contractions, convolutions and attention: also inside of loops, as
    often as they are carried out (those of a `while` once, as nobody knows), and of the larger branch."""
    return sum(map(_multiply_adds, nodes))


def _multiply_adds(node: Node) -> int:
    kind = node.primitive.kind
    if kind in ("dot", "conv", "attention"):
        return _operations(node) // 2
    if kind == "composed":
        return multiply_adds(body_of(node.primitive, [v.type for v in node.inputs], node.attributes).nodes)
    if kind == "control":
        inner = [multiply_adds(a.nodes) for a in node.attributes.values() if isinstance(a, SubGraph)]
        steps = node.attributes.get("length", 1)
        return steps * (max(inner) if node.primitive.name == "cond" else sum(inner))
    return 0


def _products(node: Node) -> int:
    """Multiplications of a convolution or of one of its gradients: all three pair each element of the
    result of the convolution with each weight that it is a sum over."""
    name = node.primitive.name
    if name in ("conv", "conv_winograd"):
        y, w = node.outputs[0], node.inputs[1]
    elif name == "conv_input_grad":
        y, w = node.inputs
    else:
        y, w = node.inputs[1], node.outputs[0]
    return math.prod(y.shape) * math.prod(w.shape[1:])


def _of_attention(node: Node) -> int:
    """Multiplications of the products of attention: two, or the five of its gradient. Of a causal one
    only the pairs that take part count."""
    q, k, v = node.inputs[:3]
    queries, keys = q.shape[2], k.shape[2]
    causal = node.attributes["causal"]
    pairs = sum(min(i + 1, keys) for i in range(queries)) if causal else queries * keys
    forward = node.primitive.name == "attention"
    widths = q.shape[3] + v.shape[3] if forward else 3 * q.shape[3] + 2 * v.shape[3]
    return q.shape[0] * q.shape[1] * pairs * widths


def unit_bytes(description: Description, unit: Unit, phases: Iterable[int]) -> int:
    """Bytes that the phases of a unit name. Of a table that is gathered from, what is taken of it."""
    total = sum(description.phases[i].nbytes for i in phases)
    for node in unit.nodes:
        if node.primitive.name == "gather":
            table, taken = node.inputs[0], node.outputs[0]
            size = table.dtype.itemsize
            unread = math.prod(table.shape) * size - math.prod(taken.shape) * size
            if 0 < unread < total:  # else the table is not in memory of its own
                total -= unread
    return total
