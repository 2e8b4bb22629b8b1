"""The gradient of a captured call: one node on the tape, whose backward pass is one program.

When a captured call returns tensors that can be differentiated, the tape's own backward pass is run on
lazy tensors, so that its steps are taken down behind those of the call: the same operations in the
same order as in eager mode. What the backward part needs of the forward part is then saved by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fanal.autograd.engine import run_backward
from fanal.autograd.tape import Node, released
from fanal.backends.native.saved import name_of
from fanal.compiler.rounding import Rounding
from fanal.compiler.segments import Segment
from fanal.compiler.steps import built
from fanal.core.dtypes import DType
from fanal.graph.digest import Unnamed, digest
from fanal.graph.ir import Builder, Graph, Value
from fanal.graph.sizes import sized_alike
from fanal.ops.derive.reverse import Derivative, derivative, split
from fanal.ops.derive.zeros import without
from fanal.tensor.layout import Layout
from fanal.tensor.layout import layout as layout_of
from fanal.tensor.layout import sized as sized_layout
from fanal.tensor.plans import graph_function
from fanal.tensor.recording import OpNode, edge_for
from fanal.tensor.tensor import Tensor


class NotOne(Exception):
    """Why a call can't be one node on the tape."""


class Released(Node):
    """The node of a result whose backward pass is over."""

    __slots__ = ("name",)

    def __init__(self, name: str):
        super().__init__((), 1)
        self.name = name

    def pull(self, grads: list[Any], create_graph: bool) -> Sequence[Any]:
        raise released(self.name)


def released_within(node: Node, begun: int) -> str | None:
    """The name of a node that the call put on the tape and whose saved values are freed already, if a
    backward pass from `node` comes to one: of a sum of losses, each with a pass of its own, say."""
    stack, seen = [node], set()
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, OpNode) and node.kept is None:
            return node.name
        stack += [e[0] for e in node.edges if isinstance(e, tuple) and e[0].sequence >= begun]
    return None


class CapturedGradient:
    """What a node of a captured call needs to know; the counterpart of `plans.GradPlan`.

    The node's outputs are the call's results that can be differentiated (layout and place in memory:
    `results`), then what is saved for the backward pass.
    """

    name = label = "compiled"
    saves = True

    def __init__(
        self, derived: Derivative, kinds: Sequence[Layout | DType], results: Sequence[Layout],
        wanted: list[bool],
    ):  # fmt: skip
        self.wanted, self.kinds = wanted, kinds
        self.visible = len(results)
        self.graph = derived.forward
        outputs = self.graph.outputs
        saved = len([s for s in derived.sources if s[0] == "extra"])
        extras = outputs[self.visible : self.visible + saved]
        self.layouts = [*results, *(layout_of(v.dtype, v.shape) for v in extras)]
        self.count = len(self.layouts)
        self.saved_inputs = sorted({i for kind, i in derived.sources if kind == "input"})
        self.tensors = [isinstance(kinds[i], Layout) for i in self.saved_inputs]
        found = {i for kind, i in derived.sources if kind == "output"}
        found |= {self.visible + i for kind, i in derived.sources if kind == "extra"}
        self.saved_outputs = sorted(found)
        self.extras = self.count - self.visible
        self.base = Graph(
            self.graph.inputs, self.graph.nodes, outputs[: self.visible + saved]
        ).pruned()
        self.whole = derived
        whole = (True,) * self.visible + (False,) * self.extras
        self.backward = {whole: self._backward(derived)}

    def program(self, key: Any) -> tuple[Graph, list[Layout], list[Any]]:
        """The forward program's graph, the layouts of what is new, and where what is written goes: its
        outputs are cells that live on, what is saved, then writes."""
        alive, writes, *_ = key
        v, n = self.visible, len(alive)
        outputs = self.graph.outputs
        extras, rest = outputs[v : self.count], outputs[self.count :]
        ordered = [*rest[:n], *extras, *rest[n:]]
        graph = Graph(self.graph.inputs, self.graph.nodes, ordered).pruned()
        fresh = [*(layout for _, layout in alive), *self.layouts[v:]]
        return graph, fresh, [t for _, t in writes]

    def segment(self, key: Any, rounding: Rounding) -> Segment:
        """The forward program."""
        graph, fresh, targets = self.program(key)
        try:
            place = name_of(["forward", digest(graph), repr((self.kinds, fresh, targets, rounding))])
        except Unnamed:
            place = None
        made = Segment(lambda: graph, place, self.kinds, fresh, targets, rounding=rounding)
        made.gradient = self
        return made

    def sized(self, value: Callable[[Any], Any]) -> CapturedGradient:
        """The same where sizes are what `value` says."""
        forward, backward = sized_alike((self.whole.forward, self.whole.backward), value)
        derived = Derivative(forward, backward, self.whole.sources, self.whole.gradients)
        kinds = [sized_layout(k, value) if isinstance(k, Layout) else k for k in self.kinds]
        results = [sized_layout(l, value) for l in self.layouts[: self.visible]]
        return CapturedGradient(derived, kinds, results, self.wanted)

    def backward_for(self, mask: tuple[bool, ...]) -> Any:
        """The backward function for the outputs that have a gradient."""
        found = self.backward.get(mask)
        if found is None:
            if any(mask[self.visible :]):  # a gradient of what was saved: of a gradient, that is
                found = self._backward(derivative(self.base, self.wanted, mask, again=True))
            else:
                found = self._without(mask)
            self.backward[mask] = found
        return found

    def _without(self, mask: tuple[bool, ...]) -> Any:
        """The backward function where some results have no gradient."""
        first = len(self.whole.sources)
        missing = {first + i for i in range(self.visible) if not mask[i]}
        graph, there = without(self.whole.backward, missing)
        numbers = iter(range(sum(there)))
        left = [next(numbers) if t else None for t in there]
        gradients = tuple(None if n is None else left[n] for n in self.whole.gradients)
        return self._backward(Derivative(self.graph, graph, self.whole.sources, gradients))

    def _backward(self, derived: Derivative) -> Any:
        inputs, outputs = self.saved_inputs, self.saved_outputs
        places = []
        for kind, i in derived.sources:
            number = i if kind != "extra" else self.visible + i
            if kind == "input":
                places.append(inputs.index(i))
            else:
                places.append(len(inputs) + outputs.index(number))
        function = graph_function(self.name, derived.backward)
        function.label = f"{self.label} (backward)"
        return function, places, None, tuple(derived.gradients)

    def node(self, operands: Sequence[Any], places: Sequence[tuple[Any, int]]) -> OpNode:
        """The node of one call: `operands` are its inputs, `places` memory and address of each output."""
        node: OpNode = OpNode.__new__(OpNode)
        edges = [
            edge_for(x) if wanted else None for x, wanted in zip(operands, self.wanted, strict=True)
        ]
        Node.__init__(node, edges, self.count)
        node.plan = self  # type: ignore[assignment]
        kept: list[Any] = []
        versions: list[Any] = []
        for i, is_tensor in zip(self.saved_inputs, self.tensors, strict=True):
            kept.append(operands[i])
            versions.append(operands[i]._storage.version if is_tensor else None)
        for i in self.saved_outputs:
            kept.append(places[i])
            versions.append(places[i][0].version)
        node.kept, node.versions = kept, versions
        return node


