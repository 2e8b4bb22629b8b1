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

from fanal.compiler.arguments import Arguments, Given
from fanal.compiler.capture import Capture
from fanal.compiler.families import Forms
from fanal.compiler.feeding import Fed, Record
from fanal.compiler.kinds import PROGRAMS, Kind, Kinds
from fanal.compiler.notes import Notes
from fanal.compiler.observer import instructions  # noqa: F401 - registers what looks at them
from fanal.compiler.parts import Part
from fanal.compiler.plan import carried_out
from fanal.compiler.recorder import Recorder
from fanal.compiler.rounding import Rounding
from fanal.compiler.steps import Step
from fanal.compiler.tree import Stray
from fanal.core.collector import held_back
from fanal.core.dispatch import state
from fanal.core.errors import message
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
        # Where calls go on after a look at elements, by the line that looked: what follows in a loop is
        # the same programs in each turn.
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
                if type(replay) is Part:
                    found = replay.tree.run(Given([a for a in args if isinstance(a, Tensor)]), outcome)
                    if type(found) is not Stray:
                        return found
                    made = outcome = None  # what the first program made is the record's to let go
                    given = Arguments(args, kwargs)
                    return self._strayed(self.kinds.of(given), found, given, args, kwargs)
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
                made = replay.run(given)
                if type(made) is Stray:
                    return self._strayed(kind, made, given, args, kwargs)
                return made
            reasons.append(why)
        if kind.attempts >= ATTEMPTS or kind.reason is not None:
            if kind.eager:
                return self.function(*args, **kwargs)
            return self._followed(kind, given, args, kwargs)
        form = self.forms.of(given)
        if form is not None and not kind.replays:
            with held_back():
                member = self.forms.member(form, given)
            if member is not None and member.why_not(given) is None:
                kind.replays.insert(0, member)
                self.kinds.ran(kind, (), Step(None, 0, None), "member of a family")
                return member.run(given)
        self.history.update(reasons[:1])  # that of the newest
        kind.attempts += 1
        return Capture(self, kind, given, form=form).run(args, kwargs)

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

    def _followed(
        self, kind: Kind, given: Arguments, args: tuple[Any, ...], kwargs: dict[str, Any],
        record: Record | None = None,
    ) -> Any:  # fmt: skip
        """Run the Python; what it computes runs as programs, but for what has run already."""
        recorder = self.recorder(None, kind, given, record)
        state.tracer = recorder
        try:
            return self.function(*args, **kwargs)
        finally:
            try:
                recorder.end()
            finally:
                state.tracer = None

    def recorder(
        self, notes: Notes | None, kind: Kind, given: Arguments, record: Record | None
    ) -> Recorder:
        """Who takes a call down; `record`: what it has done already."""
        if record is None:
            made = Recorder(self.root, notes, self, kind)
        else:
            made = Fed(record, self.root, notes, self, kind)
        made.whole = given.whole()
        return made

    def _strayed(
        self, kind: Kind, stray: Stray, given: Arguments, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """A call left the ways that are known without Python: it goes on with it."""
        with held_back():
            if stray.why is None:
                self.history["it goes another way than any call before"] += 1
                return Capture(self, kind, given, stray).run(args, kwargs)
            stray.tree.lost[stray.why] += 1
            if stray.tree.idle:
                kind.reason = stray.why
                self.kinds.drop(kind)
            return self._followed(kind, given, args, kwargs, stray.record)

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

