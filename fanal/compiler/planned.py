"""The plan of a replay: its fields and sections, and what is written anew when something has moved.

What a call does never changes. What it checks does: a module's epoch moves on although nothing that the
call read has changed, an equal number stands in another's place, an optimiser has another rate.
"""

from __future__ import annotations

import threading
from itertools import chain
from typing import TYPE_CHECKING, Any

from fanal.backends.native.runtime.layout import CHECK_LIST, PLAN_SINGLE, TENSORS_MAX
from fanal.compiler.arguments import Arguments
from fanal.compiler.checks import Checks, checked
from fanal.compiler.observer.places import known_place
from fanal.compiler.options import Options
from fanal.compiler.plan import Plan, bits
from fanal.core.epoch import Epoch, epoch

if TYPE_CHECKING:
    from fanal.compiler.checked import Checked
    from fanal.compiler.replay import Replay

# How often checks are written anew since something equal stood in another's place; a call where that
# always happens is looked at in Python.
REWRITES = 8
_NONE_HOLDS: list[Any] = []
_NEVER = (CHECK_LIST, id(_NONE_HOLDS), 0, 1)  # that it has an item


def planned(replay: Replay, given: Arguments) -> Plan:
    """What a call does, and which arguments it is for."""
    segment, gradient = replay.segment, replay.gradient
    single = replay.result.is_tensor and gradient is None and not replay.events
    alive: list[Any] = [replay.gradients, replay.leaves, replay.written]
    results: list[int] = []
    for number, layout, offset, node in replay.leaves:
        index, node = (node, None) if type(node) is int else (0, node)
        alive.append((index, node))
        results += (number, id(layout), offset, id(node), id(index))
    gradients: list[int] = []
    for p, memory, layout in replay.gradients:
        gradients += (id(p), -1 if memory is None else memory, id(layout))
    fixed = given.fixed()
    alive.append(fixed)
    fields = {
        "program": segment.executable.address, "owner": id(replay), "flags": PLAN_SINGLE * single,
        "kept": replay.kept.place, "tensors": len(given.tensors),
        "handed": len(segment.sizes) if gradient is None else replay.cell_count,
    }  # fmt: skip
    sections = {
        "given": [w for kind, x in fixed or () for w in (0 if kind is None else id(kind), id(x))],
        "pinned": [w for i, storage in replay.pinned for w in (i, id(storage))],
        "known": sorted(replay.known),
        "words": map(bits, replay.words),
        "from_given": chain.from_iterable(replay.from_arguments),
        "from_grads": [w for word, p in replay.from_gradients for w in (word, id(p))],
        "from_caller": [word for _, _, word in replay.draws.keys],
        "fresh": segment.sizes,
        "written": map(id, replay.written),
        "written_given": replay.written_arguments,
        "gradients": gradients,
        "results": results,
    }
    return Plan(fields, sections, alive)


def is_quick(given: Arguments, draws: bool) -> bool:
    """Whether native code can make such calls (or begin them) all by itself, from their arguments on.
    `draws`: whether they draw random numbers."""
    return given.fixed() is not None and len(given.tensors) <= TENSORS_MAX and not draws


class Watched:
    """What a plan checks, as it was when it was last looked at."""

    __slots__ = (
        "_alive", "_checks", "_entry", "_facts", "_guards", "_lock", "_options", "_places", "_plan",
        "_rewrites", "_whole",
    )  # fmt: skip

    def __init__(self, of: Checked):
        self._plan, self._guards, self._facts = of.plan, of.guards, of.facts
        self._places, self._entry, self._whole = of.places, of.entry, of.state is not None
        self._options = Options(of.options, of.from_options)
        self._rewrites = 0
        self._lock = threading.RLock()  # again and again: Python code may run at any time (finalizers)
        self._checks: Checks | None = None
        self._alive: list[Any] = []  # what the plan names, now and before
        self._options.follow(self._plan)
        self.write()

    def look_again(self) -> None:
        """Follow what may move: the epoch, as long as no module that counts has changed; numbers of
        optimisers, as long as nothing else of their options has."""
        with self._lock:
            facts = self._facts
            if facts is not None and facts.count is not epoch.count and facts.hold():
                self._alive = [*self._alive[-8:], facts.count]
                self._plan.put("same", 1, id(facts.count))
            if self._options.follow(self._plan):
                self._write_entries()

    def write(self) -> None:
        """Write down anew what stands where; all of it has been found to be as it was."""
        with self._lock:
            if self._rewrites > REWRITES:
                return
            self._rewrites += 1
            self._checks = checked(self._check)
            facts, words = self._facts, [] if self._checks is None else self._checks.words
            moving: tuple[int, ...] = ()
            if facts is not None:
                moving = (_COUNT + id(epoch), id(facts.count), _HOOKS + id(epoch), id(facts.hooks))
            self._plan.write("same", [*moving, *self._places.records, *words])
            self._write_entries()

    def _check(self, checks: Checks) -> None:
        if self._whole:
            checks.modes()
        for p, layout in self._entry:
            checks.gradient(p, layout)
        checks.guards(self._guards)

    def _write_entries(self) -> None:
        options = self._options.entries()
        self._alive = [*self._alive[-8:], self._checks]
        fixed = _NEVER if self._checks is None else self._checks.entries
        self._plan.write("checks", (*fixed, *options))


_COUNT, _HOOKS = known_place(Epoch, "count"), known_place(Epoch, "hooks")
