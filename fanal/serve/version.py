"""A version of a model that answers: its queue, its workers, its state."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from enum import Enum

import numpy as np

from fanal.core.errors import message
from fanal.serve.errors import ServeError, Status
from fanal.serve.flow.queue import Queue
from fanal.serve.flow.ticket import Answer, Ticket
from fanal.serve.flow.turns import Turn, Turns
from fanal.serve.interface import Description, Function
from fanal.serve.statistics import Statistics
from fanal.serve.workers.executor import Executor, Result, Staff

_NO_PRIORITY = 1 << 32
# How a batch may fail for one request's sake, and not for the others'.
_OF_ONE = frozenset([Status.INVALID, Status.EXHAUSTED, Status.INTERNAL])
_SMOOTH = 0.1  # weight of the newest batch in the mean time of a row


class State(Enum):
    """Where a version is in its life; the values are TensorFlow Serving's."""

    LOADING = "LOADING"
    READY = "AVAILABLE"
    UNLOADING = "UNLOADING"
    ENDED = "END"


class Flow:
    """How requests of a model are treated.

    queue_size: requests that may wait; queue_seconds: how long they may have to, as far as can be told; more
    are refused at once. batch_delay: seconds that a batch which is not full waits for more rows.
    """

    def __init__(self, queue_size: int = 128, queue_seconds: float = 10.0, batch_delay: float = 0.0):
        self.queue_size, self.queue_seconds, self.batch_delay = queue_size, queue_seconds, batch_delay


