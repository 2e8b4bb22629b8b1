"""The eager interpreter: a call becomes a cached native program, and a node on the tape.

On the first call with certain layouts a function is traced, compiled, and kept in its cache; later
calls allocate the outputs, launch, and wrap. If a gradient is wanted the function's graph is derived
and the forward program also writes what the backward program will need.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from fanal.autograd.mode import mode
from fanal.autograd.tape import Node, anomaly, overwritten, released, sequence
from fanal.backends.native.executable import Executable, compile_graph, launch, runtime
from fanal.backends.native.host import taken_error
from fanal.backends.native.loops.expression import Load
from fanal.backends.native.loops.views import VIEWS
from fanal.backends.native.program import STATUS_DIVISION, STATUS_HOST, Access
from fanal.core import dtypes
from fanal.core.dispatch import Fused, register_eager
from fanal.core.dtypes import DType
from fanal.core.errors import message
from fanal.graph.ir import Builder, Graph, Value
from fanal.ops.derive.reverse import Derivative, derivative
from fanal.ops.primitive import contiguous_strides
from fanal.tensor.layout import Layout, layout
from fanal.tensor.tensor import Tensor, allocate, new_tensor
from fanal.tensor.views import View, take

# Views that share memory for the user as well (a flip, as in PyTorch, is a copy).
STRIDED_VIEWS = {k: v for k, v in VIEWS.items() if k != "flip"}
NUMBERS = (bool, int, float)
_new_node = object.__new__
# One thread makes a plan's program: a second one would replace it while the first is running it.
_compiling = threading.RLock()
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


class Plan:
    """A function compiled for certain layouts."""

    __slots__ = (
        "address", "executable", "function", "grad", "graph", "inputs", "name", "outputs", "single",
        "structure", "views",
    )  # fmt: skip

    def __init__(self, function: Fused, graph: Graph, inputs: list[Any], structure: Any):
        self.function, self.name = function, function.name
        self.graph, self.inputs, self.structure = graph, inputs, structure
        self.outputs = output_layouts(graph, inputs)
        self.views: list[View] | None = None
        # Compiled when first needed: with a gradient wanted, another program may run instead.
        self.executable: Executable | None = None
        self.address = 0
        self.single = structure is None
        self.grad: GradPlan | None = None
        wants = [isinstance(x, Layout) and x.grad for x in inputs]
        if any(wants):
            self.grad = GradPlan(self, wants)

    def compile(self) -> Executable:
        """The program without anything saved."""
        with _compiling:
            if self.executable is None:
                self.executable = build(self.graph, self.inputs, self.outputs)
                self.address = self.executable.address
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

    def derive(self) -> None:
        """Derive the plan's graph; Limit where it has no derivative."""
        plan, wrt, graph = self.plan, self.wrt, self.plan.graph
        self.visible = len(graph.outputs)
        given = [v.dtype.kind == "f" for v in graph.outputs]
        first = derivative(graph, wrt, given)
        self.extras = len(first.forward.outputs) - self.visible
        self.needs = [g is not None for g in first.gradients]
        self.saved_inputs = sorted({i for kind, i in first.sources if kind == "input"})
        self.tensors = [isinstance(plan.inputs[i], Layout) for i in self.saved_inputs]
        outs = {i for kind, i in first.sources if kind == "output"}
        outs |= {self.visible + i for kind, i in first.sources if kind == "extra"}
        self.saved_outputs = sorted(outs)
        self.layouts = output_layouts(first.forward, plan.inputs)
        self.count = len(first.forward.outputs)
        self.saves = bool(self.saved_inputs or self.saved_outputs)
        needs = any(self.needs)
        self.differentiable = [needs and l.dtype.kind == "f" for l in self.layouts]
        pairs = zip(self.layouts, self.differentiable, strict=True)
        self.outputs = [l.wanting(d) for l, d in pairs]
        self.single = plan.single and not self.extras
        self.backward: dict[tuple[bool, ...], Backward] = {}
        if not self.extras:
            self.backward[tuple(given)] = self.backward_of(first)
        self.base = first.forward

    def compile(self) -> Executable:
        """The forward program that also writes what is saved."""
        with _compiling:
            if self.executable is None:
                if self.base is None:
                    self.derive()
                assert self.base is not None
                if self.extras:
                    self.executable = build(self.base, self.inputs, self.layouts)
                else:
                    self.executable = self.plan.compile()
                self.address = self.executable.address
            return self.executable

    def backward_for(self, mask: tuple[bool, ...]) -> Backward:
        """The backward function for the outputs that have a gradient."""
        found = self.backward.get(mask)
        if found is None:
            assert self.base is not None
            found = self.backward[mask] = self.backward_of(derivative(self.base, self.wrt, mask))
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
        return graph_function(self.name, graph), places, passed, tuple(derived.gradients)


