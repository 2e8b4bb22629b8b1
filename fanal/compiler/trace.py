"""A function of tensors as a graph, without running it: what transforms and control flow are made of.

`trace` calls the function once with tensors that have layouts but no elements. All that it computes
from them, with derivatives, views and writes to tensors of its own, becomes one graph; tensors that
it takes from outside become further inputs. Its Python runs at tracing only, so asking for an element
that depends on the inputs, or writing to a tensor from outside, is an error at the user's line. What
`detach` and `no_grad` mean to the tape of the traced function stands in the graph as well, since the
graph may be derived again from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from fanal.autograd.mode import mode, no_grad
from fanal.compiler.custom import carry, with_gradient
from fanal.compiler.recorder import Recorder
from fanal.compiler.regions import Memory, Region, base_of, overlap
from fanal.compiler.steps import Apply, Look, NumberInput, Put, Step, TensorInput, built
from fanal.compiler.strided import strided_window
from fanal.compiler.traced import DetachedTensor, TracedTensor, identity, laid_out
from fanal.core import dispatch, pytree
from fanal.core.dispatch import call_eager, tracing
from fanal.core.errors import message
from fanal.graph.ir import Builder, Graph, Type
from fanal.ops.arithmetic import detach_p
from fanal.ops.primitive import Primitive
from fanal.ops.stops import stop_reverse_p
from fanal.tensor.layout import Layout
from fanal.tensor.layout import layout as layout_of
from fanal.tensor.lazy import Cell, lazy_tensor, place
from fanal.tensor.plans import graph_function
from fanal.tensor.tensor import Tensor


class TracedRegion(Region):
    """A region in which any window can be read and written, since nothing is ever run."""

    __slots__ = ()

    def window(self, start: int, layout: Layout) -> Any:
        found = super().window(start, layout)
        if found is not None:
            return found
        offset, rest = divmod(start - self.start, layout.dtype.itemsize)
        return None if rest else strided_window(self.layout, offset, layout)


@dataclass(frozen=True, slots=True)
class Traced:
    """A traced function. The graph's inputs are the given tensors, then `captured`: tensors and
    Python numbers that the function took from outside, in the order of their first use."""

    graph: Graph
    captured: list[Any]
    structure: pytree.Structure  # of what it returned
    constants: dict[int, Any]  # returned leaves that are no tensors, by position

    def result(self, outputs: Sequence[Any]) -> Any:
        """What the function returns, from the graph's outputs."""
        found = iter(outputs)
        count = self.structure.leaf_count
        leaves = [self.constants[i] if i in self.constants else next(found) for i in range(count)]
        return self.structure.unflatten(leaves)


