"""What a function's calls on tensors are taken down in: steps, and what is known of memory.

Operations give lazy tensors; writes in place change what value a *region* of memory has. Whoever needs
elements calls `settle`, which is for somebody else to define (`recorder.py`): nothing is run here.
"""

from __future__ import annotations

import weakref
from collections.abc import Container, Sequence
from typing import Any

from fanal.autograd.mode import mode
from fanal.autograd.tape import PythonNode
from fanal.compiler.regions import Memory, Region, base_of, contiguous, once, overlap
from fanal.compiler.steps import Apply, Blank, Look, NumberInput, Put, Step, TensorInput
from fanal.core import dtypes
from fanal.core.cache import BoundedCache
from fanal.core.dispatch import Fused, LiveNumber, tracing
from fanal.core.symbols import Extent, Ratio
from fanal.graph.ir import Graph
from fanal.graph.origin import Origin, users_origin
from fanal.tensor import eager, inplace, update
from fanal.tensor.layout import Layout
from fanal.tensor.lazy import Cell, become_real, lazy_tensor, place
from fanal.tensor.recording import record
from fanal.tensor.tensor import Tensor

_NUMBER_DTYPES = {
    bool: dtypes.bool_, int: dtypes.int64, float: dtypes.float64, LiveNumber: dtypes.float64,
    Extent: dtypes.int64, Ratio: dtypes.float64,
}  # fmt: skip
_graphs: BoundedCache = BoundedCache(20_000)  # of writes in place and updates


class Transcript:
    """What one call did on tensors since its last look at elements."""

    lazy = True

    def __init__(self, root: Step) -> None:
        self.segments = 0  # programs that ran so far
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

    def settle(self) -> None:
        """Somebody asks for a lazy tensor's memory: run what was taken down so far."""
        raise NotImplementedError

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

    def watch(self, t: Tensor) -> None:
        """Remember a lazy tensor, for when it becomes an ordinary one."""
        self.tensors.append(weakref.ref(t))

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

    def _seen(self, memory: Any, start: int, layout: Layout) -> int | None:
        """The value of a window of a region that is known; None where no region has it."""
        for region in memory.regions:
            window = region.window(start, layout)
            if window is not None:
                value = region.number
                number: int = self._step((value, window), lambda v=value, w=window: Look(v, w), 1)
                region.windows[start, layout] = number
                return number
        return None

    def _look(self, t: Tensor, memory: Any, start: int, layout: Layout) -> int:
        """The value of a window that was not looked at yet."""
        number = self._seen(memory, start, layout)
        if number is not None:
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
