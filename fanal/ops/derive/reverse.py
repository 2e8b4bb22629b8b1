"""The reverse derivative of a graph: a forward graph that saves, and a backward graph that uses it.

The graph's nodes are swept backwards; each contributes by the one rule that its record has: partial
derivatives, a transpose, or a jvp whose (linear) graph is swept in turn. Then what the backward
graph needs of the forward values is split: inputs and outputs are at hand, cheap elementwise values
are computed again, everything else (reductions, contractions) is saved by the forward graph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fanal.core.dispatch import bind, state, tracing
from fanal.core.errors import Limit, message
from fanal.core.symbols import largest
from fanal.graph.ir import Builder, Graph, Node, Value
from fanal.ops import transcendental
from fanal.ops.arithmetic import div_p
from fanal.ops.create import full_p
from fanal.ops.interleaving import interleaved, spread_parts
from fanal.ops.layout import concat_p, pad_p, zeros_like_type
from fanal.ops.pointwise import neg
from fanal.ops.primitive import Primitive
from fanal.ops.transcendental import exp_p

# Kinds of primitives that are cheaper to compute again than to keep.
RECOMPUTED = frozenset({"elementwise", "layout", "create"})
TRANSCENDENTAL = frozenset(
    p.name for p in vars(transcendental).values() if isinstance(p, Primitive)
) - {"sqrt"}
# What is so many times smaller than the largest input or output costs nothing to keep (the mean and
# the scale of each row), while the backward kernels would compute it at every element again.
SMALLER = 8


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


def derivative(
    graph: Graph, wrt: Sequence[bool], given: Sequence[bool], again: bool = False
) -> Derivative:
    """Derive with respect to the inputs marked in `wrt`, from the outputs marked in `given`.

    `again`: the graph is the forward graph of an earlier derivation, for other outputs, and keeps
    what is needed already: nothing more is kept that can be computed from it.
    """
    builder = Builder()
    inputs = [builder.input(v.dtype, v.shape) for v in graph.inputs]
    for new, old in zip(inputs, graph.inputs, strict=True):
        new.weak = old.weak
    with tracing(builder):
        outputs = applied(graph, inputs, wrt, None if again else given)
        primal = set(builder.nodes)
        forward_nodes = list(builder.nodes)
        cotangents: dict[Value, Value] = {}
        given_inputs: list[Value] = []
        for out, wanted in zip(outputs, given, strict=True):
            if wanted:
                ct = builder.input(out.dtype, out.shape)
                given_inputs.append(ct)
                accumulate(cotangents, out, ct)
        wanted_inputs = {v for v, w in zip(inputs, wrt, strict=True) if w and v.dtype.kind == "f"}
        active = set(wanted_inputs)
        sweep(forward_nodes, cotangents, active, _recovered(outputs))
        # What only flat functions (floor, sign) stand between has a gradient: zero.
        for v in _reached(forward_nodes, [o for o, w in zip(outputs, given, strict=True) if w]):
            if v in wanted_inputs and v not in cotangents:
                cotangents[v] = zeros_like_type(v)
    results = [
        cotangents.get(v) if w and v.dtype.kind == "f" else None
        for v, w in zip(inputs, wrt, strict=True)
    ]
    return split(builder, inputs, outputs, given_inputs, results, primal, again=again)


def applied(
    graph: Graph, inputs: Sequence[Value], wrt: Sequence[bool], given: Sequence[bool] | None
) -> list[Value]:
    """The graph's outputs; operations with graphs inside also give what their derivatives need,
    unless `given`, the outputs that have a cotangent, is None."""
    env = dict(zip(graph.inputs, inputs, strict=True))
    active = {v for v, w in zip(graph.inputs, wrt, strict=True) if w and v.dtype.kind == "f"}
    reached: set[Value] = set()
    if given is not None and any(n.primitive.augment is not None for n in graph.nodes):
        roots = [v for v, g in zip(graph.outputs, given, strict=True) if g]
        reached = _reached(graph.nodes, roots)
    builder = state.tracer
    before = builder.origin
    for node in graph.nodes:
        builder.origin = node.origin or before
        primitive, arguments = node.primitive, [env[v] for v in node.inputs]
        linear = [v in active for v in node.inputs]
        result: Any = None
        if primitive.augment is not None and any(linear):
            wanted = [v in reached and v.dtype.kind == "f" for v in node.outputs]
            if any(wanted):
                result = primitive.augment(arguments, linear, wanted, **node.attributes)
        if result is None:
            result = builder.copied(node, tuple(arguments), builder.origin)
        results = result if isinstance(result, tuple | list) else (result,)
        env.update(zip(node.outputs, results, strict=False))
        if any(linear):
            active.update(v for v in node.outputs if v.dtype.kind == "f")
    builder.origin = before
    return [env[v] for v in graph.outputs]


def accumulate(cotangents: dict[Value, Value], value: Value, ct: Value | None) -> None:
    """Add a contribution to a value's cotangent."""
    if ct is None:
        return
    if ct.type != value.type:
        raise AssertionError(f"cotangent {ct.type!r} of a value {value.type!r}")
    before = cotangents.get(value)
    cotangents[value] = ct if before is None else joined(before, ct)