class Version:
    """One version of a model. Everything here runs in the event loop's thread."""

    def __init__(self, model: str, number: int, description: Description, flow: Flow, turns: Turns):
        self.model, self.number, self.description = model, number, description
        self.state = State.LOADING
        self.statistics = Statistics()
        self.staff: Staff | None = None
        self.flow, self._turns = flow, turns
        self._queue = Queue()
        self._turn = Turn(self._go)
        self._row_seconds = 0.0
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._delay: asyncio.TimerHandle | None = None
        self._soon = False  # it will be looked in a moment whether a batch can start
        self._loop = asyncio.get_running_loop()

    @property
    def executors(self) -> Sequence[Executor]:
        """The workers that are there."""
        return () if self.staff is None else self.staff.workers

    @property
    def ready(self) -> bool:
        """Whether it answers: loaded, warm, and all its workers are there and answer."""
        if self.state is not State.READY or self.staff is None:
            return False
        workers = self.staff.workers
        return len(workers) >= self.staff.wanted and all(e.healthy for e in workers)

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return self._queue.count

    # -- requests -------------------------------------------------------------------------------------

    def submit(
        self, function: Function, inputs: Mapping[str, np.ndarray], deadline: float | None = None, priority: int = 0,
    ) -> Ticket:  # fmt: skip
        """Take a request in, or refuse it at once (ServeError).

        inputs: arrays by name, of the datatypes' dtypes, contiguous, not written to while it waits.
        deadline: the event loop's time until which it is worth computing. priority: 1 goes first, larger numbers later;
        0 says nothing and goes last.
        """
        now = time.monotonic()
        statistics = self.statistics
        statistics.received += 1
        try:
            fit = function.check(inputs)
            self._admit(now, deadline)
        except ServeError as error:
            statistics.failure(error.status.name.lower(), 0.0)
            raise
        ticket = Ticket(inputs, fit.rows, fit.key, now, deadline, priority or _NO_PRIORITY, self._loop.create_future())
        ticket.withdraw = self._withdrawn
        if deadline is not None:
            ticket.timer = self._loop.call_at(deadline, self._expired, ticket)
        self._queue.put(ticket)
        statistics.pending += 1
        self._idle.clear()
        if not self._soon:
            # Not at once: requests that came over other connections meanwhile may go with it.
            self._soon = True
            self._loop.call_soon(self._gathered)
        return ticket

    def refused(self, error: ServeError) -> None:
        """A request that did not get as far as `submit`: its protocol could not read it."""
        self.statistics.received += 1
        self.statistics.failure(error.status.name.lower(), 0.0)

    def _admit(self, now: float, deadline: float | None) -> None:
        if self.state is not State.READY:
            raise ServeError(Status.UNAVAILABLE, message("infer", f"version {self.number} of {self.model!r} is {self.state.value.lower()}"), 1.0)
        if deadline is not None and deadline <= now:
            self.statistics.missed += 1
            raise ServeError(Status.DEADLINE, message("infer", "the deadline had passed when the request came"))
        flow = self.flow
        if self._soon and self._queue.count >= flow.queue_size:
            self.wake()
        wait = self._queue.rows * self._row_seconds / max(1, len(self.executors))
        if self._queue.count >= flow.queue_size or wait > flow.queue_seconds:
            self.statistics.shed += 1
            text = message("infer", f"{self.model!r} has more requests than it can answer", f"{self._queue.count} in its queue")
            raise ServeError(Status.EXHAUSTED, text, max(0.05, wait))

    def _expired(self, ticket: Ticket) -> None:
        if ticket.future.done():
            return
        self.statistics.missed += 1
        where = "while it was computed" if ticket.running else "before it was computed"
        error = ServeError(Status.DEADLINE, message("infer", f"the deadline passed {where}"))
        self._take_back(ticket)
        self._fail(ticket, error)

    def _withdrawn(self, ticket: Ticket) -> None:
        self.statistics.cancelled += 1
        self._take_back(ticket)
        self._ended(ticket)
        self.statistics.failure("cancelled", time.monotonic() - ticket.arrived)
        ticket.future.cancel()

    def _take_back(self, ticket: Ticket) -> None:
        if not ticket.running:
            self._queue.remove(ticket)
            self._rest()

    def _fail(self, ticket: Ticket, error: ServeError) -> None:
        if ticket.future.done():
            return
        self._ended(ticket)
        self.statistics.failure(error.status.name.lower(), time.monotonic() - ticket.arrived)
        ticket.future.set_exception(error)

    def _ended(self, ticket: Ticket) -> None:
        self.statistics.pending -= 1
        if ticket.timer is not None:
            ticket.timer.cancel()

    # -- batches --------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Ask for a turn if there is a batch that could start: requests have come, or there is a new worker."""
        if not any(e.idle for e in self.executors):
            return
        ticket = self._queue.head()
        if ticket is None:
            return
        if self.flow.batch_delay > 0:
            function = self.description.functions[ticket.key[0]]
            at = ticket.arrived + self.flow.batch_delay
            if function.batched and self._queue.together() < function.most and at > time.monotonic():
                if self._delay is None:
                    self._delay = self._loop.call_at(at, self._delayed)
                return
        self._turns.ask(self._turn)

    def _gathered(self) -> None:
        self._soon = False
        self.wake()

    def _delayed(self) -> None:
        self._delay = None
        self.wake()

    def _go(self) -> bool:
        """Start the next batch, if there is one still and somebody to run it."""
        head = self._queue.head()
        executor = next((e for e in self.executors if e.idle), None)
        if head is None or executor is None:
            return False
        function = self.description.functions[head.key[0]]
        tickets = self._queue.take(function.most if function.batched else 1)
        now = time.monotonic()
        queue = self.statistics.queue
        for t in tickets:
            t.running = True
            if not t.started:  # it may have been in a batch before
                t.started = now
                queue.add(now - t.arrived)
                self.statistics.queued.add(now - t.arrived)
        self._running += 1

        def done(found: Result | ServeError) -> None:
            self._running -= 1
            seconds = time.monotonic() - now
            if isinstance(found, ServeError) and len(tickets) > 1 and found.status in _OF_ONE:
                self._halve(tickets)
            elif isinstance(found, ServeError):
                for t in tickets:
                    self._fail(t, found)
            else:
                self._answer(tickets, found, seconds)
            self._turns.done(self._turn, seconds)
            self.wake()
            self._rest()

        executor.run(function.name, tickets, done)
        self.wake()  # there may be another worker
        return True

    def _halve(self, tickets: Sequence[Ticket]) -> None:
        """A batch failed, perhaps for what one of its requests brought: each half is tried apart from all others, until
        those who did not cause it are answered and those who did know."""
        middle = len(tickets) // 2
        for part in (tickets[:middle], tickets[middle:]):
            apart = object()
            for t in part:
                if not t.future.done():
                    t.running, t.key = False, (t.key[0], apart)
                    self._queue.put(t)

    def _answer(self, tickets: Sequence[Ticket], found: Result, seconds: float) -> None:
        rows = sum(t.rows for t in tickets)
        statistics = self.statistics
        statistics.batch(rows, len(tickets), found.given, found.computed, found.taken)
        statistics.last_inference = time.time()
        self._row_seconds += (_SMOOTH if self._row_seconds else 1.0) * (seconds / max(1, rows) - self._row_seconds)
        now = time.monotonic()
        at = 0
        for t in tickets:
            outputs = found.outputs
            if len(tickets) > 1:
                outputs = {k: v[at : at + t.rows] for k, v in outputs.items()}
                at += t.rows
            if t.future.done():
                continue
            self._ended(t)
            statistics.success += 1
            statistics.succeeded.add(now - t.arrived)
            statistics.request.add(now - t.arrived)
            t.future.set_result(Answer(outputs, t.started - t.arrived, seconds, rows))

    # -- the end --------------------------------------------------------------------------------------

    def _rest(self) -> None:
        if not self._queue.count and not self._running:
            self._idle.set()

    async def finished(self) -> None:
        """Wait until nothing is in the queue or being computed."""
        await self._idle.wait()

    async def unload(self, patience: float | None = None) -> None:
        """Answer what has come, take nothing more, then give the workers back. After `patience` seconds what
        is still waiting is refused."""
        self.state = State.UNLOADING
        try:
            await asyncio.wait_for(self.finished(), patience)
        except TimeoutError:
            for t in self._queue.drain():
                t.running = True  # nobody need look for it in the queue
                self._fail(t, ServeError(Status.UNAVAILABLE, message("infer", f"{self.model!r} was unloaded"), 1.0))
        self._turns.leave(self._turn)
        if self.staff is not None:
            await self.staff.close()
        self.state = State.ENDED
