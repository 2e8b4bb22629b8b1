"""One watched call of a compiled function: its Python runs, and a replay is made of what it did."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from fanal.autograd.tape import sequence
from fanal.compiler.arguments import Arguments
from fanal.compiler.checked import process_state
from fanal.compiler.gradient import NotOne, Pending, Released, differentiated, released_within
from fanal.compiler.inputs import Refused
from fanal.compiler.notes import Notes
from fanal.compiler.observer.package import Package
from fanal.compiler.observer.watch import Observer
from fanal.compiler.parts import Leaf
from fanal.compiler.path import Path
from fanal.compiler.replay import ASKED, Replay
from fanal.compiler.results import Result, Unknown
from fanal.compiler.tree import Stray, Tree
from fanal.core.collector import held_back
from fanal.core.dispatch import state
from fanal.core.stages import stage

if TYPE_CHECKING:
    from fanal.compiler.families import Form
    from fanal.compiler.function import CompiledFunction
    from fanal.compiler.kinds import Kind


class Capture:
    """A call that is watched. `stray`: what it did so far, if it began without its Python. `form`: calls
    that differ from it in sizes only."""

    def __init__(
        self, owner: CompiledFunction, kind: Kind, given: Arguments, stray: Stray | None = None,
        form: Form | None = None,
    ):  # fmt: skip
        self.owner, self.kind, self.given, self.stray, self.form = owner, kind, given, stray, form
        self.notes = notes = Notes()
        package = Package(frozenset(map(id, given.containers)))
        package.noted = notes.effect
        self.observer = observer = Observer(package, owner.function)
        notes.on_asking = functools.partial(observer.refuse, ASKED)
        for x in (owner.function, *given.objects):
            observer.adopt(x)
        for x in (*given.containers, *given.tensors):
            observer.adopt(x, argument=True)
        notes.path = observer.values.path = Path(notes, observer, given)
        self.recorder = owner.recorder(notes, kind, given, None if stray is None else stray.record)

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the Python; if it only computes, keep a replay."""
        before, begun = process_state(), next(sequence)
        pending = None
        state.tracer = self.recorder
        try:
            try:
                result = self._observed(args, kwargs)
                pending = self._pending(result, begun)
                self.recorder.state = self.notes.path.owned(ends=True)
            finally:
                try:
                    with stage("steps"), held_back():
                        self.recorder.end(pending)
                finally:
                    state.tracer = None
        except Exception as error:
            if self.notes.path.decisions and self.notes.refused is None:
                self._grow(None, f"it raises {type(error).__name__}")
            self.notes.forget()
            raise
        try:
            with stage("replay"):
                path = self.notes.path
                if path.began or path.effects or self.stray is not None:
                    self._keep_way(result, before)
                else:
                    self._keep(result, before, args, kwargs)
        finally:
            self.notes.forget()
        return result

    def _observed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.observer.start()
        try:
            # Without the cycle collector: what is alive when is to be the same if this is run again.
            with stage("record"), held_back():
                return self.owner.function(*args, **kwargs)
        finally:
            self.observer.stop()

    def _keep(self, result: Any, before: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Keep a replay of the whole, or the reason why there is none."""
        owner, kind, given, notes = self.owner, self.kind, self.given, self.notes
        try:
            replay = Replay(notes, self.observer, given, result, before)
            kind.replays.insert(0, replay)
            if self.form is not None:
                with stage("symbols"):
                    why = owner.forms.learn(self.form, owner, args, kwargs, given, notes, replay)
                owner.history.update([why] if why else ())
        except Refused as refused:
            if refused.final:
                kind.reason = str(refused)
            owner.history[str(refused)] += 1
        except Unknown as unknown:
            kind.reason = f"the result holds a {unknown.args[0].__name__}"

    def _keep_way(self, result: Any, before: Any) -> None:
        """Keep what the call did between its decisions."""
        path, observer = self.notes.path, self.observer
        if self.notes.refused is not None:
            self._lost(self.notes.refused)
            return
        why, leaf = None, None
        try:
            if observer.impure is not None:
                reason, line = observer.impure
                raise Refused(reason + (f" ({line[0]}:{line[1]})" if line else ""))
            if process_state() != before:
                raise Refused("the call changes whether gradients are recorded, or the default dtype")
            path.take_runs()
            path.fill()
            leaf = Leaf(path, result, observer)
        except Refused as refused:
            why = str(refused)
        except Unknown as unknown:
            why = f"the result holds a {unknown.args[0].__name__}"
        self._grow(leaf, why, before)

    def _grow(self, leaf: Leaf | None, why: str | None, before: Any = None) -> None:
        path = self.notes.path
        if path.endless or (why is not None and not path.cut_back(0 if self.stray is None else len(self.stray.parts))):
            if self.stray is None:  # at every call, then
                self.kind.reason = why
            self._lost(str(why))
            return
        try:
            if self.stray is not None:
                self.stray.tree.grow(self.stray.parts, path, leaf, why)
                return
            tree = Tree(path, process_state() if before is None else before)
            tree.grow([tree.root], path, leaf, why)
            self.kind.replays.insert(0, tree)
        except Refused as refused:
            self._lost(str(refused))

    def _lost(self, why: str) -> None:
        self.owner.history[why] += 1
        if self.stray is not None:
            self.stray.tree.lost[why] += 1

    def _pending(self, result: Any, begun: int) -> Pending | None:
        """The backward pass of the results, if they are to be one node on the tape."""
        recorder, observer = self.recorder, self.observer
        if observer.impure is not None or self.notes.asked:
            return None
        try:
            path = self.notes.path
            tensors = Result(path.handed_out(result), self.given, observer).tensors
            outputs = []
            for t in tensors:
                node = t._current_node() if t._layout.grad else None
                over = None if node is None else released_within(node, begun)
                if over is not None:  # as eager mode: an error, if a gradient is asked for
                    t._node = Released(over)
                elif node is not None:
                    outputs.append(t)
            if outputs and (recorder.segments or path.effects):  # the tape stays what it is
                return None
            pending = differentiated(recorder, outputs, begun) if outputs else None
        except (NotOne, Unknown) as why:
            self.owner.history[f"the results are no one node on the tape: {why}"] += 1
            return None
        for t in outputs:
            t._node = None  # what the tape kept of the call's inner values goes
        for t in tensors:
            base = None if t._rare is None else t._rare.base
            if base is not None and not any(base is x for x in tensors):
                t._rare = None  # and what it was a view of
        return pending