@dataclass(slots=True)
class Pending:
    """A backward pass taken down behind a call; `gradient` makes the node's data when it is known
    what else the call leaves behind."""

    results: Sequence[Tensor]
    numbers: list[int]
    values: list[Value]
    builder: Builder
    inputs: list[Value]
    given: list[Value]
    gradients: list[Value | None]
    wanted: list[bool]
    operands: list[Any]

    def gradient(self, alive: Sequence[int], written: Sequence[int]) -> CapturedGradient:
        """`alive`, `written`: numbers of the values that live on and that replace inputs."""
        late = set(self.given)
        primal = set()
        for n in self.builder.nodes:
            if any(v in late for v in n.inputs):
                late.update(n.outputs)
            else:
                primal.add(n)
        values = self.values
        outputs = [values[n] for n in self.numbers]
        derived = split(
            self.builder, self.inputs, outputs, self.given, self.gradients, primal,
            [values[n] for n in (*alive, *written)],
        )  # fmt: skip
        kinds = [
            x._layout.wanting(False) if isinstance(x, Tensor) else v.dtype
            for x, v in zip(self.operands, self.inputs, strict=True)
        ]
        layouts = [t._layout.wanting(False) for t in self.results]
        return CapturedGradient(derived, kinds, layouts, self.wanted)


def differentiated(recorder: Any, results: Sequence[Tensor], begun: int) -> Pending:
    """Take the backward pass of a call's results down; raises NotOne where it can't be one node.

    `begun`: nodes with a lower number were on the tape before the call.
    """
    numbers = [recorder.number(t) for t in results]
    count, operands = recorder.count, list(recorder.inputs)
    edges = _edges(results, begun)
    wanted = [isinstance(x, Tensor) and _same_edge(x, edges) for x in operands]
    owners = {_edge_key(edge_for(x)): x for x, w in zip(operands, wanted, strict=True) if w}
    if set(owners) != set(edges) or len(owners) != sum(wanted):
        raise NotOne("a gradient is wanted of a tensor that the call takes in another form")
    mark = recorder.mark()
    try:
        given = [recorder.given(layout_of(t.dtype, t._layout.shape)) for t in results]
        targets = [x for x, w in zip(operands, wanted, strict=True) if w]
        found = run_backward(list(zip(results, given, strict=True)), True, False, targets)
        grads = [found.get(i) for i in range(len(targets))]
        pulled = [None if g is None else recorder.number(g) for g in grads]
        if len(recorder.inputs) != len(operands) + len(results):
            raise NotOne("the backward pass takes tensors from outside")
        builder, values = built(recorder.path)
    finally:
        recorder.reset(mark)
    given_values = values[count : count + len(results)]
    apart = set(given_values)
    found_numbers = iter(pulled)
    gradients: list[Value | None] = []
    for w in wanted:
        number = next(found_numbers) if w else None
        gradients.append(None if number is None else values[number])
    inputs = [v for v in builder.inputs if v not in apart]
    return Pending(
        results, numbers, values, builder, inputs, given_values, gradients, wanted, operands
    )


def _edge_key(edge: Any) -> Any:
    return edge if isinstance(edge, tuple) else id(edge)


def _same_edge(x: Tensor, edges: dict[Any, Any]) -> bool:
    return x._layout.grad and _edge_key(edge_for(x)) in edges


def _edges(results: Sequence[Tensor], begun: int) -> dict[Any, Any]:
    """Where gradients of the results leave the call: leaves, and nodes from before it."""
    found: dict[Any, Any] = {}
    stack: list[Node] = []
    seen: set[int] = set()
    for t in results:
        node = t._current_node()
        if node is not None:
            stack.append(node)
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.extras is not None and (node.extras.hooks or node.extras.pre_hooks or node.extras.retained):
            raise NotOne("there are hooks on the tape")
        for edge in node.edges:
            if edge is None:
                continue
            if isinstance(edge, tuple) and edge[0].sequence >= begun:
                stack.append(edge[0])
            else:
                found[_edge_key(edge)] = edge
    return found
