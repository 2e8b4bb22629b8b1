"""Load on connections: each sends its next request after an answer (closed loop), or requests are due at a given
rate whatever the server does (open loop).

In the open loop latency counts from when a request was due. A server that stalls makes those wait that came
meanwhile, and their waiting is in the figures; measured from the sending it would not be.
"""

from __future__ import annotations

import asyncio
import ssl
from array import array
from collections import deque
from collections.abc import Callable

from fanal.serve.bench.connection import SUCCESS, Connection, Maker
from fanal.serve.bench.timer import Ticks, now

_HURRY = 1.0  # seconds that answers have where somebody does not want to wait any more
_RETRY = 0.05  # seconds before a connection that was lost is opened again


class Record:
    """What happened to requests that were due from `start` to `end`. `completed`: results that came in that time,
    whenever they had been due. `unconnected`: connections that could not be opened, which are no requests. `reasons`:
    what the first answer of each status said."""

    def __init__(self) -> None:
        self.start = self.end = float("inf")
        self.sent = self.completed = 0
        self.latencies, self.refusals, self.late = array("d"), array("d"), array("d")
        self.refused: dict[str, int] = {}
        self.errors: dict[str, int] = {}
        self.unconnected: dict[str, int] = {}
        self.reasons: dict[str, bytes] = {}

    def error(self, what: str, count: int = 1) -> None:
        self.errors[what] = self.errors.get(what, 0) + count


class Load:
    """Drives `count` connections. `rate`: requests a second; None: the closed loop. `stopped`: before its time."""

    def __init__(self, make: Maker, host: str, port: int, tls: ssl.SSLContext | None, count: int, rate: float | None):
        self.record = Record()
        self._make, self._host, self._port, self._tls = make, host, port, tls
        self._count, self._rate = count, rate
        self._idle: deque[Connection] = deque()
        self._all: set[Connection] = set()
        self._backlog: deque[float] = deque()
        self._under_way = 0
        self._stopped = self.stopped = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._begin = 0.0
        self._made = 0
        self._rested = asyncio.Event()

    async def open(self) -> None:
        """Open the connections; OSError if the server is not there."""
        await asyncio.gather(*(self._connect() for _ in range(self._count)))

    async def run(self, warm_up: float, duration: float, patience: float, progress: Callable[[Record, float], None]) -> None:
        """Warm up, measure, then wait for answers that are still due, at most `patience` seconds."""
        ticks = None if self._rate is None else Ticks(max(1 / self._rate, 5e-5), self._tick)
        self._begin = now() if ticks is None else ticks.began
        self.record.start = self._begin + warm_up
        self.record.end = self.record.start + duration
        if ticks is None:
            for connection in list(self._idle):
                self._idle.remove(connection)
                self._send(connection, now())
        else:
            self._tick()
        try:
            while (left := self.record.end - now()) > 0:
                await asyncio.sleep(min(left, 0.25))
                progress(self.record, max(0.0, now() - self.record.start))
        finally:
            if ticks is not None:
                self._tick()  # also what was due while this process stood still
                ticks.stop()
            self._stopped = True
        await self._rest(min(patience, _HURRY) if self.stopped else patience)

    async def _rest(self, patience: float) -> None:
        self._at_rest()
        try:
            await asyncio.wait_for(self._rested.wait(), patience)
        except TimeoutError:
            waiting = [*(c.due for c in self._all if c not in self._idle), *self._backlog]
            self.record.error("no answer in time", sum(due >= self.record.start for due in waiting))

    def stop(self) -> None:
        """Measure no longer: what there is will do. Whoever asks twice does not want even that."""
        if self.stopped:
            raise KeyboardInterrupt
        self.stopped = True
        self.record.end = min(self.record.end, now())

    def close(self) -> None:
        """Close all connections."""
        self._stopped = True
        self._backlog.clear()
        for task in self._tasks:
            task.cancel()
        for connection in list(self._all):
            connection.close()

    # -- when something is due -------------------------------------------------------------------------

    def _tick(self) -> None:
        assert self._rate is not None
        due = int((now() - self._begin) * self._rate) + 1
        while self._made < due:
            at = self._begin + self._made / self._rate
            if at >= self.record.end:
                return
            self._made += 1
            if at >= self.record.start:
                self.record.sent += 1
            if self._idle:
                connection = self._idle.popleft()
                self._send(connection, at)
                if at >= self.record.start:
                    self.record.late.append(now() - at)
            else:
                self._backlog.append(at)

    def _send(self, connection: Connection, due: float) -> None:
        if self._rate is None and due >= self.record.start:
            self.record.sent += 1
        self._under_way += 1
        connection.send(due)

    def _next(self, connection: Connection) -> None:
        if self._rate is None:
            at = now()
            if at < self.record.end:
                self._send(connection, at)
            else:
                self._idle.append(connection)
        elif self._backlog:
            self._send(connection, self._backlog.popleft())
        else:
            self._idle.append(connection)

    def _at_rest(self) -> None:
        if self._stopped and not self._under_way and not self._backlog:
            self._rested.set()

    # -- what connections tell -------------------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        self._all.add(connection)
        if self._begin:
            self._next(connection)
        else:
            self._idle.append(connection)

    def answered(self, connection: Connection, status: str, again: bool, text: bytes = b"") -> None:
        self._under_way -= 1
        record, at = self.record, now()
        if status == SUCCESS and record.start <= at < record.end:
            record.completed += 1
        if connection.due >= record.start:
            seconds = at - connection.due
            if status == SUCCESS:
                record.latencies.append(seconds)
            else:
                record.refusals.append(seconds)
                record.refused[status] = record.refused.get(status, 0) + 1
                record.reasons.setdefault(status, text)
        if again:
            self._next(connection)
        else:
            connection.close()
            self._replace(connection)
        if self._stopped:
            self._at_rest()

    def lost(self, connection: Connection, error: str, busy: bool) -> None:
        if busy:
            self._under_way -= 1
            if connection.due >= self.record.start:
                self.record.error(error)
        elif connection in self._idle:
            self._idle.remove(connection)
        self._replace(connection)
        self._at_rest()

    def _replace(self, connection: Connection) -> None:
        self._all.discard(connection)
        if self._wanted:
            task = asyncio.get_running_loop().create_task(self._again())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    @property
    def _wanted(self) -> bool:
        """Whether there is, or will be, something to send."""
        return not self._stopped or bool(self._backlog)

    async def _again(self) -> None:
        while self._wanted:
            try:
                await self._connect()
                return
            except OSError as error:
                why = error.strerror or type(error).__name__
                self.record.unconnected[why] = self.record.unconnected.get(why, 0) + 1
                await asyncio.sleep(_RETRY)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self._make(self), self._host, self._port, ssl=self._tls)
