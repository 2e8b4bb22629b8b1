"""Whose turn it is: several models share the machine by the time that their batches take.

Each model has a clock that runs while its batches do. The one whose clock is behind goes first (start-time fair
queueing); a model that was idle does not get back the time that it did not use.
"""

from __future__ import annotations

from collections.abc import Callable


class Turn:
    """One model's place in the order. `go` starts its next batch; it returns whether there was one."""

    __slots__ = ("clock", "go", "waiting")

    def __init__(self, go: Callable[[], bool]):
        self.go = go
        self.clock = 0.0
        self.waiting = False


class Turns:
    """At most `limit` batches run at once, over all models."""

    def __init__(self, limit: int):
        self.limit = limit
        self.running = 0
        self._waiting: list[Turn] = []
        self._now = 0.0  # the clock of the batch that started last

    def ask(self, turn: Turn) -> None:
        """This model has a batch that could start."""
        if turn.waiting:
            return
        if self.running < self.limit and not self._waiting:
            self._start(turn)
            return
        turn.waiting = True
        turn.clock = max(turn.clock, self._now)
        self._waiting.append(turn)

    def done(self, turn: Turn, seconds: float) -> None:
        """A batch of this model has ended after so long."""
        self.running -= 1
        turn.clock += seconds
        while self._waiting and self.running < self.limit:
            first = min(self._waiting, key=lambda t: t.clock)
            self._waiting.remove(first)
            first.waiting = False
            self._start(first)

    def leave(self, turn: Turn) -> None:
        """This model is gone."""
        if turn.waiting:
            turn.waiting = False
            self._waiting.remove(turn)

    def _start(self, turn: Turn) -> None:
        turn.clock = self._now = max(turn.clock, self._now)
        self.running += 1
        if not turn.go():
            self.running -= 1
