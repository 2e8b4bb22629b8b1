"""What a watched call tells besides its steps: random draws, gradients, optimisers' options, effects.

From these notes a replay knows which inputs are looked up anew at each call, and in which order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fanal.core.dispatch import LiveNumber
from fanal.tensor.tensor import Tensor

if TYPE_CHECKING:
    from fanal.compiler.path import Path

UNREAD = object()  # a gradient that was replaced before anybody looked at it


@dataclass(slots=True)
class LiveOptions:
    """One group's options at a step of its optimiser."""

    owner: Any
    group: dict[str, Any]
    changed: dict[str, float]
    flags: Any
    names: tuple[str, ...]

    def numbers(self) -> list[float]:
        """The options as they are now, in the order of `names`."""
        found = {**self.owner._options(self.group), **self.changed}
        return [found[n] for n in self.names]

    def holds(self) -> bool:
        """Whether what is no number is as it was."""
        return self.owner._flags(self.group) is self.flags


@dataclass(slots=True)
class Ran:
    """A segment that ran: its program, the steps and the key where that stands, what it was given, and
    what came out of it."""

    segment: Any
    path: list[Any]
    key: Any
    inputs: list[Any]
    alive: list[Any]
    written: list[Any]
    tensors: list[Tensor]
    gradient: Any


class _NoPath:
    """For calls whose parts nobody wants to know."""

    broken = False

    def forget(self) -> None:
        """Nothing was noted."""

    def drawing(self) -> None:
        """A key is about to be drawn."""

    def drawn(self, key: Tensor) -> None:
        """It was."""

    def happened(self, why: str, frame: Any = None) -> None:
        """Something happened that calls which ask for values must not do."""


_NONE: Any = _NoPath()


class Notes:
    """Notes of one watched call. `refused`: why it can't be replayed, if the notes show it."""

    def __init__(self) -> None:
        self.path: Path = _NONE  # what it does between one look at elements and the next
        self.draws: dict[int, tuple[Tensor, Any, int, int]] = {}
        self.generators: dict[int, tuple[Any, int, int]] = {}  # as they were at first
        self.grads: dict[int, tuple[Tensor, Any]] = {}
        self.sequence: list[LiveOptions | Callable[[], Any]] = []
        self.runs: list[Ran] = []  # that the path does not know yet
        self.adopted: dict[int, Tensor] = {}  # made from Python's data
        self.refused: str | None = None
        self.asked = False  # whether elements were asked for in a way that no replay follows
        self.on_asking: Callable[[], None] | None = None

    def forget(self) -> None:
        """The call is over: its tensors are held no longer (these notes are part of a cycle, which is
        only found by the next collection)."""
        for some in (self.draws, self.generators, self.grads, self.runs, self.adopted):
            some.clear()
        self.path.forget()

    def asking(self) -> None:
        """Python asks for a tensor's elements: what the call computes is cut in two here."""
        self.asked = True
        if self.on_asking is not None:
            self.on_asking()

    def drawn(self, generator: Any, key: Tensor) -> None:
        seed, stream = generator._seed, generator._stream - 1
        self.path.drawing()
        self.generators.setdefault(id(generator), (generator, seed, stream))
        self.draws[id(key)] = (key, generator, seed, stream)
        self.path.drawn(key)

    def grad_read(self, p: Tensor) -> None:
        if id(p) not in self.grads:
            self.grads[id(p)] = (p, p._grad)

    def grad_set(self, p: Tensor) -> None:
        self.grads.setdefault(id(p), (p, UNREAD))

    def live(self, owner: Any, group: Any, changed: Any, options: dict[str, float]) -> dict[str, float]:
        entry = LiveOptions(owner, group, dict(changed), owner._flags(group), tuple(options))
        self.sequence.append(entry)
        return {
            k: LiveNumber.of(v, (entry, i)) for i, (k, v) in enumerate(options.items())
        }

    def effect(self, action: Callable[[], Any]) -> None:
        """A call without tensors that a replay makes too."""
        self.sequence.append(action)
        self.path.happened("a schedule steps in a call that asks for the value of a tensor")

    def ran(self, run: Ran) -> None:
        """A segment is about to run."""
        if not self.path.broken:
            self.runs.append(run)

    def refuse(self, why: str) -> None:
        """The call can't be replayed as it is; a later one may be."""
        self.refused = self.refused or why
