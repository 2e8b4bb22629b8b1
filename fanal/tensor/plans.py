"""A function compiled for certain layouts: the plan of every later call with these layouts.

If a gradient is wanted the function's graph is derived, and the forward program also writes what the
backward program will need.
"""

from __future__ import annotations

import functools
import threading
from typing import Any

from fanal.backends.native.executable import Executable, compile_graph
from fanal.backends.native.loops.expression import Load
from fanal.backends.native.loops.views import VIEWS
from fanal.backends.native.program import Access
from fanal.core import dispatch
from fanal.core.collector import held_back
from fanal.core.dispatch import Fused, bind, call_eager
from fanal.core.watching import unwatched
from fanal.graph.ir import Builder, Graph, Value
from fanal.ops.derive.reverse import Derivative, derivative
from fanal.ops.primitive import contiguous_strides
from fanal.tensor.layout import Layout, layout
from fanal.tensor.tensor import Tensor
from fanal.tensor.tracing import trace
from fanal.tensor.views import View

# Views that share memory for the user as well (a flip, as in PyTorch, is a copy).
STRIDED_VIEWS = {k: v for k, v in VIEWS.items() if k != "flip"}
# One thread makes a plan's program: a second one would replace it while the first is running it.
_compiling = threading.RLock()


class Plan:
    """A function compiled for certain layouts."""

    __slots__ = (
        "address", "direct", "executable", "function", "grad", "graph", "inputs", "name", "outputs",
        "single", "structure", "views",
    )  # fmt: skip

    def __init__(self, function: Fused, graph: Graph, inputs: list[Any], structure: Any):
        self.function, self.name = function, function.name
        self.graph, self.inputs, self.structure = graph, inputs, structure
        self.outputs = output_layouts(graph, inputs)
        self.views: list[View] | None = None
        # Compiled when first needed: with a gradient wanted, another program may run instead.
        self.executable: Executable | None = None
        self.address = 0
        self.direct = 0  # the address, where there is one output and nothing to record
        self.single = structure is None
        self.grad: GradPlan | None = None
        wants = [isinstance(x, Layout) and x.grad for x in inputs]
        if any(wants):
            self.grad = GradPlan(self, wants)

    def compile(self) -> Executable:
        """The program without anything saved."""
        with _compiling:
            if self.executable is None:
                self.executable = build(
                    self.graph, self.inputs, self.outputs, self.function.label
                )
                self.address = self.executable.address
                if self.single and self.grad is None and self.views is None:
                    self.direct = self.address
            return self.executable


class GradPlan:
    """The forward program that saves, and the backward functions, of a plan.

    Derived when first run with gradients on: what runs without them (most backward functions) may
    have no derivative, and needs none.
    """

    __slots__ = (
        "address", "backward", "base", "count", "differentiable", "executable", "extras", "inputs",
        "layouts", "name", "needs", "outputs", "plan", "saved_inputs", "saved_outputs", "saves",
        "single", "tensors", "visible", "wrt",
    )  # fmt: skip

    base: Graph | None

    def __init__(self, plan: Plan, wrt: list[bool]):
        self.plan, self.name, self.wrt, self.inputs = plan, plan.name, wrt, plan.inputs
        self.base = None
        self.executable: Executable | None = None
        self.address = 0

    @unwatched
    def derive(self) -> None:
        """Derive the plan's graph; Limit where it has no derivative."""
        with held_back():
            self._derive()

    def _derive(self) -> None:
        plan, wrt, graph = self.plan, self.wrt, self.plan.graph
        self.visible = len(graph.outputs)
        given = [v.dtype.kind == "f" for v in graph.outputs]
        first = derivative(graph, wrt, given)
        self.extras = len(first.forward.outputs) - self.visible
        self.needs = [g is not None for g in first.gradients]
        whole = tuple(given + [False] * self.extras)
        # With what is kept among the outputs, the backward graph may make do with other ones.
        second = derivative(first.forward, wrt, whole, again=True) if self.extras else first
        self.saved_inputs = sorted({i for kind, i in second.sources if kind == "input"})
        self.tensors = [isinstance(plan.inputs[i], Layout) for i in self.saved_inputs]
        self.saved_outputs = sorted({i for kind, i in second.sources if kind == "output"})
        self.layouts = output_layouts(first.forward, plan.inputs)
        self.count = len(first.forward.outputs)
        self.saves = bool(self.saved_inputs or self.saved_outputs)
        needs = any(self.needs)
        self.differentiable = [needs and l.dtype.kind == "f" for l in self.layouts]
        pairs = zip(self.layouts, self.differentiable, strict=True)
        self.outputs = [l.wanting(d) for l, d in pairs]
        self.single = plan.single and not self.extras
        self.backward: dict[tuple[bool, ...], Backward] = {}
        self.backward[whole] = self.backward_of(second)
        self.base = first.forward

    def compile(self) -> Executable:
        """The forward program that also writes what is saved."""
        with _compiling:
            if self.executable is None:
                if self.base is None:
                    self.derive()
                assert self.base is not None
                if self.extras:
                    self.executable = build(
                        self.base, self.inputs, self.layouts, self.plan.function.label
                    )
                else:
                    self.executable = self.plan.compile()
                self.address = self.executable.address
            return self.executable

    @unwatched
    def backward_for(self, mask: tuple[bool, ...]) -> Backward:
        """The backward function for the outputs that have a gradient."""
        found = self.backward.get(mask)
        if found is None:
            assert self.base is not None
            derived = derivative(self.base, self.wrt, mask, again=True)
            found = self.backward[mask] = self.backward_of(derived)
        return found

    def backward_of(self, derived: Derivative) -> Backward:
        """What a node calls for one combination of output gradients."""
        graph = derived.backward
        passed = None
        if all(v in graph.inputs for v in graph.outputs):
            passed = tuple(graph.inputs.index(v) for v in graph.outputs)
        inputs, outputs = self.saved_inputs, self.saved_outputs
        places = [
            inputs.index(i) if kind == "input" else len(inputs) + outputs.index(i)
            for kind, i in derived.sources
        ]
        function = graph_function(self.name, graph)
        function.label = f"{self.name} (backward)"
        return function, places, passed, tuple(derived.gradients)


