"""What a watched call does between one look at elements and the next.

A call whose Python asks for values is a row of parts. Each part reads things from outside, runs at most
one program, asks for values, and ends with a *decision*: what Python made of values (a comparison's
outcome, an integer), on which everything after it depends. As long as the same decisions are made, the
call does the same; so parts can be done again without Python, one by one (`parts.py`, `tree.py`).
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fanal.autograd.mode import mode
from fanal.compiler.arguments import Arguments
from fanal.compiler.inputs import Inputs, Refused, owners
from fanal.compiler.kept import Kept
from fanal.compiler.notes import UNREAD, LiveOptions, Notes, Ran
from fanal.compiler.observer.guards import Guards
from fanal.compiler.observer.watch import Observer
from fanal.compiler.segments import Segment
from fanal.compiler.steps import Step
from fanal.compiler.values import (
    Decision,
    Slot,
    Value,
    asked,
    asked_of,
    computed,
    exact,
    failed,
    way,
)
from fanal.tensor.layout import Layout
from fanal.tensor.tensor import Tensor

# Of one call.
PARTS = 2000


@dataclass(frozen=True, slots=True)
class Program:
    """What a part runs: a segment, the steps and key where it stands, what it keeps between calls."""

    segment: Segment
    path: tuple[Step, ...]
    key: Any
    kept: Kept


class Noted:
    """One part, as it was noted. Tensors of the call are named by number: its arguments, then keys of
    random draws and what programs made, in the order of their coming."""

    def __init__(self, path: Path, guards: Guards):
        self.guards = guards
        self.modules: list[Any] = []
        self.seen: list[tuple[Tensor, Layout]] = []  # tensors from outside
        self.entry: list[tuple[Tensor, Layout | None]] = []
        self.options: list[LiveOptions] = []
        self.generators: dict[int, tuple[Any, int, int]] = {}  # where its stream was, and then is
        self.keys: list[tuple[Any, int, int]] = []  # generator, place in its stream, number
        self.first = path.count  # the number of the first tensor that it makes
        self.run: Program | None = None
        self.inputs: Inputs | None = None
        self.from_values: list[tuple[int, int]] = []  # word, number of the value
        self.made: list[tuple[int, Layout]] = []  # what its program makes: number, layout
        self.written: list[tuple[str, Any]] = []
        self.held: list[Tensor] = []  # whose elements are asked for
        self.values: list[Value] = []
        self.asked: list[bool] = []  # which of the values were asked for
        self.decision: Decision | None = None
        self.outcome: Any = None
        self.dead: list[int] = []  # tensors that are gone when it ends

    @property
    def begun(self) -> bool:
        """Whether a program belongs to the next part."""
        return self.run is not None or bool(self.values)


class Path:
    """The parts of one watched call; `began`: it asked for a value that a replay can ask for, too."""

    def __init__(self, notes: Notes, observer: Observer, given: Arguments):
        self.notes, self.observer, self.given = notes, observer, given
        self.count = len(given.tensors)
        self.parts: list[Noted] = []
        self.now = Noted(self, observer.guards)
        self.began = False
        self.decisions = 0  # how many parts end with one
        self.endless = False  # whether there are too many of them
        self.effects: list[tuple[Any, Any]] = []  # lists from outside, and what is appended to them
        self.made: dict[int, tuple[int, Any]] = {}  # by Storage: number, and the Storage (weakly)
        self.tensors: list[weakref.ref[Tensor]] = []  # that programs made
        self._values = 0
        self._numbers: list[Any] = []  # what the values were in this call
        self._streams: dict[int, tuple[Any, int, int]] = {}  # of generators: seed, end of the last part
        self._marks = (0, 0, 0, 0)  # how many modules, tensors, gradients, options earlier parts have
        self._unlike: str | None = None  # what a call must not do if it asks for values

    def forget(self) -> None:
        """The call is over."""
        self.parts, self.effects, self._numbers, self.tensors, self.made = [], [], [], [], {}
        del self.now

    def handed_out(self, result: Any) -> Any:
        """All that the call gives to others: its result, and what it appended to lists."""
        return (result, tuple([x for _, x in self.effects])) if self.effects else result

    @property
    def broken(self) -> bool:
        """Whether what follows can't be noted."""
        return self.observer.impure is not None or self.notes.refused is not None or self.notes.asked

    def owned(self, ends: bool = False) -> Any:
        """Storages that belong to the function, by identity; before the call `ends`, those that are not
        trained: who knows what is written to later on."""
        before = (g for _, g in self.notes.grads.values() if isinstance(g, Tensor))
        apart = {id(t._storage) for t in (*self.given.tensors, *before)}
        found = owners(self.observer, self.notes)
        if not ends and mode.enabled:
            apart.update(key for key, t in found.items() if t._layout.grad)
        return found.keys() - apart

    def happened(self, why: str, frame: Any = None) -> None:
        """Something that happens at every call, or at capture only, unless the call asks for values."""
        if self.began:
            self.observer.refuse(why, frame)
        elif self._unlike is None:
            self._unlike = why

    # -- draws ---------------------------------------------------------------------------------------

    def drawing(self) -> None:
        """A key is about to be noted."""
        if self.now.begun:
            self._close(None, None)

    def drawn(self, key: Tensor) -> None:
        _, generator, seed, stream = self.notes.draws[id(key)]
        _, begin, _ = self.now.generators.get(id(generator), (generator, stream, stream))
        before = self._streams.get(id(generator))
        if stream < begin or (before is not None and before[1] != seed):
            self.notes.refuse("the random generator is seeded anew")
        elif before is not None and id(generator) not in self.now.generators and before[2] != stream:
            self.notes.refuse("the random generator is set")
        self.now.generators[id(generator)] = (generator, begin, generator._stream)
        self._streams[id(generator)] = (generator, seed, generator._stream)
        self.now.keys.append((generator, stream - begin, self._named(key._storage)))

    def _named(self, storage: Any) -> int:
        """The number of a new tensor of the call, by its memory."""
        number = self.count
        self.made[id(storage)] = (number, weakref.ref(storage))
        self.count += 1
        return number

    def number_of(self, t: Any) -> int | None:
        """The number of the tensor whose memory another one lies in, if the call made that."""
        number, reference = self.made.get(id(t._storage), (None, None))
        return number if reference is not None and reference() is t._storage else None

    # -- programs --------------------------------------------------------------------------------------

    def take_runs(self) -> None:
        """Note the program that has run since, and hold none of its tensors."""
        runs, self.notes.runs = self.notes.runs, []
        for run in runs:
            if self.now.begun:
                self._close(None, None)
            self._take(self.now, run)

    def _take(self, now: Noted, run: Ran) -> None:
        values = self.observer.values

        def made(word: int, x: Any) -> bool:
            if type(x) is float and (slot := values.slot(x)) is not None:
                now.from_values.append((word, slot))
                return True
            number = self.number_of(x) if isinstance(x, Tensor) else None
            if number is None:
                return False
            places.append((word, number, x._ptr - x._storage.ptr))
            return True

        places: list[tuple[int, int, int]] = []
        found = owners(self.observer, self.notes)
        now.inputs = Inputs(run.inputs, self.given.tensors, found, self.notes, made)
        now.inputs.from_arguments += places
        entered = {id(g._storage): p for p, g in self.notes.grads.values() if isinstance(g, Tensor)}
        known = {id(t._storage) for t in now.inputs.held}
        arguments = {id(t._storage): i for i, t in enumerate(self.given.tensors)}
        for t in run.written:
            key = id(t._storage)
            if (number := self.number_of(t)) is not None:
                now.written.append(("given", number))
            elif key in entered:
                continue  # counted with the inputs
            elif key in arguments:
                now.written.append(("given", arguments[key]))
            elif key in known:
                now.written.append(("held", t._storage))
            else:
                raise Refused("a tensor is written to that is not read")
        if run.segment.others:
            raise Refused("a tensor is written to that is not read")
        for c in run.alive:
            now.made.append((self._named(c.real), c.layout))
        self.tensors += map(weakref.ref, run.tensors)
        now.run = Program(run.segment, tuple(run.path), run.key, run.segment.kept_for(run.inputs))

    # -- values ----------------------------------------------------------------------------------------

    def answered(self, t: Tensor, read: Any, convert: Any, value: Any) -> Any:
        """Python asked for a tensor's element and gets `convert(value)`."""
        if self._unlike is not None:
            self.observer.refuse(self._unlike)
        if self.broken:
            self.notes.runs.clear()
            return value if convert is None else convert(value)
        self.began = True
        try:
            self.take_runs()
            source = self._source(t, read)
        except Refused as why:
            self.observer.refuse(str(why))
            return value if convert is None else convert(value)
        slot = self.value(source, value, True)
        values = self.observer.values
        if type(value) is float and convert in (None, float) and values.is_direct():
            values.track(value, slot)
            return value
        if convert is None or convert is float:
            return self.decided(exact, [slot])
        if convert is complex:
            self.decided(exact, [slot])
            return complex(value)
        return self.decided(convert, [slot])

    def _source(self, t: Tensor, read: Any) -> Value:
        number = self.number_of(t)
        if number is not None:
            like = dict(self._layouts()).get(number)
            offset = t._ptr - t._storage.ptr
            return asked(number, offset, t._layout, t._layout if like is None else like, read)
        for i, a in enumerate(self.given.tensors):
            if a._storage is t._storage:
                return asked(i, t._ptr - a._ptr, t._layout, a._layout, read)
        owner = owners(self.observer, self.notes).get(id(t._storage))
        if owner is None and id(t) not in self.notes.adopted:
            raise Refused("the value of a tensor is asked for that is made by other means")
        self.now.held.append(t if owner is None else owner)
        return asked_of(t, read)

    def _layouts(self) -> Any:
        for part in (*self.parts, self.now):
            yield from part.made

    def value(self, source: Value, number: Any, asked_for: bool = False) -> Slot:
        """A value is known from here on; it is this number now."""
        self.now.values.append(source)
        self.now.asked.append(asked_for)
        self._numbers.append(number)
        self._values += 1
        return Slot(self._values - 1)

    def computed(self, function: Any, operands: Sequence[Any], number: Any) -> Slot:
        """Python computed a number from values."""
        return self.value(computed(function, operands), number)

    def now_is(self, x: Any) -> Any:
        """An operand as it is in this call."""
        return self._numbers[x.number] if isinstance(x, Slot) else x

    def decided(self, function: Any, operands: Sequence[Any]) -> Any:
        """Python's way depends on a function of values; what it gives."""
        self.decisions += 1
        if len(self.parts) >= PARTS:
            self.endless = True
            self.observer.refuse(f"more than {PARTS} looks at the values of tensors")
        try:
            found = function(*map(self.now_is, operands))
        except Exception as error:
            self._close(Decision(function, operands, None), failed(error))
            raise
        self._close(Decision(function, operands, found), way(found))
        return found

    # -- parts ---------------------------------------------------------------------------------------------

    def _close(self, decision: Decision | None, outcome: Any) -> None:
        """The present part ends."""
        now = self.now
        now.decision, now.outcome = decision, outcome
        self.fill()
        now.dead = self.gone()
        self.parts.append(now)
        self.observer.guards = now.guards.after()
        self.now = Noted(self, self.observer.guards)

    def cut_back(self, least: int) -> bool:
        """Forget what came after the last decision that will be made again, if Python has to run from
        there on; whether there is one. `least` parts stay."""
        parts = self.parts
        while len(parts) > least and (parts[-1].decision is None or parts[-1].decision.any_float):
            parts.pop()
        return bool(parts) and parts[-1].decision is not None

    def fill(self) -> None:
        """Take down in the present part what was noted of it elsewhere."""
        now, notes = self.now, self.notes
        modules, tensors, gradients, options = self._marks
        found = list(self.observer.package.modules.values())
        seen = list(self.observer.package.seen.values())
        grads = list(notes.grads.values())
        now.modules, now.seen = found[modules:], seen[tensors:]
        now.entry = [
            (p, None if g is None else g._layout) for p, g in grads[gradients:] if g is not UNREAD
        ]
        now.options = [e for e in notes.sequence[options:] if isinstance(e, LiveOptions)]
        self._marks = (len(found), len(seen), len(grads), len(notes.sequence))

    def gone(self) -> list[int]:
        """Tensors of the call that nobody has any more."""
        found = []
        for key, (number, reference) in list(self.made.items()):
            if reference() is None:
                found.append(number)
                del self.made[key]
        return found
