"""The highest rate at which a server keeps a promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from fanal.serve.bench.outcome import Outcome
from fanal.serve.bench.running import run

_GRAIN = 0.05  # how near the two rates are that the answer lies between
_LEAST = 1.0


class Sweep(NamedTuple):
    """The best run that held the limit (None: not even the slowest did), and all runs in their order."""

    best: Outcome | None
    runs: list[Outcome]


def holds(outcome: Outcome, limit: float) -> bool:
    """Whether p99 is within the limit, nothing failed, and what was offered was answered (but for what was under way
    at the end)."""
    answered = outcome.completed + outcome.connections >= 0.98 * outcome.sent
    return outcome.latency.count > 0 and outcome.latency.p99 <= limit and not outcome.failed and answered


def sweep(
    url: str, model: str, *, limit: float, start: float = 500.0, duration: float = 3.0,
    each: Callable[[Outcome], None] = lambda outcome: None, **how: Any,
) -> Sweep:  # fmt: skip
    """Find it: twice the rate until p99 is over `limit` seconds or something fails, then between the two; `how` as
    for `run`."""
    runs: list[Outcome] = []
    good: Outcome | None = None
    low, high = 0.0, float("inf")
    rate = start
    while True:
        outcome = run(url, model, rate=rate, duration=duration, **how)
        runs.append(outcome)
        each(outcome)
        if holds(outcome, limit):
            good, low = outcome, rate
        else:
            high = rate
        if high < float("inf") and (high - low <= _GRAIN * high or high <= _LEAST):
            return Sweep(good, runs)
        rate = low * 2 if high == float("inf") else (low + high) / 2 if low else high / 4