def joined(a: Value, b: Value) -> Value:
    """a + b; where they are neighbours of one another among zeros (gradients of the slices of one
    value), they are put side by side: no zeros are written, and nothing is added to them. So are all
    the slices with one step."""
    spread = spread_parts(a, b)
    if spread is not None:
        return interleaved(spread, a.shape)
    if not (_is_padded(a) and _is_padded(b)):
        return a + b
    (x, low_a), (y, low_b) = _inside(a), _inside(b)
    apart = [d for d in range(a.ndim) if (low_a[d], x.shape[d]) != (low_b[d], y.shape[d])]
    if len(apart) == 1:
        (dim,) = apart
        for first, start, second, then in ((x, low_a, y, low_b), (y, low_b, x, low_a)):
            if start[dim] + first.shape[dim] == then[dim]:
                parts = [*_pieces(first, dim), *_pieces(second, dim)]
                whole = bind(concat_p, *parts, dim=dim)
                high = [n - i - m for n, i, m in zip(a.shape, start, whole.shape, strict=True)]
                if whole.shape == a.shape:
                    return whole
                at = {"low": start, "high": tuple(high), "interior": (0,) * a.ndim}
                return bind(pad_p, whole, value=0, **at)
    return a + b


def _is_padded(v: Value) -> bool:
    """Whether a value is another one among zeros."""
    if v.node is None or v.node.primitive is not pad_p:
        return False
    at = v.node.attributes
    inside = min((*at["low"], *at["high"]), default=-1) >= 0
    return inside and at["value"] == 0 and not any(at["interior"])


def _inside(v: Value) -> tuple[Value, tuple[int, ...]]:
    assert v.node is not None
    return v.node.inputs[0], v.node.attributes["low"]


def _pieces(v: Value, dim: int) -> tuple[Value, ...]:
    if v.node is not None and v.node.primitive is concat_p and v.node.attributes["dim"] == dim:
        return v.node.inputs
    return (v,)


def _recovered(outputs: Sequence[Value]) -> dict[Value, tuple[Value, Value]]:
    """Exponentials that are a product of two values: of an output and what it was divided by.

    Softmax is such a quotient. With it the backward graph needs no exponential, nor softmax's input.
    """
    return {
        out.node.inputs[0]: (out, out.node.inputs[1])
        for out in outputs
        if out.node is not None
        and out.node.primitive is div_p
        and out.node.inputs[0].node is not None
        and out.node.inputs[0].node.primitive is exp_p
    }


