"""A captured call that only computes, without its Python: check what it read, launch, hand out.

Made from what was noted and observed of one call; `Refused` says why there is none. What it does stands in
a plan that native code carries out (`planned.py`); Python has the reasons, and the rest of what is rare.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.compiler.arguments import Arguments
from fanal.compiler.checked import Checked, process_state
from fanal.compiler.draws import Draws, SeededAnew
from fanal.compiler.gradient import Released
from fanal.compiler.inputs import Inputs, Refused, owners, places
from fanal.compiler.notes import UNREAD, LiveOptions, Notes
from fanal.compiler.observer.package import ModuleFacts
from fanal.compiler.observer.watch import Observer
from fanal.compiler.planned import Watched, is_quick, planned
from fanal.compiler.results import Result
from fanal.tensor.launching import raise_status
from fanal.tensor.layout import Layout
from fanal.tensor.recording import OpNode
from fanal.tensor.tensor import Tensor

ASKED = "the call asks for the value of a tensor"


class Replay(Checked):
    """One call, ready to be made again. `family`: that of the program, if it is one of many sizes."""

    family: Any = None
    facts: ModuleFacts

    def __init__(
        self, notes: Notes, observer: Observer, given: Arguments, result: Any, state: Any
    ) -> None:
        if observer.impure is not None:
            why, line = observer.impure
            raise Refused(why + (f" ({line[0]}:{line[1]})" if line else ""))
        if notes.refused is not None:
            raise Refused(notes.refused, False)
        if process_state() != state:
            raise Refused("the call changes whether gradients are recorded, or the default dtype")
        if notes.asked or notes.path.began:
            raise Refused(ASKED)
        if len(notes.runs) != 1:
            raise Refused("nothing is computed")
        self.state = state
        self.guards = observer.guards
        self.facts = ModuleFacts(list(observer.package.modules.values()))
        self.options = [e for e in notes.sequence if isinstance(e, LiveOptions)]
        self.events = [e for e in notes.sequence if not isinstance(e, LiveOptions)]
        self.objects = given.objects  # named by identity in the key: kept alive
        (run,) = notes.runs
        self.segment = run.segment
        self.kept = run.segment.kept_for(run.inputs)
        self._inputs(run.inputs, notes, observer, given)
        self._outputs(run, notes, result, given, observer)
        try:
            self.draws = Draws(notes, self.keys)
        except SeededAnew:
            raise Refused("the random generator is seeded anew") from None
        self.plan = planned(self, given)
        self.watched = Watched(self)
        self.quick = is_quick(given, bool(self.draws.generators))
        self.result.forget()

    # -- making -------------------------------------------------------------------------------------------

    def _inputs(self, inputs: list[Any], notes: Notes, observer: Observer, given: Arguments) -> None:
        """Where each word that the program takes comes from."""
        self.keys: dict[int, int] = {}  # words of keys of random draws, by the key's id

        def made(word: int, x: Any) -> bool:
            if id(x) in notes.draws:
                self.keys[id(x)] = word
                return True
            return False

        found = Inputs(inputs, given.tensors, owners(observer, notes), notes, made)
        self.pinned, self.words, self.held = found.pinned, found.words, found.held
        self.from_arguments, self.from_options = found.from_arguments, found.from_options
        self.from_gradients = found.from_gradients
        self.storages = [t._storage for t in self.held]
        self.known = set(map(id, self.storages))
        self.places = places(self.held, observer.package.seen.values())

    def _outputs(
        self, run: Any, notes: Notes, result: Any, given: Arguments, observer: Observer
    ) -> None:
        """What becomes of each cell that lives on: a result, a gradient; nothing else may hold one."""
        self.gradient = run.gradient
        cells = {id(c): i for i, c in enumerate(run.alive)}
        self.result = Result(result, given, observer)
        explained: dict[int, Any] = {}
        self.leaves: list[tuple[int, Any, int, Any]] = []  # cell, layout, offset, node
        storages = {id(c.real): i for i, c in enumerate(run.alive)}
        for t in self.result.tensors:
            i = storages.get(id(t._storage))
            if i is None:
                raise Refused("the result is a view of a tensor from outside")
            node: Any = None
            if run.gradient is not None and isinstance(t._node, OpNode) and t._node.plan is run.gradient:
                node = t._index
            elif t._node is not None:
                if not isinstance(t._node, Released):
                    raise Refused("the result can be differentiated")
                node = Released(t._node.name)
            self.leaves.append((i, t._layout, t._ptr - t._storage.ptr, node))
            explained[id(t)] = t
        self.gradients: list[tuple[Tensor, int | None, Any]] = []
        self.entry: list[tuple[Tensor, Layout | None]] = []
        for p, before in notes.grads.values():
            g = p._grad
            if before is not UNREAD:
                self.entry.append((p, None if before is None else before._layout))
            if g is None:
                self.gradients.append((p, None, None))
            elif g is before:
                continue
            else:
                i = storages.get(id(g._storage))
                if i is None or g._ptr != g._storage.ptr:
                    raise Refused("a gradient is not the call's own")
                self.gradients.append((p, i, g._layout))
                explained[id(g)] = g
        for t in run.tensors:
            if id(t) not in explained:
                raise Refused("a tensor that the call makes is kept elsewhere")
        used = {i for i, *_ in self.leaves} | {i for _, i, _ in self.gradients if i is not None}
        if used != set(cells.values()):
            raise Refused("a tensor that the call makes is kept for a gradient")
        self.written = [t._storage for t in run.written]
        entered = {id(g._storage) for _, g in notes.grads.values() if isinstance(g, Tensor)}
        for t in run.written:
            if id(t._storage) in entered:
                continue
            if id(t._storage) not in self.known and not any(
                t._storage is a._storage for a in given.tensors
            ):
                raise Refused("a tensor is written to that is not read")
        self.written_arguments = [
            i for i, a in enumerate(given.tensors) if any(a._storage is s for s in self.written)
        ]
        self.written = [s for s in self.written if id(s) in self.known]
        self.cell_count = len(run.alive)
        # Of the operands that its node on the tape has, those that are not a call's own.
        self.operands = [] if self.gradient is None else list(run.inputs)
        for word, _, offset in self.from_arguments if self.operands else ():
            if offset == 0:
                self.operands[word] = None
        if run.segment.others:
            raise Refused("a tensor is written to that is not read")

    # -- running ------------------------------------------------------------------------------------------

    @property
    def runs(self) -> int:
        """How often the call was made again."""
        return self.plan.runs

    @property
    def begun(self) -> bool:
        """Whether its first launches are over, which are timed."""
        return not self.segment.samples.open

    def is_like(self, other: Replay) -> bool:
        """Whether another call, which was just made, found everything as this one did, its arguments
        aside."""
        return (
            self.state == other.state
            and self.entry == other.entry
            and self.facts.hold()
            and self.guards.failed() is None
            and len(self.words) == len(other.words)
        )

    def run(self, given: Arguments) -> Any:
        """Make the call again, whatever `why_not` says."""
        tensors = given.tensors
        keys, begun = self.draws.take()
        try:
            made = self._performed(tensors, keys)
        except Exception:
            self.draws.give_back(begun)
            raise
        if type(made) is int:
            self.draws.give_back(begun)
        return self.finished(tensors, made, keys)

    def _performed(self, tensors: list[Tensor], keys: list[Any]) -> Any:
        samples = self.segment.samples
        if samples.open:
            return samples.of(
                self.segment.executable, lambda at: self.plan.perform(tensors, keys, at)
            )
        return self.plan.perform(tensors, keys, 0)

    def finished(self, tensors: list[Tensor], made: Any, keys: Sequence[Any] = ()) -> Any:
        """The result of a call on `tensors` whose program has run: what `Plan.perform` gave is all that is
        known of it."""
        if type(made) is int:
            raise_status("compile", made, self.segment.executable)
        if type(made) is not list:
            return made  # the only result
        for event in self.events:
            event()
        results = made[: len(self.leaves)]
        if self.gradient is not None:
            self._recorded(tensors, keys, results, made[len(self.leaves) :])
        return self.result.again(results, tensors)

    def _recorded(
        self, tensors: list[Tensor], keys: Sequence[Any], results: list[Tensor], memories: list[Any]
    ) -> None:
        """Put the call on the tape: one node for the results that can be differentiated."""
        operands = self.operands.copy()
        for word, i, offset in self.from_arguments:
            operands[word] = tensors[i] if offset == 0 else operands[word]
        for word, key in self.draws.tensors(keys):
            operands[word] = key
        visible = [t for t, leaf in zip(results, self.leaves, strict=True) if type(leaf[3]) is int]
        places = [(t._storage, t._ptr) for t in sorted(visible, key=lambda t: t._index)]
        places += [(m, m.ptr) for m in memories]
        node = self.gradient.node(operands, places)
        for t in visible:
            t._node = node

