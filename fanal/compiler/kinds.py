"""The calls that a compiled function knows, by kind, and which of their programs are let go.

A kind is one key of arguments: shapes, dtypes, statics. When there are too many kinds or programs, those
kinds whose last call is the longest ago are forgotten, with every program that no other kind has run: its
code's table, its steps and what it keeps between calls. So a function of changing shapes never holds
more than so many sizes, and the sizes in use stay.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

from fanal.compiler.arguments import Arguments
from fanal.compiler.plan import Plan
from fanal.compiler.replay import Replay
from fanal.compiler.steps import Step
from fanal.compiler.tree import Tree

# Programs that one function holds at most (shapes × paths through its Python), and kinds.
PROGRAMS, KINDS = 256, 1024
# Plans that a call tries first.
PLANS = 4

Place = tuple[Step, Any]  # where a program stands: the step that it runs at, and what was alive then


class Kind:
    """Calls with one key: their replays, the newest first, and why there are no more."""

    __slots__ = ("arguments", "attempts", "eager", "places", "reason", "replays", "used")

    def __init__(self, given: Arguments) -> None:
        self.arguments = ", ".join(
            f"{t.dtype.name}[{','.join(map(str, t._layout.shape))}]" for t in given.tensors
        )
        self.replays: list[Replay | Tree] = []
        self.attempts = 0
        self.reason: str | None = None
        self.eager = False  # after too many paths through its Python
        self.places: set[Place] = set()  # of programs that its calls have run
        self.used = 0  # the number of its last call


class Kinds:
    """All kinds of a function by key."""

    def __init__(self) -> None:
        self.plans: tuple[Plan, ...] = ()  # that calls try first, without looking for their kind
        self._by_key: dict[Any, Kind] = {}
        self._paths: dict[Place, Sequence[Step]] = {}  # of all programs
        self._calls = 0
        self._changing = threading.RLock()

    def of(self, given: Arguments) -> Kind:
        """The kind of a call that is made now."""
        kind = self._by_key.get(given.key)
        if kind is None:
            with self._changing:
                kind = self._by_key.setdefault(given.key, Kind(given))
                kind.used = self._calls
                if len(self._by_key) > KINDS:
                    self._forget_oldest(kind)
        self._calls += 1
        kind.used = self._calls
        return kind

    def remember(self, replay: Replay | Tree) -> None:
        """Let later calls try this replay's plan before anything else, once its launches are not timed
        any more."""
        if replay.quick and replay.plan not in self.plans and replay.begun:
            with self._changing:
                self.plans = (replay.plan, *self.plans)[:PLANS]

    def drop(self, kind: Kind) -> None:
        """Forget a kind's replays."""
        with self._changing:
            gone = {id(r.plan) for r in kind.replays}
            self.plans = tuple(p for p in self.plans if id(p) not in gone)
            kind.replays.clear()

    def __iter__(self) -> Iterator[Kind]:
        return iter(list(self._by_key.values()))

    def __len__(self) -> int:
        return len(self._by_key)

    @property
    def programs(self) -> int:
        """How many programs are held."""
        return len(self._paths)

    def ran(self, kind: Kind, path: Sequence[Step], at: Step, key: Any) -> None:
        """A call of a kind ran the program of a path, which is a new one perhaps."""
        place = at, key
        if place in kind.places:
            return
        with self._changing:
            kind.places.add(place)
            self._paths.setdefault(place, tuple(path))
            while len(self._paths) > PROGRAMS and self._forget_oldest(kind):
                pass

    def _forget_oldest(self, staying: Kind) -> bool:
        """Forget the kind whose last call is the longest ago; False if there is but one."""
        # Calls by a plan that is tried first are not counted: their kinds are taken to be in use.
        others = [
            (any(r.plan in self.plans for r in kind.replays), kind.used, key)
            for key, kind in self._by_key.items()
            if kind is not staying
        ]
        if not others:
            return False
        *_, key = min(others, key=lambda one: one[:2])
        gone = self._by_key.pop(key)
        self.drop(gone)
        self._let_go(gone)
        return True

    def _let_go(self, kind: Kind) -> None:
        """Forget the programs that only a kind has run."""
        places, kind.places = kind.places, set()
        places -= set().union(*(other.places for other in self._by_key.values()))
        for place in places:
            path = self._paths.pop(place, None)
            if path is not None:
                _cut(path, place)

    def run_eagerly(self, kind: Kind) -> None:
        """Calls of a kind are to run eagerly: its programs are not needed any more."""
        with self._changing:
            kind.eager = True
            self._let_go(kind)


def _cut(path: Sequence[Step], place: Place) -> None:
    """Take a program out of the tree of steps, and the steps that led to nothing else."""
    at, key = place
    at.runs.pop(key, None)
    steps = [at.start, *path]
    for before, step in zip(reversed(steps[:-1]), reversed(steps[1:]), strict=True):
        if step.children or step.runs:
            return
        for action, child in list(before.children.items()):
            if child is step:
                del before.children[action]