def sweep(
    nodes: Sequence[Node],
    cotangents: dict[Value, Value],
    active: set[Value],
    recovered: dict[Value, tuple[Value, Value]] | None = None,
) -> None:
    """Push cotangents from outputs to inputs through `nodes`, in reverse order.

    `active` holds the values that derivatives are wanted of; it is extended to all that depend on
    them. `recovered` gives factors of values of `nodes`, to be used in their place. Must be called
    while tracing.
    """
    for node in nodes:
        if any(v in active for v in node.inputs):
            active.update(v for v in node.outputs if v.dtype.kind == "f")
    builder = state.tracer
    before = builder.origin
    for node in reversed(nodes):
        builder.origin = before if node.origin is None else node.origin._replace(backward=True)
        cts = [cotangents.get(v) for v in node.outputs]
        linear = [v in active for v in node.inputs]
        if any(linear) and any(ct is not None for ct in cts):
            contributions = _pull(node, cts, linear, recovered or {})
            for value, ct, wanted in zip(node.inputs, contributions, linear, strict=True):
                if wanted:
                    accumulate(cotangents, value, ct)
    builder.origin = before


def _pull(
    node: Node,
    cts: list[Value | None],
    linear: list[bool],
    recovered: dict[Value, tuple[Value, Value]],
) -> Sequence[Value | None]:
    """The cotangents of a node's inputs from those of its outputs."""
    primitive = node.primitive
    if primitive.pull is not None:
        return primitive.pull(node, cts, linear)
    if primitive.partials is not None:
        (ct,) = cts
        assert ct is not None
        factors = recovered.get(node.outputs[0])
        outputs = node.outputs if factors is None else [factors[0] * factors[1]]
        partials = primitive.partials(*node.inputs, *outputs)
        return [
            times(ct, p) if wanted and p is not None else None
            for p, wanted in zip(partials, linear, strict=True)
        ]
    if primitive.transpose is not None and len(cts) == 1:
        assert cts[0] is not None
        return primitive.transpose(cts[0], node.inputs, linear, **node.attributes)
    if primitive.jvp is None:
        raise Limit(message(primitive.name, "has no derivative", hint="detach()"))
    return pull_through_jvp(node, cts, linear)


def pull_through_jvp(
    node: Node, cts: list[Value | None], linear: list[bool]
) -> Sequence[Value | None]:
    """Trace the jvp with place-holder tangents and sweep the linear graph that results."""
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


def split(
    builder: Builder,
    inputs: list[Value],
    outputs: list[Value],
    given: list[Value],
    results: list[Value | None],
    primal: set[Node],
    also: Sequence[Value] = (),
    again: bool = False,
) -> Derivative:
    """Forward and backward graphs from one: `primal` are the forward nodes, `given` the cotangents of
    the outputs, `results` the wanted inputs' (None where there is none). `also` are further outputs
    of the forward graph, behind what it saves."""
    wanted = [v for v in results if v is not None]
    split = _Split(builder, inputs, outputs, given, wanted, primal, again)
    if not again:
        split = split.with_operands()
    numbers: list[int | None] = []
    graph_outputs: list[Value] = []
    for result in results:
        numbers.append(None if result is None else len(graph_outputs))
        if result is not None:
            graph_outputs.append(result)
    backward = Graph(
        list(split.saved) + given, [n for n in builder.nodes if n in split.kept], graph_outputs
    ).pruned()
    forward_nodes = [n for n in builder.nodes if n in primal]
    forward = Graph(inputs, forward_nodes, [*outputs, *split.extras, *also]).pruned()
    return Derivative(
        copied(forward), copied(backward), tuple(split.saved.values()), tuple(numbers)
    )


