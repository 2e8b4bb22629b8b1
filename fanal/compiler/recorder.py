"""Taking a function's calls on tensors down, to run them later as one program.

A call of a captured function runs its Python with a `Recorder` listening. Operations give lazy
tensors; writes in place change what value a *region* of memory has. When the function ends, or when
somebody asks for a tensor's elements, what was taken down is run: one program, whose outputs are the
cells that are still alive and the memory that was written to. So Python does exactly what it does in
eager mode, in the same order, once; and a call that takes a known path compiles nothing.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Container, Sequence
from typing import Any, NoReturn

from fanal.autograd.mode import mode
from fanal.autograd.tape import PythonNode
from fanal.compiler.gradient import Pending
from fanal.compiler.notes import Notes, Ran
from fanal.compiler.regions import Memory, Region, base_of, contiguous, once, overlap
from fanal.compiler.rounding import EXACT
from fanal.compiler.segments import Segment
from fanal.compiler.steps import Apply, Blank, Look, NumberInput, Put, Step, TensorInput
from fanal.core import dtypes
from fanal.core.cache import BoundedCache
from fanal.core.dispatch import Fused, LiveNumber, tracing
from fanal.core.errors import message
from fanal.core.stages import stage
from fanal.core.symbols import Extent, Ratio
from fanal.graph.ir import Graph
from fanal.graph.origin import Origin, users_origin
from fanal.tensor import eager, inplace, update
from fanal.tensor.layout import Layout
from fanal.tensor.lazy import Cell, LazyTensor, become_real, lazy_tensor, place
from fanal.tensor.recording import record
from fanal.tensor.tensor import Tensor

_NUMBER_DTYPES = {
    bool: dtypes.bool_, int: dtypes.int64, float: dtypes.float64, LiveNumber: dtypes.float64,
    Extent: dtypes.int64, Ratio: dtypes.float64,
}  # fmt: skip
_graphs: BoundedCache = BoundedCache(20_000)  # of writes in place and updates


class Failed:
    """Stands for the recorder of tensors whose program ended with an error: they never came to be."""

    def __init__(self, why: BaseException):
        self.why = str(why)

    def watch(self, t: Tensor) -> None:
        """A view of one of them is one, too."""

    def settle(self) -> NoReturn:
        raise RuntimeError(
            message(
                "compile", "this tensor was never computed, as its program ended with an error",
                self.why, hint="calling the function again",
            )
        )  # fmt: skip


class Recorder:
    """Listens to one call of a captured function. `settle` runs what was taken down so far."""

    lazy = True

    def __init__(
        self, root: Step, notes: Notes | None = None, owner: Any = None, kind: Any = None
    ):
        self.owner, self.kind = owner, kind
        self.thread = threading.get_ident()
        self.segments = 0
        self.notes = notes
        self.state: Container[int] = ()  # storages that belong to the function, by identity
        self.whole: Container[int] = ()  # tensors that are looked at as they are, whatever they are views of
        self.operation = ""  # the function that is being taken down
        self.origins: dict[int, Origin | None] = {}  # of nodes on the tape, by their sequence number
        self.pulled: Origin | None = None  # of the node whose gradient is being computed
        self._begin(root)

    def _begin(self, root: Step) -> None:
        self.at = root
        self.path: list[Step] = []
        self.count = 0
        self.inputs: list[Any] = []  # tensors and numbers, in the order of the input steps
        self.known: dict[int, Memory] = {}
        self.numbers: dict[int, int] = {}  # of Python numbers among the inputs, by identity
        self.pulling = False  # whether a backward pass is being taken down
        self.cells: list[weakref.ref[Cell]] = []
        self.tensors: list[weakref.ref[Tensor]] = []
        self.graded: dict[int, Tensor] = {}  # whose gradients may be of this segment

    # -- what functions of the tensor layer call --------------------------------------------------

    def call(self, function: Fused, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A function on tensors: its graph is taken down, its results are lazy."""
        if function.out and "out" in kwargs:
            return self._call_into(function, args, dict(kwargs))
        plan, operands = eager.plan_of(function, args, kwargs)
        self.operation = function.label
        if plan.views is not None:
            return eager.run(plan, operands)
        grad = plan.grad
        if grad is not None and mode.enabled:
            if grad.base is None:
                grad.derive()
            assert grad.base is not None
            outputs = self._results(grad.base, operands, grad.outputs)
            record(grad, operands, outputs)
            self._on_tape(outputs)
            return outputs[0] if plan.single else plan.structure(outputs[: grad.visible])
        outputs = self._results(plan.graph, operands, plan.outputs)
        return outputs[0] if plan.single else plan.structure(outputs)

    def pulling_node(self, node: Any) -> None:
        """What follows is the gradient of a node on the tape; None: no longer.

        Nodes of views were not taken down: theirs counts as a part of what follows them on the tape. A
        user's own backward has lines of its own.
        """
        forward = None if node is None else self.origins.get(node.sequence)
        if forward is not None:
            self.pulled = forward._replace(backward=True)
        elif node is None or not isinstance(node, PythonNode):
            self.pulled = None

    def _on_tape(self, outputs: Sequence[Tensor]) -> None:
        for t in outputs:
            if t._node is not None:
                self.origins[t._node.sequence] = self.at.origin
                return

    def _origin(self) -> Origin | None:
        return self.pulled or users_origin(self.operation, 2)

    def _call_into(self, function: Fused, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        from fanal.tensor.outputs import written

        out = kwargs.pop("out")
        result = self.call(function, args, kwargs)
        return result if out is None else written(function.name, result, out)

    def write(
        self, function: Fused, target: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """`target = function(target, *args)` in its own memory."""
        given = (*args, *kwargs.values())
        recorded = mode.enabled and (
            target._layout.grad or any(isinstance(a, Tensor) and a._layout.grad for a in given)
        )
        self.operation = f"{function.label}_"
        if target._layout.overlaps or recorded:
            inplace.check_writable(target, function.name, recorded)
            if recorded:
                inplace.recorded_write(function, target, args, kwargs)
                return
        key, operands = inplace.write_key(function, target, args, kwargs)
        graph = _graphs.get(key)
        if graph is None:
            graph, _ = inplace.write_graph(function, (target, *args), kwargs)
            _graphs[key] = graph
        self._store([target], self._apply(graph, operands))

    def update(
        self, function: Any, targets: Any, operands: Any, scalars: Sequence[float], static: Any
    ) -> None:
        """Many tensors written at once (see `tensor.update`)."""
        lists = (*targets, *operands)
        tensors = [t for some in lists for t in some]
        key = (
            update, function, tuple([t._layout for t in tensors]), tuple(map(len, lists)),
            len(scalars), *static.items(),
        )  # fmt: skip
        graph = _graphs.get(key)
        if graph is None:
            graph = update.traced(function, targets, operands, len(scalars), static)
            _graphs[key] = graph
        self.operation = function.__name__
        numbers = [x if isinstance(x, float) else float(x) for x in scalars]
        self.numbers.clear()  # options that happen to be one object are still several
        number = self._apply(graph, [*tensors, *numbers])
        self._store([t for some in targets for t in some], number)

    def empty(self, layout: Layout) -> Tensor:
        """A tensor of memory that nobody has written to."""
        cell = self._cell(layout, self._step((Blank, layout), lambda: Blank(layout), 1))
        return lazy_tensor(cell, layout, 0)

    def adopt(self, made: Tensor) -> Tensor:
        """A tensor just made from Python's data, as a value that writes don't reach."""
        layout = made._layout
        number = self._step((TensorInput, layout), lambda: TensorInput(layout), 1)
        self.inputs.append(made)
        if self.notes is not None:
            self.notes.adopted[id(made)] = made
        return lazy_tensor(self._cell(layout, number), layout, 0)

    def drawn(self, generator: Any, key: Tensor) -> None:
        """A generator gave the key of its next draw."""
        if self.notes is not None:
            self.notes.drawn(generator, key)

    def grad_read(self, p: Tensor) -> None:
        """Somebody looks whether a tensor has a gradient."""
        if type(p._storage) is Cell:  # a leaf that the call makes: to be noted it would be kept
            return
        self.graded[id(p)] = p
        if self.notes is not None:
            self.notes.grad_read(p)

    def grad_set(self, p: Tensor) -> None:
        """A tensor's gradient is replaced, whatever it was."""
        if type(p._storage) is Cell:
            return
        self.graded[id(p)] = p
        if self.notes is not None:
            self.notes.grad_set(p)

    def live(self, owner: Any, group: Any, changed: Any, options: dict[str, float]) -> dict[str, float]:
        """An optimiser's options, which are looked up anew at each replay."""
        return options if self.notes is None else self.notes.live(owner, group, changed, options)

    def refuse(self, why: str) -> None:
        """A call that does this is not to be replayed; a later one may be."""
        if self.notes is not None:
            self.notes.refuse(why)

    def watch(self, t: Tensor) -> None:
        """Remember a lazy tensor, for when it becomes an ordinary one."""
        self.tensors.append(weakref.ref(t))

    def settle_memory(self, t: Tensor) -> None:
        """Somebody reads a tensor's memory: run what was taken down if it writes there."""
        if self.notes is not None:
            self.notes.asking()
        if self._is_written(t):
            self.settle()

    def _is_written(self, t: Tensor) -> bool:
        known = self.known.get(id(t._storage))
        return known is not None and any(r.written for r in known.regions)

    def answer(self, t: Tensor, read: Any, convert: Any) -> Any:
        """Python asks for a tensor's only element, which `read` reads, as what `convert` makes of it."""
        self._run_up_to(t)
        value = self._read(t, read)
        if self.notes is not None:
            return self.notes.path.answered(t, read, convert, value)
        return value if convert is None else convert(value)

    def _run_up_to(self, t: Tensor) -> None:
        """Run what was taken down if a tensor's elements depend on it."""
        cell = t._storage
        if (type(cell) is Cell and cell.recorder is self and cell.real is None) or self._is_written(t):
            self._allow_looks()
            if self.notes is not None:
                self.state = self.notes.path.owned()
            self.finish()
            self.state = ()

    def _read(self, t: Tensor, read: Any) -> Any:
        return read(t)

    # -- values --------------------------------------------------------------------------------------

    def _step(self, key: Any, make: Any, results: int) -> int:
        """Walk to the next step (a new one, if need be); the number of its first value."""
        found = self.at.children.get(key)
        if found is None:
            found = Step(make(), self.count, self.at.start, self._origin())
            self.at.children[key] = found
        self.at = found
        self.path.append(found)
        number = self.count
        self.count += results
        return number

    def _apply(self, graph: Graph, operands: Sequence[Any]) -> int:
        before = self.segments
        numbers = tuple([self.number(x) for x in operands])
        if self.segments != before:  # a look at one of them made what came before run
            numbers = tuple([self.number(x) for x in operands])
        return self._step(
            (graph, numbers), lambda: Apply(graph, numbers), len(graph.outputs)
        )

    def _results(
        self, graph: Graph, operands: Sequence[Any], layouts: Sequence[Layout]
    ) -> list[Tensor]:
        number = self._apply(graph, operands)
        outputs = []
        for i, layout in enumerate(layouts):
            cell = self._cell(layout.wanting(False), number + i)
            outputs.append(lazy_tensor(cell, layout, 0))
        return outputs

    def _cell(self, layout: Layout, number: int) -> Cell:
        layout = layout.wanting(False)
        cell = Cell(self, layout)
        cell.regions.append(Region(0, layout, number, None))
        self.cells.append(weakref.ref(cell))
        return cell

    def number(self, x: Any) -> int:
        """The number of an operand's value: a tensor's, or a Python number's."""
        dtype = _NUMBER_DTYPES.get(type(x))
        if dtype is not None:
            # The same float object is the same number (what the tape kept of one, say). Equal integers
            # are one object by chance.
            known = self.numbers.get(id(x)) if dtype is dtypes.float64 or self.pulling else None
            if known is not None:
                return known
            self.inputs.append(x)
            number = self._step((NumberInput, dtype), lambda: NumberInput(dtype), 1)
            self.numbers[id(x)] = number
            return number
        memory, key = self._locate(x)
        for region in memory.regions:
            number = region.windows.get(key)
            if number is not None:
                return number
        return self._look(x, memory, *key)

    def _locate(self, t: Tensor) -> tuple[Any, tuple[int, Layout]]:
        storage = t._storage
        layout = t._layout.wanting(False)
        if type(storage) is Cell and storage.recorder is self:
            if storage.real is None:
                return storage, (place(t), layout)
            # What the tape kept of an earlier segment.
            become_real(t, storage.real, storage.real.ptr + place(t))
            storage = t._storage
        memory = self.known.get(id(storage))
        if memory is None:
            memory = self.known[id(storage)] = Memory(storage)
        lazy = type(storage) is Cell  # of a recorder around this one
        return memory, (place(t) if lazy else t._ptr, layout)

    def _look(self, t: Tensor, memory: Any, start: int, layout: Layout) -> int:
        """The value of a window that was not looked at yet."""
        for region in memory.regions:
            window = region.window(start, layout)
            if window is not None:
                value = region.number
                number = self._step((value, window), lambda v=value, w=window: Look(v, w), 1)
                region.windows[start, layout] = number
                return number
        lazy = type(memory) is Cell
        if lazy or any(r.written and overlap(r, start, layout) for r in memory.regions):
            self.settle()
            return self.number(t)
        base = None if id(t) in self.whole else base_of(t)
        if base is not None and base._storage is t._storage and self._same_to_tape(base, t):
            whole = base._layout.wanting(False)
            if not any(r.start == base._ptr and r.layout is whole for r in memory.regions):
                self._look(base, memory, base._ptr, whole)
                return self._look(t, memory, start, layout)
        single = once(layout)
        number = self._step((TensorInput, single), lambda: TensorInput(single), 1)
        self.inputs.append(t)
        memory.regions.append(Region(start, single, number, t))
        return number if single is layout else self._look(t, memory, start, layout)

    def _same_to_tape(self, base: Tensor, t: Tensor) -> bool:
        """Whether a view may be looked at through its base: here the tape is that of the call."""
        return True

    def _store(self, targets: Sequence[Tensor], first: int) -> None:
        """Make values, numbered from `first` on, those of tensors' memory."""
        apart = []
        for number, t in enumerate(targets, first):
            if not self._stored(t, number):
                layout = contiguous(t._layout)
                apart.append((t, lazy_tensor(self._cell(layout, number), layout, 0)))
        if not apart:
            return
        # Writes that no chain of views describes: what was taken down runs, then they are copied.
        self.settle()
        with tracing(None):
            for t, value in apart:
                inplace.copy_(t.detach(), value)

    def _stored(self, t: Tensor, number: int) -> bool:
        """Make a value that of a tensor's memory, if it can be said in regions."""
        memory, (start, layout) = self._locate(t)
        whole = next((r for r in memory.regions if (r.start, r.layout) == (start, layout)), None)
        inside = None
        if whole is None:
            for r in memory.regions:
                window = r.window(start, layout)
                if window is not None:
                    whole, inside = r, window
                    break
        others = [r for r in memory.regions if r is not whole and overlap(r, start, layout)]
        if others or (whole is None and type(memory) is Cell):
            return False
        t._storage.version += 1
        if whole is None:
            whole = Region(start, layout, number, t)
            memory.regions.append(whole)
        elif inside is not None:
            value = whole.number
            number = self._step(
                (value, number, inside), lambda: Put(value, number, inside), 1
            )
        whole.number = number
        whole.written = True
        whole.windows = {(whole.start, whole.layout): number}
        return True

    def given(self, layout: Layout) -> Tensor:
        """A tensor that is to be given when what is taken down runs."""
        number = self._step((TensorInput, layout), lambda: TensorInput(layout), 1)
        self.inputs.append(None)
        return lazy_tensor(self._cell(layout, number), layout, 0)

    def mark(self) -> tuple[Any, ...]:
        """A place to return to, forgetting what was taken down since (of computations only)."""
        self.pulling = True
        return self.at, len(self.path), self.count, len(self.inputs), len(self.cells), len(self.tensors)

    def reset(self, mark: tuple[Any, ...]) -> None:
        self.pulling = False
        self.at, path, self.count, inputs, cells, tensors = mark
        self.numbers = {k: n for k, n in self.numbers.items() if n < self.count}
        del self.path[path:], self.inputs[inputs:], self.cells[cells:], self.tensors[tensors:]
        for memory in self.known.values():
            for region in memory.regions:
                region.windows = {k: n for k, n in region.windows.items() if n < self.count}

    # -- running -------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Somebody asks for a lazy tensor's memory: run what was taken down so far."""
        if self.notes is not None:
            self.notes.asking()
        self._allow_looks()
        self.finish()

    def _allow_looks(self) -> None:
        """RuntimeError if Python must not ask for elements."""
        if self.owner is not None and self.owner.fullgraph:
            self._begin(self.at.start)
            raise RuntimeError(
                message(
                    "compile", "fullgraph=True, but the function asks for a tensor's elements",
                    hint="fanal.where or fanal.cond in the place of `if`; returning the tensor",
                )
            )

    def finish(self) -> None:
        """Run what was taken down so far; lazy tensors that are still held become ordinary ones."""
        self._all_or_nothing(None)
        self._begin(Step(None, 0, None) if self.owner is None else self.owner.following())

    def end(self, pending: Pending | None = None) -> None:
        """Run what is left when the function has ended.

        `pending`: the backward pass of results, which become outputs of one node on the tape.
        """
        self._all_or_nothing(pending)
        self._begin(Step(None, 0, None))

    def _all_or_nothing(self, pending: Pending | None) -> None:
        try:
            self._finish(pending)
        except BaseException as error:
            self._give_up(error)
            raise

    def _give_up(self, error: BaseException) -> None:
        """What was taken down never happened: nothing was written, and there are no gradients."""
        if self.notes is not None:
            self.notes.refuse("a program ended with an error")
        failed = Failed(error)
        for reference in self.cells:
            cell = reference()
            if cell is not None:
                cell.recorder = failed
        for p in self.graded.values():
            grad = p._grad
            if grad is not None and getattr(grad._storage, "recorder", None) is failed:
                p._grad = None
        self._begin(Step(None, 0, None))  # it is not tried again on the way out

    def _finish(self, pending: Pending | None) -> None:
        if threading.get_ident() != self.thread:
            raise RuntimeError(
                message(
                    "compile", "a lazy tensor of a function being captured was read by another thread",
                    hint="passing tensors to threads outside of the compiled function",
                )
            )
        alive = [c for c in [ref() for ref in self.cells] if c is not None]
        writes = [
            (memory, r) for memory in self.known.values() for r in memory.regions if r.written
        ]
        tensors: list[Tensor] = [
            t for t in [ref() for ref in self.tensors] if t is not None and type(t) is LazyTensor
        ]
        if not alive and not writes:
            return
        key: Any = (
            tuple([(c.regions[0].number, c.layout) for c in alive]),
            self._targets(writes),
            self._steady(writes),
        )
        gradient = None
        if pending is not None:
            gradient = pending.gradient([n for n, _ in key[0]], [n for n, _ in key[1]])
            key = (*key, "differentiated")
        segment = self._program(key, gradient)
        inputs = self.inputs
        if self.notes is not None:
            written = [r.tensor for _, r in writes]
            self.notes.ran(Ran(segment, self.path, key, inputs, alive, written, tensors, gradient))
        with stage("run"):
            memories = self._run(segment, [t for _, r in writes if (t := r.tensor) is not None])
        self.segments += 1
        for cell, storage in zip(alive, memories, strict=False):
            storage.version = cell.version
            cell.real = storage
        for t in tensors:
            storage = t._storage.real
            become_real(t, storage, storage.ptr + place(t))
        if pending is not None and gradient is not None:
            places = [(t._storage, t._ptr) for t in pending.results]
            places += [(m, m.ptr) for m in memories[len(alive) :]]
            node = gradient.node(inputs, places)
            for i, t in enumerate(pending.results):
                t._node, t._index = node, i

    def _program(self, key: Any, gradient: Any) -> Segment:
        """The program of what was taken down."""
        found: Segment | None = self.at.runs.get(key)
        if found is None:
            rounding = EXACT if self.owner is None else self.owner.rounding
            if gradient is None:
                found = Segment.of(self.path, key, rounding)
            else:
                found = gradient.segment(key, rounding)
            if self.owner is not None:
                found.named(f"compiled {self.owner.name}")
            self.at.runs[key] = found
        if self.owner is not None:
            self.owner.ran(self.kind, self.path, self.at, key)
        return found

    def _run(self, segment: Segment, written: Sequence[Tensor]) -> list[Any]:
        """Run a program on the inputs; the memory of what comes out."""
        return segment.run(self.inputs, written)

    def _steady(self, writes: Sequence[tuple[Memory, Region]]) -> tuple[int, ...]:
        """Inputs that are likely to be the same at the next call: state that is not written to."""
        changed = {id(memory.storage) for memory, _ in writes if isinstance(memory, Memory)}
        return tuple(
            i
            for i, x in enumerate(self.inputs)
            if isinstance(x, Tensor)
            and id(x._storage) in self.state
            and id(x._storage) not in changed
        )

    def _targets(self, writes: Sequence[tuple[Any, Region]]) -> tuple[tuple[int, Any], ...]:
        """The value of each written region and where it lies: an input's number, or the layout of
        other memory."""
        inputs = {id(x): i for i, x in reversed(list(enumerate(self.inputs)))}
        return tuple([(r.number, inputs.get(id(r.tensor), r.layout)) for _, r in writes])