# A backward function, the places of its inputs in `kept`, if it only hands gradients through the
# arguments that it returns, and which result is whose gradient.
Backward = tuple[Fused, list[int], "tuple[int, ...] | None", "tuple[int | None, ...]"]


@unwatched
def make_plan(function: Fused, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Plan:
    """The plan of a call that was not seen yet."""
    with held_back():
        plan = Plan(function, *trace(function, args, kwargs))
        if function.view:
            plan.views = _views(plan, args[1:], kwargs)
    return plan


def _views(plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[View] | None:
    """The views that a call is, if it only looks at its input in another way."""
    found = _views_of(plan.graph, plan.inputs)
    if found is None:
        return None
    function = plan.function

    def again(number: int, x: Tensor) -> Tensor:
        result = call_eager(function, (x, *args), kwargs)
        return result if plan.single else result[number]

    return [
        View(where, offset, plan.name, functools.partial(again, number))
        for number, (where, offset) in enumerate(found)
    ]


def _views_of(graph: Graph, inputs: list[Any]) -> list[tuple[Layout, int]] | None:
    """Layout and offset of each output as a view of the only input; None if one is not a view."""
    if len(inputs) != 1 or not isinstance(inputs[0], Layout):
        return None
    found: dict[Value, tuple[tuple[int, ...], tuple[int, ...], int]] = {
        graph.inputs[0]: (inputs[0].shape, inputs[0].strides, 0)
    }
    for node in graph.nodes:
        make = STRIDED_VIEWS.get(node.primitive.name)
        if make is None:
            return None
        shape, strides, offset = found[node.inputs[0]]
        moved = make(node)(shape, strides)
        if moved is None:
            return None
        found[node.outputs[0]] = (node.outputs[0].shape, moved[0], offset + moved[1])
    result = []
    for value in graph.outputs:
        shape, strides, offset = found[value]
        result.append((layout(value.dtype, shape, strides), offset))
    return result


def graph_function(name: str, graph: Graph) -> Fused:
    """A graph as a function that can be called, compiled and derived again."""

    def body(*args: Any) -> Any:
        builder = dispatch.state.tracer
        kinds = [(v.dtype, v.shape, v.weak) for v in graph.inputs]
        if type(builder) is Builder and kinds == [(v.dtype, v.shape, v.weak) for v in args]:
            return tuple(builder.inlined(graph, args))
        return tuple(graph.apply(args, bind))

    made = Fused(body, name, ("numbers",), view=True)
    # Any input may be a Python number that the forward call was given.
    made.signature = frozenset(range(len(graph.inputs)))
    return made


def build(
    graph: Graph, inputs: list[Any], outputs: list[Layout], name: str = ""
) -> Executable:
    """Compile a graph for inputs given as layouts, or dtypes for by-value numbers."""
    loads = []
    for number, (value, given) in enumerate(zip(graph.inputs, inputs, strict=True)):
        if isinstance(given, Layout):
            access = Access(number, given.dtype, given.shape, given.strides)
            loads.append(Load(given.dtype, given.shape, access))
        else:
            loads.append(Load(value.dtype, (), Access(number, value.dtype, (), ()), True))
    targets = [
        Access(len(loads) + i, l.dtype, l.shape, l.strides) for i, l in enumerate(outputs)
    ]
    return compile_graph(graph, loads, targets, name)


def output_layouts(graph: Graph, inputs: list[Any]) -> list[Layout]:
    """Contiguous, except that elementwise results keep the dimension order of their input."""
    simple = all(n.primitive.kind in ("elementwise", "create", "layout") for n in graph.nodes)
    result = []
    for value in graph.outputs:
        strides = contiguous_strides(value.shape)
        if simple:
            for given in inputs:
                if isinstance(given, Layout) and given.shape == value.shape and given.dense:
                    strides = strides if given.contiguous else given.strides
                    break
        result.append(layout(value.dtype, value.shape, strides))
    return result
