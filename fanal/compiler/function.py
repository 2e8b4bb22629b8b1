"""`fanal.compile`: a function whose calls are captured and run as native programs.

The first call of a kind is watched while it is captured. If it only computes (reads what is guarded,
changes nothing but tensors), later calls are replays: checks, and one native call. Otherwise its Python
runs at every call, and what it computes is run as programs that are there already.
"""

from __future__ import annotations

import functools
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fanal.autograd.tape import sequence
from fanal.compiler.arguments import Arguments
from fanal.compiler.families import Form, Forms
from fanal.compiler.gradient import NotOne, Pending, Released, differentiated, released_within
from fanal.compiler.kinds import PROGRAMS, Kind, Kinds
from fanal.compiler.notes import Notes
from fanal.compiler.observer import instructions  # noqa: F401 - registers what looks at them
from fanal.compiler.observer.package import Package
from fanal.compiler.observer.watch import Observer
from fanal.compiler.plan import carried_out
from fanal.compiler.recorder import Recorder
from fanal.compiler.replay import ASKED, Refused, Replay, owners, process_state
from fanal.compiler.results import Result, Unknown
from fanal.compiler.rounding import Rounding
from fanal.compiler.steps import Step
from fanal.core.collector import held_back
from fanal.core.dispatch import state
from fanal.core.errors import message
from fanal.core.stages import stage
from fanal.graph.origin import users_place
from fanal.tensor.tensor import Tensor

if TYPE_CHECKING:
    from fanal.compiler.explain import Explanation

# Calls of one kind that are watched before their Python runs at every call for good.
ATTEMPTS = 8


