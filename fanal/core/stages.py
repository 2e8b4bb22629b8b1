"""How long compiling takes, by stage: a stopwatch that always runs, since it costs a microsecond.

A stage that begins inside of another interrupts it, so the seconds of all stages add up to the whole.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType

seconds: dict[str, float] = {}


class _Running(threading.local):
    def __init__(self) -> None:
        self.names: list[str] = []
        self.since = 0.0

    def switch(self, now: float) -> None:
        """Count what passed since the last switch for the innermost stage."""
        if self.names:
            name = self.names[-1]
            seconds[name] = seconds.get(name, 0.0) + now - self.since
        self.since = now


_running = _Running()


class stage:
    """`with stage("lower"): …` counts the time of its body, less that of stages inside of it."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        _running.switch(time.perf_counter())
        _running.names.append(self.name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        _running.switch(time.perf_counter())
        _running.names.pop()


def taken() -> dict[str, float]:
    """Seconds by stage since the process began, or since `reset`."""
    return dict(seconds)


def reset() -> None:
    """Begin at zero."""
    seconds.clear()
