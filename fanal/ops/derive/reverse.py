"""The reverse derivative of a graph: a forward graph that saves, and a backward graph that uses it.

The graph's nodes are swept backwards; each contributes by the one rule that its record has: partial
derivatives, a transpose, or a jvp whose (linear) graph is swept in turn. Then what the backward
graph needs of the forward values is split: inputs and outputs are at hand, cheap elementwise values
are computed again, everything else (reductions, contractions) is saved by the forward graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fanal.core.dispatch import bind, tracing
from fanal.core.errors import Limit, message
from fanal.graph.ir import Builder, Graph, Node, Value
from fanal.ops.create import full_p
from fanal.ops.layout import zeros_like_type
from fanal.ops.pointwise import neg

# Kinds of primitives that are cheaper to compute again than to keep.
RECOMPUTED = frozenset({"elementwise", "layout", "create"})


@dataclass(frozen=True)
class Derivative:
    """Forward and backward graphs that belong together.

    `forward` has the original outputs followed by the saved values. `backward` takes
    (saved..., cotangents...); `sources` says for each saved value where it is found: ("input", i),
    ("output", i) or ("extra", i). `gradients[i]` is the backward output for input i, or None.
    """

    forward: Graph
    backward: Graph
    sources: tuple[tuple[str, int], ...]
    gradients: tuple[int | None, ...]


def derivative(graph: Graph, wrt: Sequence[bool], given: Sequence[bool]) -> Derivative:
    """Derive with respect to the inputs marked in `wrt`, from the outputs marked in `given`."""
    builder = Builder()
    inputs = [builder.input(v.dtype, v.shape) for v in graph.inputs]
    for new, old in zip(inputs, graph.inputs, strict=True):
        new.weak = old.weak
    with tracing(builder):
        outputs = graph.apply(inputs, bind)
        primal = set(builder.nodes)
        forward_nodes = list(builder.nodes)
        cotangents: dict[Value, Value] = {}
        given_inputs: list[Value] = []
        for out, wanted in zip(outputs, given, strict=True):
            if wanted:
                ct = builder.input(out.dtype, out.shape)
                given_inputs.append(ct)
                accumulate(cotangents, out, ct)
        active = {v for v, w in zip(inputs, wrt, strict=True) if w and v.dtype.kind == "f"}
        sweep(forward_nodes, cotangents, active)
    results = [
        cotangents.get(v) if w and v.dtype.kind == "f" else None
        for v, w in zip(inputs, wrt, strict=True)
    ]
    return _split(builder, inputs, outputs, given_inputs, results, primal)


def accumulate(cotangents: dict[Value, Value], value: Value, ct: Value | None) -> None:
    """Add a contribution to a value's cotangent."""
    if ct is None:
        return
    if ct.type != value.type:
        raise AssertionError(f"cotangent {ct.type!r} of a value {value.type!r}")
    before = cotangents.get(value)
    cotangents[value] = ct if before is None else before + ct


def sweep(nodes: Sequence[Node], cotangents: dict[Value, Value], active: set[Value]) -> None:
    """Push cotangents from outputs to inputs through `nodes`, in reverse order.

    `active` holds the values that derivatives are wanted of; it is extended to all that depend on
    them. Must be called while tracing.
    """
    for node in nodes:
        if any(v in active for v in node.inputs):
            active.update(v for v in node.outputs if v.dtype.kind == "f")
    for node in reversed(nodes):
        cts = [cotangents.get(v) for v in node.outputs]
        linear = [v in active for v in node.inputs]
        if any(linear) and any(ct is not None for ct in cts):
            contributions = _pull(node, cts, linear)
            for value, ct, wanted in zip(node.inputs, contributions, linear, strict=True):
                if wanted:
                    accumulate(cotangents, value, ct)


def _pull(node: Node, cts: list[Value | None], linear: list[bool]) -> Sequence[Value | None]:
    """The cotangents of a node's inputs from those of its outputs."""
    primitive = node.primitive
    if primitive.partials is not None:
        (ct,) = cts
        assert ct is not None
        partials = primitive.partials(*node.inputs, *node.outputs)
        return [
            times(ct, p) if wanted and p is not None else None
            for p, wanted in zip(partials, linear, strict=True)
        ]
    if primitive.transpose is not None and len(cts) == 1:
        assert cts[0] is not None
        return primitive.transpose(cts[0], node.inputs, linear, **node.attributes)
    if primitive.jvp is None:
        raise Limit(message(primitive.name, "has no derivative", hint="detach()"))
    return _pull_through_jvp(node, cts, linear)


