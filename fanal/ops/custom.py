"""Values with a derivative of the user's own: what `autograd.Function` is in a graph.

`custom_gradient(x…, y…, s…)` gives the values y. Their derivative by x is what a graph says that leads
from s, y and cotangents of y to cotangents of x. That is linear in the cotangents, so the forward
derivative is its transpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.core.dispatch import bind, tracing
from fanal.core.errors import Limit, message
from fanal.graph.ir import Builder, Node, SubGraph, Type, Value
from fanal.ops.derive.batching import batched
from fanal.ops.derive.reverse import accumulate, sweep
from fanal.ops.layout import in_front, move_axis, zeros_like_type
from fanal.ops.primitive import FLOATS, Primitive
from fanal.ops.reduce import reduce_sum_p

Counts = tuple[int, int]  # of x, of y


def _values(*values: Value, counts: Counts, backward: SubGraph) -> tuple[Value, ...]:
    n, m = counts
    return values[n : n + m]


def _infer(*values: Value, counts: Counts, backward: SubGraph) -> list[Type]:
    return [v.type for v in _values(*values, counts=counts, backward=backward)]


def _pull(node: Node, cts: Sequence[Value | None], linear: Sequence[bool]) -> list[Value | None]:
    (n, m), backward = node.attributes["counts"], node.attributes["backward"]
    given = [zeros_like_type(y) if ct is None else ct for ct, y in zip(cts, node.outputs, strict=True)]
    found = backward.apply([*node.inputs[n + m :], *node.outputs, *given], bind)
    return [*found, *[None] * (len(node.inputs) - n)]


def _jvp(
    tangents: Sequence[Any], inputs: Sequence[Value], outputs: Sequence[Value], *, counts: Counts,
    backward: SubGraph,
) -> Any:  # fmt: skip
    # The backward graph from placeholders to gradients, swept in turn: its transpose.
    from fanal.core.dispatch import state

    n, m = counts
    builder: Builder = state.tracer
    holders = [Value(y.dtype, y.shape, None) for y in outputs]
    first = len(builder.nodes)
    found = backward.apply([*inputs[n + m :], *outputs, *holders], bind)
    inner: dict[Value, Value] = {}
    nodes = list(builder.nodes[first:])
    for g, t in zip(found, tangents[:n], strict=True):
        if t is not None:
            accumulate(inner, g, t)
    sweep(nodes, inner, set(holders))
    moved = tuple(inner.get(h) for h in holders)
    _check_linear(builder.nodes[first + len(nodes) :], moved, holders, nodes)
    return moved


def _check_linear(
    nodes: Sequence[Node], results: Sequence[Value | None], holders: list[Value], others: list[Node]
) -> None:
    """A derivative that is not linear in the cotangents has no transpose."""
    reached = {v for v in results if v is not None}
    for node in reversed([*others, *nodes]):
        if any(v in reached for v in node.outputs):
            reached.update(node.inputs)
    if any(h in reached for h in holders):
        raise Limit(
            message("jvp", "a custom function's backward is not linear in the gradients",
                    hint="a backward that is linear in them, or reverse mode")
        )  # fmt: skip


def _batch(
    inputs: Sequence[Value], axes: Sequence[int | None], size: int, *, counts: Counts,
    backward: SubGraph,
) -> Any:  # fmt: skip
    n, m = counts
    front = [
        x if a is None else move_axis(x, a, 0) for x, a in zip(inputs, axes, strict=True)
    ]
    front[n : n + m] = [
        in_front(y, a, size) for y, a in zip(inputs[n : n + m], axes[n : n + m], strict=True)
    ]
    b = Builder()
    values = front[n : n + m]
    given = [b.input(v.dtype, v.shape) for v in (*front[n + m :], *values, *values)]
    places = [None if a is None else 0 for a in axes[n + m :]]
    with tracing(b):
        found, where = batched(backward, given, [*places, *[0] * (2 * m)], size)
        grads = [
            _for_one(g, a, x is not None, size)
            for g, a, x in zip(found, where, axes[:n], strict=True)
        ]
    whole = b.graph(grads)
    made = SubGraph(whole.inputs, whole.nodes, whole.outputs)
    return bind(custom_gradient_p, *front, counts=counts, backward=made), (0,) * m


def _for_one(g: Value, axis: int | None, mapped: bool, size: int) -> Value:
    """The gradient of an operand: each member's own, or the sum for one that all share."""
    if mapped:
        return in_front(g, axis, size)
    return g * size if axis is None else bind(reduce_sum_p, g, dims=(axis,))


custom_gradient_p = Primitive(
    name="custom_gradient", kind="composed", body=_values, infer=_infer, multiple=True,
    reference=_values, dtypes=FLOATS, jvp=_jvp, pull=_pull, batch=_batch, smooth=False,
    doc="Some of the operands, with a derivative by others that a graph gives.",
)  # fmt: skip