class OpNode(Node):
    """A recorded call of a compiled function.

    `kept` holds what the gradient needs: inputs (tensors or numbers), then outputs as (storage,
    pointer), since an output itself would make a cycle; `versions` what each was at then.
    """

    __slots__ = ("kept", "plan", "versions")

    plan: GradPlan
    kept: Sequence[Any] | None
    versions: Sequence[Any]

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.plan.name

    def pull(self, grads: list[Any], create_graph: bool) -> Sequence[Any]:
        plan, kept = self.plan, self.kept
        if kept is None:
            raise released(plan.name)
        mask = tuple([g is not None for g in grads])
        found = plan.backward.get(mask)
        function, places, passed, gradients = plan.backward_for(mask) if found is None else found
        args = [self.unpack(kept[p], p, create_graph) for p in places]
        args += [g for g in grads if g is not None]
        if passed is not None:
            return [None if n is None else args[passed[n]] for n in gradients]
        results = call(function, tuple(args), {})
        return [None if n is None else results[n] for n in gradients]

    def unpack(self, kept: Any, place: int, create_graph: bool) -> Any:
        """A saved value, if it was not written to since."""
        plan, version = self.plan, self.versions[place]
        if version is None:
            return kept
        inputs = len(plan.saved_inputs)
        if place < inputs:
            storage = kept._storage
        else:
            storage, pointer = kept
            kept = new_tensor(storage, plan.layouts[plan.saved_outputs[place - inputs]], pointer)
            if create_graph:
                kept = kept._alias(self, plan.saved_outputs[place - inputs])
        if storage.version != version:
            raise overwritten(self, kept, version)
        return kept

    def release(self) -> None:
        self.kept = None


# A backward function, the places of its inputs in `kept`, if it only hands gradients through the
# arguments that it returns, and which result is whose gradient.
Backward = tuple[Fused, list[int], "tuple[int, ...] | None", "tuple[int | None, ...]"]


def graph_function(name: str, graph: Graph) -> Fused:
    """A graph as a function that can be called, compiled and derived again."""
    from fanal.core.dispatch import bind

    def body(*args: Any) -> Any:
        return tuple(graph.apply(args, bind))

    made = Fused(body, name, ("numbers",), view=True)
    # Any input may be a Python number that the forward call was given.
    made.signature = frozenset(range(len(graph.inputs)))
    return made


def build(graph: Graph, inputs: list[Any], outputs: list[Layout]) -> Executable:
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
    return compile_graph(graph, loads, targets)


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


# -- calls ---------------------------------------------------------------------------------------------