def _pull_through_jvp(
    node: Node, cts: list[Value | None], linear: list[bool]
) -> Sequence[Value | None]:
    """Trace the jvp with place-holder tangents and sweep the linear graph that results."""
    from fanal.core.dispatch import state

    tangents = [Value(v.dtype, v.shape, None) if w else None for v, w in zip(node.inputs, linear)]
    builder = state.tracer
    assert isinstance(builder, Builder)
    first = len(builder.nodes)
    results = node.primitive.jvp(tangents, node.inputs, node.outputs, **node.attributes)
    if len(node.outputs) == 1 and not isinstance(results, tuple | list):
        results = (results,)
    linear_nodes = builder.nodes[first:]
    inner: dict[Value, Value] = {}
    for result, ct in zip(results, cts, strict=True):
        if result is not None and ct is not None:
            accumulate(inner, result, ct)
    sweep(list(linear_nodes), inner, {t for t in tangents if t is not None})
    return [None if t is None else inner.get(t) for t in tangents]


def times(ct: Value, partial: Value) -> Value:
    """ct · partial, where factors of one and minus one cost nothing."""
    node = partial.node
    if node is not None and node.primitive is full_p:
        if node.attributes["value"] == 1:
            return ct
        if node.attributes["value"] == -1:
            return neg(ct)
        if node.attributes["value"] == 0:
            return zeros_like_type(ct)
    if node is not None and node.primitive.name == "neg":
        inner = node.inputs[0].node
        if inner is not None and inner.primitive is full_p and inner.attributes["value"] == 1:
            return neg(ct)
    return ct * partial


def _split(
    builder: Builder,
    inputs: list[Value],
    outputs: list[Value],
    given: list[Value],
    results: list[Value | None],
    primal: set[Node],
) -> Derivative:
    input_number = {v: i for i, v in enumerate(inputs)}
    output_number = {v: i for i, v in reversed(list(enumerate(outputs)))}
    late = _depends(builder.nodes, set(given))
    saved: dict[Value, tuple[str, int]] = {}
    extras: list[Value] = []
    kept: set[Node] = set()
    stack = [v for v in results if v is not None]
    seen: set[Value] = set()
    while stack:
        v = stack.pop()
        if v in seen:
            continue
        seen.add(v)
        node = v.node
        if v in input_number:
            saved[v] = ("input", input_number[v])
        elif node is None:
            continue  # a cotangent
        elif v not in late and v in output_number:
            saved[v] = ("output", output_number[v])
        elif v in late or node not in primal or node.primitive.kind in RECOMPUTED:
            kept.add(node)
            stack.extend(node.inputs)
        else:
            saved[v] = ("extra", len(extras))
            extras.append(v)
    saved_values = list(saved)
    numbers: list[int | None] = []
    graph_outputs: list[Value] = []
    for result in results:
        numbers.append(None if result is None else len(graph_outputs))
        if result is not None:
            graph_outputs.append(result)
    backward = Graph(
        saved_values + given, [n for n in builder.nodes if n in kept], graph_outputs
    ).pruned()
    forward = Graph(inputs, [n for n in builder.nodes if n in primal], outputs + extras).pruned()
    return Derivative(
        _copied(forward), _copied(backward), tuple(saved.values()), tuple(numbers)
    )


def _depends(nodes: Sequence[Node], roots: set[Value]) -> set[Value]:
    """All values that depend on the roots."""
    found = set(roots)
    for node in nodes:
        if any(v in found for v in node.inputs):
            found.update(node.outputs)
    return found


def _copied(graph: Graph) -> Graph:
    """The graph with values and nodes of its own (inputs may be another graph's values)."""
    builder = Builder()
    inputs = [builder.input(v.dtype, v.shape) for v in graph.inputs]
    for new, old in zip(inputs, graph.inputs, strict=True):
        new.weak = old.weak and old.node is None
    with tracing(builder):
        outputs = graph.apply(inputs, bind)
    return builder.graph(outputs)