class TraceRecorder(Recorder):
    """A recorder whose steps are never run.

    A tensor from outside counts by what it is on the tape as well as by its memory: a parameter and its
    `detach()` are two inputs, and gradients find their way to the right one. `moving` are the values that
    some derivative from outside may follow, `taped` those of them that a gradient may.
    """

    def __init__(self, name: str, root: Step | None = None):
        super().__init__(Step(None, 0, None) if root is None else root)
        self.name = name
        self.outer = dispatch.recorder()
        self.ended = False
        self.outside: dict[Any, Memory] = {}
        self.moving: set[int] = set()
        self.taped: set[int] = set()
        self.known_values: list[Tensor] = []  # what was computed since Python asked for it
        self._seed = (False, False)  # whether the input that is being made is moving, taped

    def given(self, layout: Layout, value: Tensor | None = None, moving: bool = False) -> Tensor:
        """An input: a tensor of this layout (it requires grad if the layout does).

        `value`: its elements, if Python may ask for them. `moving`: a derivative follows it.
        """
        plain = layout.wanting(False)
        self._seed = (moving or layout.grad, layout.grad)
        number = self._step((TensorInput, plain), lambda: TensorInput(plain), 1)
        self.inputs.append(value)
        return lazy_tensor(self._cell(plain, number), layout, 0)

    # -- values ------------------------------------------------------------------------------------

    def number(self, x: Any) -> int:
        if not isinstance(x, Tensor):
            return super().number(x)
        number = self.raw_number(x)
        if number in self.moving:
            if type(x) is DetachedTensor and x._storage.recorder is self:
                return self._stopped(detach_p, x._layout, number)
            if number in self.taped and not mode.enabled:
                return self._stopped(stop_reverse_p, x._layout, number)
        return number

    def raw_number(self, x: Any) -> int:
        """The number of a tensor's value as it is, whoever reads it."""
        if not isinstance(x, Tensor):
            return super().number(x)
        storage = x._storage
        lazy = type(storage) is Cell
        if not lazy:
            self._seed = (x._layout.grad, x._layout.grad)
        elif storage.recorder is not self:
            traced = isinstance(storage.recorder, TraceRecorder)
            if traced and storage.recorder.ended:
                storage.recorder.settle()
            self._seed = (traced or x._layout.grad, x._layout.grad)
        return super().number(x)

    def _stopped(self, primitive: Primitive, layout: Layout, number: int) -> int:
        graph = _stop(primitive, Type(layout.dtype, layout.shape))
        stopped = super()._step((graph, (number,)), lambda: Apply(graph, (number,)), 1)
        if primitive is stop_reverse_p:
            self.moving.add(stopped)
        return stopped

    def _step(self, key: Any, make: Any, results: int) -> int:
        number = super()._step(key, make, results)
        action = self.at.action
        if type(action) is TensorInput:
            moving, taped = self._seed
        elif self.moving:
            sources = _sources(action)
            moving = any(s in self.moving for s in sources)
            taped = any(s in self.taped for s in sources)
        else:
            return number
        if moving:
            self.moving.update(range(number, number + results))
        if taped:
            self.taped.update(range(number, number + results))
        return number

    def _locate(self, t: Tensor) -> tuple[Any, tuple[int, Layout]]:
        storage = t._storage
        layout = t._layout.wanting(False)
        lazy = type(storage) is Cell
        if lazy and storage.recorder is self:
            return storage, (place(t), layout)
        key = (id(storage), identity(t))
        memory = self.outside.get(key)
        if memory is None:
            memory = self.outside[key] = Memory(storage)
        return memory, (place(t) if lazy else t._ptr, layout)

    def _same_to_tape(self, base: Tensor, t: Tensor) -> bool:
        # Gradients must find their way to the view, which may be all that somebody asks for.
        return bool(identity(base) == identity(t))

    def _look(self, t: Tensor, memory: Any, start: int, layout: Layout) -> int:
        number = self._seen(memory, start, layout)
        if number is not None:
            return number
        if type(memory) is Cell or any(r.written and overlap(r, start, layout) for r in memory.regions):
            raise RuntimeError(
                message(
                    self.name, "a tensor is read after a write through another view of its memory",
                    tuple(t.shape), hint="an operation that makes a new tensor",
                )
            )  # fmt: skip
        base = base_of(t)
        if base is not None and base._storage is t._storage and self._same_to_tape(base, t):
            # Written through one view, read through another: both are windows of the base.
            whole = base._layout.wanting(False)
            first = place(base) if type(base._storage) is Cell else base._ptr
            if not any(r.start == first and r.layout is whole for r in memory.regions):
                self._look(base, memory, first, whole)
                return self._look(t, memory, start, layout)
        number = self._step((TensorInput, layout), lambda: TensorInput(layout), 1)
        self.inputs.append(t)
        memory.regions.append(Region(start, layout, number, t))
        return number

    def _cell(self, layout: Layout, number: int) -> Cell:
        cell = super()._cell(layout, number)
        cell.regions[0].__class__ = TracedRegion
        return cell

    def adopt(self, made: Tensor) -> Tensor:
        layout = made._layout
        self._seed = (False, False)
        number = self._step((TensorInput, layout), lambda: TensorInput(layout), 1)
        self.inputs.append(made if self.outer is None else self.outer.adopt(made))
        return lazy_tensor(self._cell(layout, number), layout, 0)

    def watch(self, t: Tensor) -> None:
        t.__class__ = TracedTensor

    # -- what is asked of whoever captures the whole ---------------------------------------------------

    def drawn(self, generator: Any, key: Tensor) -> None:
        if self.outer is not None:
            self.outer.drawn(generator, key)

    def grad_read(self, p: Tensor) -> None:
        if self.outer is not None:
            self.outer.grad_read(p)

    def grad_set(self, p: Tensor) -> None:
        if self.outer is not None:
            self.outer.grad_set(p)

    def live(self, owner: Any, group: Any, changed: Any, options: dict[str, float]) -> dict[str, float]:
        if self.outer is None:
            return options
        found: dict[str, float] = self.outer.live(owner, group, changed, options)
        return found

    # -- writes --------------------------------------------------------------------------------------

    def replace(self, target: Tensor, value: Tensor) -> None:
        """Make a value that the tape already knows that of a tensor's memory."""
        self._store([target], self.raw_number(value))

    def custom(self, cls: Any, ctx: Any, args: Any, outputs: list[Any]) -> None:
        """A custom function's forward has computed these outputs."""
        with_gradient(self, cls, ctx, args, outputs)

    def follows(self, x: Any) -> bool:
        """Whether a derivative from outside follows a tensor."""
        return isinstance(x, Tensor) and self.number(x) in self.moving

    def store(self, target: Tensor, number: int) -> None:
        """Make a value that of a tensor's memory."""
        self._store([target], number)

    def apply_graph(self, graph: Graph, operands: tuple[int, ...]) -> int:
        """Take a graph of values down; the number of its first result."""
        return self._step(
            (graph, operands), lambda: Apply(graph, operands), len(graph.outputs)
        )

    def fresh(self, like: Tensor, number: int) -> Tensor:
        """A tensor of its own memory with a value."""
        layout = layout_of(like.dtype, tuple(like.shape))
        return lazy_tensor(self._cell(layout, number), layout, 0)

    def _stored(self, t: Tensor, number: int) -> bool:
        self._check_write(t)
        return super()._stored(t, self._carried(t, number))

    def _check_write(self, t: Tensor) -> None:
        if type(t._storage) is not Cell or t._storage.recorder is not self:
            raise RuntimeError(
                message(
                    self.name, "the function writes to a tensor from outside", tuple(t.shape),
                    hint="returning the new value",
                )
            )  # fmt: skip

    def _carried(self, t: Tensor, number: int) -> int:
        """A value that is written where the tape does not see it keeps the old one's derivative."""
        followed = self.moving if type(t) is DetachedTensor else () if mode.enabled else self.taped
        if not followed or t.dtype.kind != "f":
            return number
        old = self.raw_number(t)
        return self.apply_graph(carry(t._layout), (old, number)) if old in followed else number

    # -- elements ------------------------------------------------------------------------------------

    def settle(self, *pending: Any) -> NoReturn:
        if self.ended:
            raise RuntimeError(
                message(
                    self.name, "a tensor from inside of the function is used after it has ended",
                    hint="returning it from the function",
                )
            )  # fmt: skip
        raise RuntimeError(
            message(
                self.name, "the function asks for the value of a tensor that is being traced",
                hint="fanal.where or fanal.cond in the place of `if`, while_loop or scan for loops",
            )
        )  # fmt: skip

    def address(self, t: Tensor) -> int:
        """Where the elements of a tensor are, if they don't depend on inputs without a value."""
        if self.ended:
            self.settle()
        return self._value(t)._ptr

    def settle_memory(self, t: Tensor) -> Tensor | None:  # type: ignore[override]
        """A tensor with the elements that one from outside has by now; None if it is unchanged."""
        storage = t._storage
        if type(storage) is Cell and storage.recorder is self:
            return None
        written = [
            r for m in self.outside.values() if m.storage is storage
            for r in m.regions if r.written
        ]  # fmt: skip
        if written:
            return self._value(t)
        if self.outer is not None:
            found: Tensor | None = self.outer.settle_memory(t)
            return found
        return None

    def answer(self, t: Tensor, read: Any, convert: Any) -> Any:
        found = self.settle_memory(t)
        value = read(t if found is None else found)
        return value if convert is None else convert(value)

    def is_known(self, t: Tensor) -> bool:
        """Whether Python may ask for a tensor's elements."""
        operands = [self.inputs[i] for i in self._needed(self.raw_number(t))]
        if any(x is None for x in operands):
            return False
        known = getattr(self.outer, "is_known", None)
        return known is None or all(known(x) for x in operands if isinstance(x, Tensor))

    def _value(self, t: Tensor) -> Tensor:
        number = self.raw_number(t)
        needed = self._needed(number)
        operands = [self.inputs[i] for i in needed]
        if any(x is None for x in operands):
            self.settle()
        b, values = built(self.path)
        whole = b.graph([values[number]])
        graph = Graph([whole.inputs[i] for i in needed], whole.nodes, whole.outputs)
        with tracing(self.outer), no_grad():
            (found,) = call_eager(graph_function(self.name, graph), tuple(operands), {})
        found = laid_out(found, t._layout)
        self.known_values.append(found)
        return found

    def _needed(self, number: int) -> list[int]:
        """The inputs that a value depends on."""
        needed, found, at = {number}, [], len(self.inputs)
        for step in reversed(self.path):
            action = step.action
            if isinstance(action, TensorInput | NumberInput):
                at -= 1
                if step.first in needed:
                    found.append(at)
            else:
                count = len(action.graph.outputs) if type(action) is Apply else 1
                if any(step.first + i in needed for i in range(count)):
                    needed.update(_sources(action))
        return found[::-1]


