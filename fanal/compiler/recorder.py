"""Listening to a function's calls on tensors, to run them as programs.

A call of a captured function runs its Python with a `Recorder` listening, which takes down what is
computed (`transcript.py`). When the function ends, or when somebody asks for a tensor's elements, what was
taken down is run: one program, whose outputs are the cells that are still alive and the memory that was
written to. So Python does exactly what it does in eager mode, in the same order, once; and a call that
takes a known path compiles nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Container, Sequence
from typing import Any, NoReturn

from fanal.compiler.gradient import Pending
from fanal.compiler.notes import Notes, Ran
from fanal.compiler.regions import Memory, Region
from fanal.compiler.rounding import EXACT
from fanal.compiler.segments import Segment
from fanal.compiler.steps import Step, TensorInput
from fanal.compiler.transcript import Transcript
from fanal.core.errors import message
from fanal.core.stages import stage
from fanal.tensor.lazy import Cell, LazyTensor, become_real, lazy_tensor, place
from fanal.tensor.tensor import Tensor


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


class Recorder(Transcript):
    """Listens to one call of a captured function. `settle` runs what was taken down so far."""

    def __init__(
        self, root: Step, notes: Notes | None = None, owner: Any = None, kind: Any = None
    ):
        super().__init__(root)
        self.owner, self.kind = owner, kind
        self.thread = threading.get_ident()
        self.notes = notes
        self.state: Container[int] = ()  # storages that belong to the function, by identity

    # -- what it notes -------------------------------------------------------------------------------

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

    # -- elements ------------------------------------------------------------------------------------

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
