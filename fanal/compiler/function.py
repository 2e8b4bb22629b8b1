"""`fanal.compile`: a function whose calls are captured and run as native programs.

The first call of a kind is watched while it is captured. If it only computes (reads what is guarded,
changes nothing but tensors), later calls are replays: checks, and one native call. Otherwise its Python
runs at every call, and what it computes is run as programs that are there already.
"""

from __future__ import annotations

import functools
import warnings
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fanal.autograd.tape import sequence
from fanal.compiler.arguments import Arguments
from fanal.compiler.gradient import NotOne, Pending, Released, differentiated, released_within
from fanal.compiler.notes import Notes
from fanal.compiler.observer import instructions  # noqa: F401 - registers what looks at them
from fanal.compiler.observer.package import Package
from fanal.compiler.observer.watch import Observer
from fanal.compiler.plan import Plan, carried_out
from fanal.compiler.recorder import Recorder
from fanal.compiler.replay import ASKED, Refused, Replay, owners, process_state
from fanal.compiler.results import Result, Unknown
from fanal.compiler.steps import Step
from fanal.core.dispatch import state
from fanal.core.errors import message
from fanal.core.stages import stage
from fanal.tensor.tensor import Tensor

if TYPE_CHECKING:
    from fanal.compiler.explain import Explanation

# Calls of one kind that are watched before their Python runs at every call for good.
ATTEMPTS = 8
# Programs that one function may have: shapes × paths through its Python.
PROGRAMS = 256
# Plans that a call tries first.
PLANS = 4


class Kind:
    """Calls with one key: their replays, the newest first, and why there are no more."""

    __slots__ = ("arguments", "attempts", "reason", "replays")

    def __init__(self, given: Arguments) -> None:
        self.arguments = ", ".join(
            f"{t.dtype.name}[{','.join(map(str, t._layout.shape))}]" for t in given.tensors
        )
        self.replays: list[Replay] = []
        self.attempts = 0
        self.reason: str | None = None


class CompiledFunction:
    """A function (or module) whose calls run as native programs. Made by `fanal.compile`."""

    def __init__(
        self, function: Callable[..., Any], fullgraph: bool = False, exact: bool = False
    ):
        functools.update_wrapper(self, function, updated=())
        self.function = function
        self.fullgraph = fullgraph
        self.exact = exact  # whether rewrites that change a rounding are left out
        self.programs = 0
        self.root = Step(None, 0, None)
        self.kinds: dict[Any, Kind] = {}
        self.plans: tuple[Plan, ...] = ()  # that calls try first, without looking for their kind
        self.history: Counter[str] = Counter()  # why calls were captured anew

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not kwargs:
            made = carried_out(self.plans, args)
            if type(made) is Tensor:
                return made
            if made is not None:
                replay, outcome = made
                return replay.finished([a for a in args if isinstance(a, Tensor)], outcome)
        if state.tracer is not None or self.programs > PROGRAMS:
            # Inside of another captured function: a part of it. After too many paths: eager.
            return self.function(*args, **kwargs)
        given = Arguments(args, kwargs)
        kind = self.kinds.get(given.key)
        if kind is None:
            kind = self.kinds[given.key] = Kind(given)
        reasons = []
        for replay in kind.replays:
            why = replay.why_not(given)
            if why is None:
                self._remember(replay)
                return replay.run(given)
            reasons.append(why)
        if kind.attempts >= ATTEMPTS or kind.reason is not None:
            return self._followed(args, kwargs)
        self.history.update(reasons[:1])  # that of the newest
        return self._watched(kind, given, args, kwargs)

    def _remember(self, replay: Replay) -> None:
        """Let later calls try this replay's plan before anything else, once its launches are not timed
        any more."""
        if replay.quick and replay.plan not in self.plans and not replay.segment.samples.open:
            self.plans = (replay.plan, *self.plans)[:PLANS]

    def compiled(self) -> None:
        """One more program was made for this function."""
        self.programs += 1
        if self.programs == PROGRAMS + 1:
            self.plans = ()
            warnings.warn(
                message(
                    "compile", f"{self!r} takes another path, or other shapes, at nearly every call",
                    f"{self.programs} programs", f"at most {PROGRAMS}; it runs eagerly from now on",
                    "fanal.where or fanal.cond for branches on data, dynamic=True for shapes",
                ),
                stacklevel=4,
            )

    def _followed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the Python; what it computes runs as programs."""
        recorder = Recorder(self.root, None, self)
        state.tracer = recorder
        try:
            return self.function(*args, **kwargs)
        finally:
            try:
                recorder.finish()
            finally:
                state.tracer = None

    def _watched(
        self, kind: Kind, given: Arguments, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
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
        recorder = Recorder(self.root, notes, self)
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
                with stage("steps"):
                    recorder.finish(pending)
            finally:
                state.tracer = None
        try:
            with stage("replay"):
                kind.replays.insert(0, Replay(notes, observer, given, result, before))
        except Refused as refused:
            if refused.final:
                kind.reason = str(refused)
            self.history[str(refused)] += 1
        except Unknown as unknown:
            kind.reason = f"the result holds a {unknown.args[0].__name__}"
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