def _sources(action: Any) -> Sequence[int]:
    kind = type(action)
    if kind is Apply:
        operands: Sequence[int] = action.operands
        return operands
    if kind is Look:
        return (action.value,)
    return (action.value, action.part) if kind is Put else ()


_stops: dict[Any, Graph] = {}


def _stop(primitive: Primitive, kind: Type) -> Graph:
    """The graph of a value behind a stop; the same object each time."""
    found = _stops.get((primitive, kind))
    if found is None:
        b = Builder()
        x = b.input(*kind)
        found = b.graph([b.trace(dispatch.bind, primitive, x)])
        _stops[primitive, kind] = found
    return found


def trace(function: Callable[..., Any], inputs: Sequence[Layout], name: str) -> Traced:
    """Trace `function(*tensors)` for tensors of these layouts; `name` stands in error messages."""
    recorder: Any = TraceRecorder(name)
    with tracing(recorder):
        result = function(*[recorder.given(l) for l in inputs])
        leaves, structure = pytree.flatten(result)
        numbers: list[int] = []
        constants: dict[int, Any] = {}
        for i, leaf in enumerate(leaves):
            if isinstance(leaf, Tensor):
                numbers.append(recorder.number(leaf))
            else:
                constants[i] = leaf
    recorder.ended = True
    builder, values = built(recorder.path)
    graph = builder.graph([values[n] for n in numbers])
    return Traced(graph, recorder.inputs[len(inputs) :], structure, constants)
