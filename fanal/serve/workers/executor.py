"""What runs batches: one at a time, without ever keeping the event loop waiting."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np

from fanal.core.errors import LinAlgError
from fanal.serve.errors import ServeError, Status
from fanal.serve.flow.ticket import Ticket
from fanal.serve.workers.model import Model

_OPERATION, _LINE = re.compile(r"^\[[\w.]+\] "), re.compile(r" At \S+:\d+.*\Z", re.DOTALL)


class Result(NamedTuple):
    """A batch's outputs, all rows of them, and the seconds that its input, itself and its output took."""

    outputs: Mapping[str, np.ndarray]
    given: float
    computed: float
    taken: float


Done = Callable[[Result | ServeError], None]


class Executor(Protocol):
    """Runs batches of one version of a model."""

    @property
    def idle(self) -> bool:
        """Whether it is there and has nothing to do."""

    @property
    def healthy(self) -> bool:
        """Whether it is there and answers."""

    def run(self, function: str, tickets: Sequence[Ticket], done: Done) -> None:
        """Start a batch; `done` is called in the event loop, later."""


class Staff(Protocol):
    """All executors of one version."""

    @property
    def workers(self) -> Sequence[Executor]:
        """Those that are there now."""

    @property
    def wanted(self) -> int:
        """How many there should be."""

    @property
    def pids(self) -> Sequence[int]:
        """Processes that hold the model."""

    async def close(self) -> None:
        """Give everything back."""


def together(tickets: Sequence[Ticket]) -> Mapping[str, np.ndarray]:
    """The inputs of a batch: rows one after another."""
    if len(tickets) == 1:
        return tickets[0].inputs
    return {k: np.concatenate([t.inputs[k] for t in tickets]) for k in tickets[0].inputs}


class Inline:
    """Runs batches in a thread of this process: where there is one model and nobody to protect it from. An
    executor, and a staff of itself alone."""

    wanted = 1

    def __init__(self, model: Model):
        self.workers = [self]
        self.pids = [os.getpid()]
        self._model = model
        self._thread = ThreadPoolExecutor(1, "fanal-serve")
        self._loop = asyncio.get_running_loop()
        self._busy = False

    @property
    def idle(self) -> bool:
        return not self._busy

    @property
    def healthy(self) -> bool:
        return True

    def run(self, function: str, tickets: Sequence[Ticket], done: Done) -> None:
        self._busy = True
        start = time.monotonic()
        inputs = together(tickets)
        given = time.monotonic()

        def work() -> None:
            try:
                outputs = self._model.run(function, inputs)
                found: Result | ServeError = Result(outputs, given - start, time.monotonic() - given, 0.0)
            except Exception as error:
                found = failed(error)
            self._loop.call_soon_threadsafe(finish, found)

        def finish(found: Result | ServeError) -> None:
            self._busy = False
            done(found)

        self._thread.submit(work)

    async def close(self) -> None:
        self.workers.clear()
        self._thread.shutdown(wait=False)


def failed(error: BaseException) -> ServeError:
    """What a sender is told of an error of the program: an index out of range, a divisor of 0 or a matrix that has no
    inverse is theirs, all else is ours. Operations and lines of the program are not told."""
    if isinstance(error, MemoryError):
        return ServeError(Status.EXHAUSTED, "[infer] there is not enough memory for this request.", 1.0)
    if isinstance(error, IndexError | ValueError | ZeroDivisionError | LinAlgError):
        text = _OPERATION.sub("", _LINE.sub("", str(error)))
        return ServeError(Status.INVALID, f"[infer] the model refuses its inputs: {text}")
    return ServeError(Status.INTERNAL, "[infer] the model failed; the server's log says how.")