class _Split:
    """Which forward values the backward graph is given, and which nodes it computes itself.

    `forced` are values that are saved in any case.
    """

    def __init__(
        self,
        builder: Builder,
        inputs: list[Value],
        outputs: list[Value],
        given: list[Value],
        results: list[Value],
        primal: set[Node],
        again: bool = False,
        forced: frozenset[Value] = frozenset(),
    ):
        self.arguments = (builder, inputs, outputs, given, results, primal, again)
        self.again = again
        input_number = {v: i for i, v in enumerate(inputs)}
        output_number = {v: i for i, v in reversed(list(enumerate(outputs)))}
        late = _depends(builder.nodes, set(given))
        self.reduced = _depends(builder.nodes, _not_recomputed(primal))
        self.largest = largest(0, *(math.prod(v.shape) for v in (*inputs, *outputs)))
        self.saved: dict[Value, tuple[str, int]] = {}
        self.extras: list[Value] = []
        self.kept: set[Node] = set()
        stack = list(results)
        seen: set[Value] = set()
        while stack:
            v = stack.pop()
            if v in seen:
                continue
            seen.add(v)
            node = v.node
            if v in input_number:
                self.saved[v] = ("input", input_number[v])
            elif node is None:
                continue  # a cotangent
            elif v not in late and v in output_number and node.inputs:
                self.saved[v] = ("output", output_number[v])
            elif v in late or node not in primal or (v not in forced and self._cheap(v, node)):
                self.kept.add(node)
                stack.extend(node.inputs)
            else:
                self.saved[v] = ("extra", len(self.extras))
                self.extras.append(v)

    def _cheap(self, v: Value, node: Node) -> bool:
        """Whether a value is computed again rather than kept."""
        kind = node.primitive.kind
        small = kind == "elementwise" and math.prod(v.shape) * SMALLER <= self.largest
        return kind in RECOMPUTED and (self.again or not (small and v in self.reduced))

    def with_operands(self) -> _Split:
        """The split that keeps costly operands of products, if that takes no more memory.

        The forward graph writes an operand to memory in any case. Kept, it often replaces what it
        was computed from: attention keeps its weights in place of the scores.
        """
        primal = self.arguments[5]
        operands = {v for n in primal if n.primitive.kind == "dot" for v in n.inputs}
        costly = {v for v in operands if v.node in self.kept and _is_costly(v, self.kept)}
        if not costly:
            return self
        other = _Split(*self.arguments, frozenset(costly))
        return other if other.extra_bytes() <= self.extra_bytes() else self

    def extra_bytes(self) -> int:
        """Bytes of what is saved besides inputs and outputs."""
        return sum(math.prod(v.shape) * v.dtype.itemsize for v in self.extras)


def _is_costly(v: Value, nodes: set[Node]) -> bool:
    """Whether a value is computed through a transcendental function, by elementwise nodes of `nodes`."""
    stack, seen = [v], {v}
    while stack:
        node = stack.pop().node
        if node is None or node not in nodes or node.primitive.kind not in RECOMPUTED:
            continue
        if node.primitive.name in TRANSCENDENTAL:
            return True
        stack += [x for x in node.inputs if x not in seen]
        seen.update(node.inputs)
    return False


def _depends(nodes: Sequence[Node], roots: set[Value]) -> set[Value]:
    """All values that depend on the roots."""
    found = set(roots)
    for node in nodes:
        if any(v in found for v in node.inputs):
            found.update(node.outputs)
    return found


def _not_recomputed(nodes: set[Node]) -> set[Value]:
    return {v for n in nodes if n.primitive.kind not in RECOMPUTED for v in n.outputs}


def _reached(nodes: Sequence[Node], roots: Sequence[Value]) -> set[Value]:
    """The floating values that the roots depend on through floating values, except detached ones."""
    found = set(roots)
    for node in reversed(nodes):
        stops = node.primitive.name in ("detach", "stop_reverse")
        if not stops and any(v in found for v in node.outputs):
            found.update(v for v in node.inputs if v.dtype.kind == "f")
    return found


def copied(graph: Graph) -> Graph:
    """A graph with values and nodes of its own (inputs may be another graph's values)."""
    inputs = [Value(v.dtype, v.shape, None) for v in graph.inputs]
    for new, old in zip(inputs, graph.inputs, strict=True):
        new.weak = old.weak and old.node is None
    values = dict(zip(graph.inputs, inputs, strict=True))
    nodes = []
    for node in graph.nodes:
        copy = Node(node.primitive, tuple([values[v] for v in node.inputs]), node.attributes)
        copy.key, copy.origin = node.key, node.origin
        copy.outputs = tuple([Value(v.dtype, v.shape, copy, v.index) for v in node.outputs])
        values.update(zip(node.outputs, copy.outputs, strict=True))
        nodes.append(copy)
    return Graph(inputs, nodes, [values[v] for v in graph.outputs])
