"""`autograd.Function` in a function that is being traced: its backward stands in the graph.

On the tape of the traced function a custom function is a node, as ever. But a graph may be derived
again from outside, where there is no tape: so the values that forward computed go through
`custom_gradient`, with the graph of backward.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from fanal.autograd.mode import enable_grad
from fanal.core.dispatch import bind
from fanal.graph.ir import Builder, Graph, SubGraph, Type
from fanal.ops.custom import custom_gradient_p
from fanal.tensor.creation import zeros
from fanal.tensor.layout import Layout
from fanal.tensor.tensor import Tensor

_graphs: dict[Any, Graph] = {}


def with_gradient(recorder: Any, cls: Any, ctx: Any, args: Sequence[Any], outputs: list[Any]) -> None:
    """Give the outputs that `cls.forward` computed the derivative that `cls.backward` says.

    `recorder` is tracing; nothing is done if no derivative from outside follows the arguments.
    """
    inputs = [
        (i, a) for i, a in enumerate(args)
        if isinstance(a, Tensor) and a.dtype.kind == "f" and recorder.number(a) in recorder.moving
    ]  # fmt: skip
    places = [
        i for i, o in enumerate(outputs)
        if isinstance(o, Tensor) and o.dtype.kind == "f" and id(o) not in ctx._constant
    ]  # fmt: skip
    if not inputs or not places:
        return
    given = [recorder.number(a) for _, a in inputs]
    values = [recorder.raw_number(outputs[i]) for i in places]
    backward, captured = _backward(cls, ctx, args, [i for i, _ in inputs], outputs, places)
    saved = [recorder.raw_number(s) for s in captured]
    graph, kept = _node(backward, saved, values, len(given))
    first = recorder.apply_graph(graph, (*given, *values, *kept))
    replaced = {}
    for number, i in enumerate(places, first):
        old = outputs[i]
        if any(old is t for t in ctx._dirty):
            recorder.store(old, number)
        else:
            outputs[i] = replaced[id(old)] = recorder.fresh(old, number)
    ctx._saved = tuple(replaced.get(id(t), t) for t in ctx._saved)


def _backward(
    cls: Any, ctx: Any, args: Sequence[Any], wrt: Sequence[int], outputs: list[Any], places: list[int]
) -> tuple[Graph, list[Any]]:
    """The graph of `cls.backward` and what it takes from outside: (cotangents…, saved…) → gradients."""
    from fanal.compiler.trace import trace

    def pull(*cotangents: Tensor) -> list[Any]:
        rest = iter(cotangents)
        grads = []
        for i, o in enumerate(outputs):
            tensor = isinstance(o, Tensor)
            zero = zeros(tuple(o.shape), dtype=o.dtype) if tensor and i not in places else None
            grads.append(next(rest) if i in places else zero)
        with enable_grad():
            found = cls.backward(ctx, *grads)
        found = found if isinstance(found, tuple) else (found,)
        return [
            zeros(tuple(args[i].shape), dtype=args[i].dtype) if found[i] is None else found[i]
            for i in wrt
        ]

    before, ctx.needs_input_grad = ctx.needs_input_grad, tuple(i in wrt for i in range(len(args)))
    try:
        layouts = [outputs[i]._layout.wanting(False) for i in places]
        traced = trace(pull, layouts, cls.__name__)
    finally:
        ctx.needs_input_grad = before
    return traced.graph, traced.captured


def _node(
    backward: Graph, saved: list[int], values: list[int], count: int
) -> tuple[Graph, list[int]]:
    """A graph of one `custom_gradient` (the same object for the same derivative), and the numbers of
    what it is given besides the function's own values."""
    m = len(values)
    kept = [n for n in saved if n not in values]
    b = Builder()
    cotangents, others = backward.inputs[:m], backward.inputs[m:]
    fresh = {}
    for v, n in zip(others, saved, strict=True):
        if n not in values:
            fresh[v] = b.input(v.dtype, v.shape)
            fresh[v].weak = v.weak
    outputs = [b.input(v.dtype, v.shape) for v in cotangents]
    moving = [b.input(v.dtype, v.shape) for v in cotangents]
    given = [
        fresh[v] if n not in values else outputs[values.index(n)]
        for v, n in zip(others, saved, strict=True)
    ]
    whole = b.graph(b.trace(backward.apply, [*moving, *given], bind))
    made = SubGraph(whole.inputs, whole.nodes, whole.outputs)
    types = [v.type for v in (*whole.outputs, *outputs, *whole.inputs[: len(kept)])]
    key = (made.key, count, m, tuple(types))
    found = _graphs.get(key)
    if found is None:
        b = Builder()
        operands = [b.input(*t) for t in types]
        results = b.trace(bind, custom_gradient_p, *operands, counts=(count, m), backward=made)
        found = _graphs[key] = b.graph(results)
    return found, kept


@functools.lru_cache(maxsize=1024)
def carry(layout: Layout) -> Graph:
    """The graph of a second value with the derivative of the first."""
    kind = Type(layout.dtype, layout.shape)
    b = Builder()
    _, ct = b.input(*kind), b.input(*kind)
    backward = SubGraph(b.inputs, [], [ct])
    b = Builder()
    operands = [b.input(*kind), b.input(*kind)]
    return b.graph(b.trace(bind, custom_gradient_p, *operands, counts=(1, 1), backward=backward))