def call(function: Fused, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a function on tensors: look its program up, or trace and compile it."""
    if kwargs and function.out and "out" in kwargs:
        from fanal.tensor.outputs import call_into

        return call_into(function, args, kwargs)
    tensors: list[Any] = []
    key: list[Any] = []
    for i, a in enumerate(args):
        if isinstance(a, Tensor):
            tensors.append(a)
            key.append(a._layout)
        else:
            key.append(_key_part(a, tensors, function, i))
    if kwargs:
        key.append(_NAMES)
        for name, value in kwargs.items():
            key.append(name)
            key.append(_key_part(value, tensors, function, name))
    whole = tuple(key)
    plan = function.cache.get(whole)
    if plan is None:
        plan = _trace(function, args, kwargs)
        function.cache[whole] = plan
    return run(plan, tensors)


def plan_of(
    function: Fused, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Plan, list[Any]]:
    """The plan of a call, and the tensors and numbers that it would be run on."""
    tensors: list[Any] = []
    key = [_key_part(a, tensors, function, i) for i, a in enumerate(args)]
    for name, value in kwargs.items():
        key += [name, _key_part(value, tensors, function, name)]
    plan = function.cache.get(tuple(key))
    if plan is None:
        plan = function.cache[tuple(key)] = _trace(function, args, kwargs)
    return plan, tensors


def _key_part(a: Any, tensors: list[Any], function: Fused, where: int | str) -> Any:
    kind = type(a)
    if kind is int:
        if function.scalars and is_scalar(function, where):
            tensors.append(a)
            return kind
        return a
    if a is None or kind is str:
        return a
    if isinstance(a, Tensor):
        tensors.append(a)
        return a._layout
    if kind is bool or kind is float:
        if function.scalars and is_scalar(function, where):
            tensors.append(a)
            return kind
        # True, 1 and 1.0 are the same dictionary key, and so are 0.0 and -0.0.
        return (kind, a) if kind is bool else (kind, a.hex())
    if kind is tuple:
        for x in a:
            if type(x) is not int:
                break
        else:
            return a
    if kind in (tuple, list):
        return (kind, *(_key_part(x, tensors, function, "") for x in a))
    if kind is np.ndarray or isinstance(a, np.generic):
        raise TypeError(
            message(
                function.name, "a NumPy array where a tensor is expected", kind.__name__,
                "a Tensor", "fanal.from_numpy(array)",
            )
        )
    return (kind, a)


_NAMES = object()  # in a key: keyword arguments follow


def is_scalar(function: Fused, where: int | str) -> bool:
    """Whether an argument's Python number is a run-time input of the program."""
    if not function.scalars:
        return False
    if isinstance(where, str):
        return where in function.scalars
    if function.signature is None:
        names = list(inspect.signature(function.body).parameters)
        function.signature = frozenset(i for i, n in enumerate(names) if n in function.scalars)
    return where in function.signature


def run(plan: Plan, tensors: Sequence[Any]) -> Any:
    """Allocate, launch, wrap; record a node where a gradient is wanted."""
    if plan.views is not None:
        return _run_view(plan, tensors)
    grad = plan.grad
    if grad is not None and mode.enabled:
        return _run_recorded(plan, grad, tensors)
    pointers = [t._ptr if isinstance(t, Tensor) else number_bits(t) for t in tensors]
    if plan.single:
        out = allocate(plan.outputs[0])
        code = launch(plan.address or plan.compile().address, *pointers, out._ptr)
        if code:
            raise_status(plan.name, code)
        return out
    outputs = [allocate(l) for l in plan.outputs]
    code = launch(plan.address or plan.compile().address, *pointers, *[o._ptr for o in outputs])
    if code:
        raise_status(plan.name, code)
    return plan.structure(outputs)


def _run_recorded(plan: Plan, grad: GradPlan, tensors: Sequence[Any]) -> Any:
    pointers = [t._ptr if isinstance(t, Tensor) else number_bits(t) for t in tensors]
    address = grad.address or grad.compile().address
    if grad.single:
        out = allocate(grad.outputs[0])
        code = launch(address, *pointers, out._ptr)
        if code:
            raise_status(plan.name, code)
        record(grad, tensors, (out,))
        return out
    outputs = [allocate(l) for l in grad.outputs]
    code = launch(address, *pointers, *[o._ptr for o in outputs])
    if code:
        raise_status(plan.name, code)
    record(grad, tensors, outputs)
    if plan.single:
        return outputs[0]
    return plan.structure(outputs[: grad.visible])


def _run_view(plan: Plan, tensors: Sequence[Any]) -> Any:
    """Outputs that share the input's memory."""
    (t,) = tensors
    assert plan.views is not None
    if plan.single and (plan.grad is None or not mode.enabled):
        return take(t, plan.views[0])
    outputs = [take(t, view) for view in plan.views]
    grad = plan.grad
    if grad is not None and mode.enabled:
        if grad.base is None:
            grad.derive()
        record(grad, tensors, outputs)
    return outputs[0] if plan.single else plan.structure(outputs)


def views_of(graph: Graph, inputs: list[Any]) -> list[tuple[Layout, int]] | None:
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


def record(grad: GradPlan, tensors: Sequence[Any], outputs: Sequence[Any]) -> None:
    """Put a node on the tape for outputs just computed."""
    # Written out for speed: this runs once for each operation of a training step.
    node = _new_node(OpNode)
    node.plan = grad
    node.outputs = grad.count
    node.sequence = next(sequence)
    node.extras = None
    edges: list[Any] = []
    for t, wanted in zip(tensors, grad.needs):
        if wanted:
            rare = t._rare
            before = t._node if rare is None or rare.base is None else t._current_node()
            edges.append(t if before is None else (before, t._index))
        else:
            edges.append(None)
    node.edges = edges
    if grad.saves:
        kept: list[Any] = []
        versions: list[Any] = []
        for i, is_tensor in zip(grad.saved_inputs, grad.tensors):
            t = tensors[i]
            kept.append(t)
            versions.append(t._storage.version if is_tensor else None)
        for i in grad.saved_outputs:
            storage = outputs[i]._storage
            kept.append((storage, outputs[i]._ptr))
            versions.append(storage.version)
        node.kept = kept
        node.versions = versions
    else:
        node.kept = node.versions = _NOTHING
    if anomaly["enabled"]:
        node.remember_trace()
    if grad.count == 1:
        if grad.differentiable[0]:
            outputs[0]._node = node
        return
    for i, (output, tracked) in enumerate(zip(outputs, grad.differentiable)):
        if tracked:
            output._node = node
            output._index = i


_NOTHING: tuple[Any, ...] = ()


def edge_for(t: Any) -> Any:
    """Where the gradient of an input goes."""
    node = t._current_node()
    if node is not None:
        return (node, t._index)
    return t


def number_bits(x: Any) -> Any:
    """A by-value number as the launcher takes it: int64 or float."""
    if type(x) is int and not _INT64_MIN <= x <= _INT64_MAX:
        if x > 2**64 - 1 or x < _INT64_MIN:
            raise OverflowError(message("fanal", "a number that no dtype holds", x))
        return x - 2**64
    return x


def raise_status(name: str, code: int) -> None:
    """The error that a kernel reported: a code, and 55 bits of what it saw."""
    kind, info = code & 0xFF, code >> 8
    name = name.lstrip("_")
    if kind == STATUS_HOST:
        raise taken_error()
    if kind == STATUS_DIVISION:
        raise RuntimeError(
            message(name, "integer division by zero", hint="checking the divisor, or floats")
        )
    # Negative indices were counted from the end already, so their own value is not known here.
    got = str(info) if info < 1 << 54 else "one before the first element"
    raise IndexError(
        message(
            name, "index out of range", got, "an index within the dimension that it selects from",
            "checking indices, labels or the table's size",
        )
    )


# -- tracing -------------------------------------------------------------------------------------------


def _trace(function: Fused, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Plan:
    builder = Builder()
    inputs: list[Any] = []

    def value(a: Any, where: int | str) -> Any:
        if isinstance(a, Tensor):
            inputs.append(a._layout)
            return builder.input(a._layout.dtype, a._layout.shape)
        if type(a) in NUMBERS and is_scalar(function, where):
            v = builder.input(_number_dtype(a), ())
            v.weak = True
            inputs.append(v.dtype)
            return v
        if type(a) in (tuple, list):
            return type(a)(value(x, "") for x in a)
        return a

    traced = [value(a, i) for i, a in enumerate(args)]
    named = {own_name(function, k): value(a, k) for k, a in kwargs.items()}
    result = builder.trace(function.body, *traced, **named)
    leaves, structure = _flatten(result, function.name)
    plan = Plan(function, builder.graph(leaves), inputs, structure)
    if function.view:
        plan.views = _views(plan, args[1:], kwargs)
    return plan


def _views(plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[View] | None:
    """The views that a call is, if it only looks at its input in another way."""
    found = views_of(plan.graph, plan.inputs)
    if found is None:
        return None
    function = plan.function

    def again(number: int, x: Tensor) -> Tensor:
        result = call(function, (x, *args), kwargs)
        return result if plan.single else result[number]  # type: ignore[no-any-return]

    return [
        View(where, offset, plan.name, functools.partial(again, number))
        for number, (where, offset) in enumerate(found)
    ]


# NumPy's names of arguments, which PyTorch takes as well.
NUMPY_NAMES = {
    "axis": "dim", "keepdims": "keepdim", "x": "input", "a": "input", "x1": "input", "x2": "other",
}  # fmt: skip


def own_name(function: Any, name: str) -> str:
    """The name that a parameter has here, where it may be given as in NumPy."""
    ours = NUMPY_NAMES.get(name)
    if ours is None:
        return name
    names = inspect.signature(getattr(function, "body", function)).parameters
    return ours if name not in names and ours in names else name


def _number_dtype(a: Any) -> DType:
    return {bool: dtypes.bool_, int: dtypes.int64, float: dtypes.float64}[type(a)]


def _flatten(result: Any, name: str) -> tuple[list[Value], Any]:
    if isinstance(result, Value):
        return [result], None
    if isinstance(result, tuple | list):
        kind = type(result)
        if not all(isinstance(v, Value) for v in result):
            raise TypeError(message(name, "a composite function must return values"))
        if hasattr(kind, "_fields"):
            return list(result), lambda outputs: kind(*outputs[: len(result)])
        return list(result), lambda outputs: kind(outputs[: len(result)])
    raise TypeError(message(name, "a composite function must return values", type(result).__name__))


register_eager(call)
empty_storage = runtime.empty
