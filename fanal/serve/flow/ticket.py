"""A request that waits for its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping
from typing import Any, NamedTuple

import numpy as np


class Answer(NamedTuple):
    """Outputs by name. `queue`, `compute`: seconds that it waited and that its batch took; `rows` of the batch."""

    outputs: Mapping[str, np.ndarray]
    queue: float
    compute: float
    rows: int


class Ticket:
    """One request in a queue: `await` it for its `Answer`, or `cancel()` it.

    Times are the event loop's. `deadline`: when its sender stops waiting; it is not computed after that.
    `priority`: those of lower numbers go first.
    """

    __slots__ = (
        "arrived", "deadline", "future", "inputs", "key", "priority", "rows", "running", "started", "timer", "withdraw",
    )  # fmt: skip

    def __init__(
        self, inputs: Mapping[str, np.ndarray], rows: int, key: tuple[Any, ...], arrived: float,
        deadline: float | None, priority: int, future: asyncio.Future[Answer],
    ):  # fmt: skip
        self.inputs, self.rows, self.key, self.arrived = inputs, rows, key, arrived
        self.deadline, self.priority, self.future = deadline, priority, future
        self.started = 0.0
        self.running = False
        self.timer: asyncio.TimerHandle | None = None
        self.withdraw: Callable[[Ticket], None] | None = None

    def __await__(self) -> Generator[Any, None, Answer]:
        return self.future.__await__()

    def cancel(self) -> None:
        """Its sender is gone: it is not computed if it waits still, and nobody hears of its answer.

        Where a task that awaits the ticket is cancelled, its future is already; the ticket still has to be.
        """
        withdraw, self.withdraw = self.withdraw, None
        if withdraw is not None and (self.future.cancelled() or not self.future.done()):
            withdraw(self)