class CompiledFunction:
    """A function (or module) whose calls run as native programs. Made by `fanal.compile`."""

    def __init__(
        self, function: Callable[..., Any], fullgraph: bool = False, rounding: Rounding | None = None,
        dynamic: bool | None = None,
    ):  # fmt: skip
        functools.update_wrapper(self, function, updated=())
        self.function = function
        self.fullgraph = fullgraph
        self.rounding = rounding or Rounding()
        self.root = Step(None, 0, None)
        # Where calls go on after a look at elements, by the instruction that looked: what follows in a
        # loop is the same programs in each turn.
        self.places: dict[Any, Step] = {}
        self.kinds = Kinds()
        self.forms = Forms(dynamic)
        self.history: Counter[str] = Counter()  # why calls were captured anew

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not kwargs:
            made = carried_out(self.kinds.plans, args)
            if type(made) is Tensor:
                return made
            if made is not None:
                replay, outcome = made
                return replay.finished([a for a in args if isinstance(a, Tensor)], outcome)
        if state.tracer is not None:  # inside of another captured function: a part of it
            return self.function(*args, **kwargs)
        given = Arguments(args, kwargs)
        kind = self.kinds.of(given)
        reasons = []
        for replay in kind.replays:
            why = replay.why_not(given)
            if why is None:
                self.kinds.remember(replay)
                return replay.run(given)
            reasons.append(why)
        form = self.forms.of(given)
        if form is not None and not kind.replays:
            with held_back():
                member = self.forms.member(form, given)
            if member is not None and member.why_not(given) is None:
                kind.replays.insert(0, member)
                self.kinds.ran(kind, (), Step(None, 0, None), "member of a family")
                return member.run(given)
        if kind.attempts >= ATTEMPTS or kind.reason is not None:
            if kind.eager:
                return self.function(*args, **kwargs)
            return self._followed(kind, args, kwargs)
        self.history.update(reasons[:1])  # that of the newest
        return self._watched(kind, form, given, args, kwargs)

    def following(self) -> Step:
        """Where the steps begin that follow the look at elements which is happening now."""
        place = users_place(2)
        found = self.places.get(place)
        return self.places.setdefault(place, Step(None, 0, None)) if found is None else found

    def ran(self, kind: Kind, path: Sequence[Step], at: Step, key: Any) -> None:
        """A call ran the program of a path."""
        self.kinds.ran(kind, path, at, key)
        if len(kind.places) > PROGRAMS and not kind.eager:
            programs = len(kind.places)
            self.kinds.run_eagerly(kind)
            warnings.warn(
                message(
                    "compile", f"{self!r} takes another path at nearly every call",
                    f"{programs} programs for arguments {kind.arguments or '()'}",
                    f"at most {PROGRAMS}; such calls run eagerly from now on",
                    "fanal.where or fanal.cond for branches on data",
                ),
                stacklevel=4,
            )

    def _followed(self, kind: Kind, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the Python; what it computes runs as programs."""
        recorder = Recorder(self.root, None, self, kind)
        state.tracer = recorder
        try:
            return self.function(*args, **kwargs)
        finally:
            try:
                recorder.end()
            finally:
                state.tracer = None

    def _watched(
        self, kind: Kind, form: Form | None, given: Arguments, args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:  # fmt: skip
        """Run the Python and watch it; if it only computes, keep a replay."""
        kind.attempts += 1
        notes = Notes()
        package = Package(frozenset(map(id, given.containers)))
        package.noted = notes.effect
        observer = Observer(package)
        notes.on_asking = functools.partial(observer.refuse, ASKED)
        for x in (self.function, *given.objects):
            observer.adopt(x)
        for x in (*given.containers, *given.tensors):
            observer.adopt(x, argument=True)
        before, begun = process_state(), next(sequence)
        pending = None
        recorder = Recorder(self.root, notes, self, kind)
        recorder.whole = given.whole()
        state.tracer = recorder
        try:
            observer.start()
            try:
                with stage("record"):
                    result = self.function(*args, **kwargs)
            finally:
                observer.stop()
            pending = self._pending(recorder, notes, observer, given, result, begun)
            recorder.state = owners(observer, notes).keys() - {
                id(t._storage)
                for t in (*given.tensors, *(g for _, g in notes.grads.values() if isinstance(g, Tensor)))
            }
        finally:
            try:
                with stage("steps"), held_back():
                    recorder.end(pending)
            finally:
                state.tracer = None
        try:
            with stage("replay"):
                replay = Replay(notes, observer, given, result, before)
            kind.replays.insert(0, replay)
            if form is not None:
                with stage("symbols"):
                    why = self.forms.learn(form, self, args, kwargs, given, notes, replay)
                self.history.update([why] if why else ())
        except Refused as refused:
            if refused.final:
                kind.reason = str(refused)
            self.history[str(refused)] += 1
        except Unknown as unknown:
            kind.reason = f"the result holds a {unknown.args[0].__name__}"
        finally:
            notes.forget()
        return result

    def _pending(
        self, recorder: Recorder, notes: Notes, observer: Observer, given: Arguments, result: Any,
        begun: int,
    ) -> Pending | None:
        """The backward pass of the results, if they are to be one node on the tape."""
        if observer.impure is not None or recorder.segments or notes.asked:
            return None
        try:
            tensors = Result(result, given, observer).tensors
            outputs = []
            for t in tensors:
                node = t._current_node() if t._layout.grad else None
                over = None if node is None else released_within(node, begun)
                if over is not None:  # as eager mode: an error, if a gradient is asked for
                    t._node = Released(over)
                elif node is not None:
                    outputs.append(t)
            pending = differentiated(recorder, outputs, begun) if outputs else None
        except (NotOne, Unknown) as why:
            self.history[f"the results are no one node on the tape: {why}"] += 1
            return None
        for t in outputs:
            t._node = None  # what the tape kept of the call's inner values goes
        for t in tensors:
            base = None if t._rare is None else t._rare.base
            if base is not None and not any(base is x for x in tensors):
                t._rare = None  # and what it was a view of
        return pending

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def explain(self) -> Explanation:
        """How calls are run and why, and what their programs consist of, with times. Printing it shows
        a text; `.to_html(path)` writes a page, `.assembly(n)` gives a kernel's machine code."""
        from fanal.compiler.explain import Explanation  # much code, seldom needed

        return Explanation(self)

    @property
    def name(self) -> str:
        """What reports call it: the function's name, or the module's class."""
        return str(getattr(self.function, "__qualname__", type(self.function).__name__))

    def __repr__(self) -> str:
        return f"<compiled {self.name}>"

