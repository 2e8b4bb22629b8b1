"""The server's ends of its processes: the nursery, mothers, workers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fanal.core.errors import DataError, message
from fanal.serve.errors import ServeError, Status
from fanal.serve.flow.ticket import Ticket
from fanal.serve.interface import Description, description_from
from fanal.serve.workers import channel
from fanal.serve.workers.block import START, Block, aligned
from fanal.serve.workers.executor import Done, Result

log = logging.getLogger("fanal.serve")
_BIRTH_SECONDS = 20.0  # a fork takes milliseconds; a machine may be very busy


class Parent:
    """A process that forks others for us."""

    def __init__(self, end: socket.socket, what: str):
        end.setblocking(False)
        self.what = what
        self.gone = False
        self.lost: Callable[[], None] | None = None
        self.ended: Callable[[int, int], None] | None = None  # of a child: its pid, its exit code
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._births: dict[int, asyncio.Future[int]] = {}
        self._numbers = itertools.count()
        self._loop.add_reader(end.fileno(), self._readable)

    async def fork(self, record: dict[str, Any], files: Sequence[int]) -> int:
        """Have a child born, to which the files go; its pid."""
        number = next(self._numbers)
        born: asyncio.Future[int] = self._loop.create_future()
        self._births[number] = born
        try:
            channel.send(self._end, {**record, "id": number}, files)
            return await asyncio.wait_for(born, _BIRTH_SECONDS)
        except (channel.Ended, TimeoutError):
            raise Lost(f"{self.what} does not answer") from None
        finally:
            self._births.pop(number, None)

    def _readable(self) -> None:
        try:
            while True:
                record, files = channel.receive(self._end)
                self._heard(record, files)
        except BlockingIOError:
            pass
        except channel.Ended:
            self._lose()

    def _heard(self, record: dict[str, Any], files: list[int]) -> None:
        if record["kind"] == "born":
            born = self._births.get(record["id"])
            if born is not None and not born.done():
                born.set_result(record["pid"])
        elif record["kind"] == "ended" and self.ended is not None:
            self.ended(record["pid"], record["status"])

    def _lose(self) -> None:
        if self.gone:
            return
        self.close()
        for born in self._births.values():
            if not born.done():
                born.set_exception(Lost(f"{self.what} ended"))
        if self.lost is not None:
            self.lost()

    def close(self) -> None:
        """Let it go: it ends when it notices."""
        if not self.gone:
            self.gone = True
            self._loop.remove_reader(self._end.fileno())
            self._end.close()


class Lost(Exception):
    """A process ended before it did what it was asked for."""


class _Starved(Exception):
    """Others left a load that gave way to them next to nothing."""


class Nursery:
    """The process that mothers come from; started anew should it be killed."""

    def __init__(self) -> None:
        self._parent: Parent | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._starting = asyncio.Lock()

    async def fork(self, record: dict[str, Any], files: Sequence[int]) -> int:
        """A mother's pid."""
        for last in (False, True):
            parent = await self._there()
            try:
                return await parent.fork(record, files)
            except Lost:
                parent.close()
                if last:
                    raise
        raise AssertionError

    async def _there(self) -> Parent:
        async with self._starting:
            if self._parent is None or self._parent.gone:
                self._reap()
                ours, theirs = channel.pair()
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "fanal.serve.workers.nursery", str(theirs.fileno())],
                    pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                )  # fmt: skip
                theirs.close()
                self._parent = Parent(ours, "the nursery")
            return self._parent

    def _reap(self) -> None:
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._process.kill()
            self._process.wait()
            self._process = None

    async def start(self) -> None:
        """Begin now what would otherwise begin with the first model."""
        await self._there()

    def close(self) -> None:
        if self._parent is not None:
            self._parent.close()
        self._reap()


class Mother(Parent):
    """The process that has a version of a model loaded, and its description."""

    def __init__(self, end: socket.socket, name: str):
        super().__init__(end, f"the process that loads {name!r}")
        self.name, self.pid = name, 0
        self._ready: asyncio.Future[Description] = self._loop.create_future()

    @staticmethod
    async def load(
        nursery: Nursery, name: str, path: str, file: int, options: dict[str, Any], timeout: float, urgent: bool
    ) -> tuple[Mother, Description]:
        """Load a program; DataError or ValueError that says why it can't be. Unless it is urgent, requests that are
        answered meanwhile come first."""
        record = {"name": name, "path": path, **options}
        try:
            return await Mother._loaded(nursery, {**record, "urgent": urgent}, file, timeout)
        except _Starved:
            return await Mother._loaded(nursery, {**record, "urgent": True}, file, timeout)

    @staticmethod
    async def _loaded(nursery: Nursery, record: dict[str, Any], file: int, timeout: float) -> tuple[Mother, Description]:
        name = record["name"]
        ours, theirs = channel.pair()
        mother = Mother(ours, name)
        try:
            mother.pid = await nursery.fork(record, [theirs.fileno(), file])
            theirs.close()
            return mother, await asyncio.wait_for(mother._ready, timeout)
        except TimeoutError:
            mother.kill()
            raise ValueError(message("serve", f"{name!r} took longer than {timeout:g} s to load", hint="--load-timeout")) from None
        except BaseException:
            mother.kill()
            raise
        finally:
            theirs.close()

    def _heard(self, record: dict[str, Any], files: list[int]) -> None:
        if record["kind"] == "ready":
            text = channel.text_of(files[0])
            if not self._ready.done():
                self._ready.set_result(description_from(json.loads(text)))
        elif record["kind"] == "failed":
            kind = DataError if record["class"] == "DataError" else ValueError
            if not self._ready.done():
                self._ready.set_exception(kind(record["text"]))
        elif record["kind"] == "starved":
            if not self._ready.done():
                self._ready.set_exception(_Starved())
        else:
            super()._heard(record, files)

    def _lose(self) -> None:
        if not self._ready.done():
            self._ready.set_exception(ValueError(message("serve", f"the process that loaded {self.name!r} ended")))
        super()._lose()

    def kill(self) -> None:
        """End it now."""
        self.close()
        if self.pid:
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)


class Worker:
    """A process that computes batches; see `Executor`."""

    def __init__(self, end: socket.socket, block: Block, description: Description, pid: int, lost: Callable[[Worker], None]):
        end.setblocking(False)
        self.pid = pid
        self.born = time.monotonic()
        self.gone = False
        self.busy_since: float | None = None
        self._end, self._block, self._description = end, block, description
        self._lost = lost
        self._done: Done | None = None
        self._function = ""
        self._rows: tuple[float, float] = (0.0, 0.0)
        self._pulse, self._felt = -1, self.born
        self._fit = True  # its pulse was felt not long ago
        # Told apart from another process that may one day have its number.
        try:
            self._handle: int | None = os.pidfd_open(pid)
        except OSError:
            self._handle = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(end.fileno(), self._readable)

    @property
    def idle(self) -> bool:
        return self._done is None and not self.gone

    @property
    def healthy(self) -> bool:
        return self._fit and not self.gone

    def run(self, function: str, tickets: Sequence[Ticket], done: Done) -> None:
        start = time.monotonic()
        self._done, self._function, self.busy_since = done, function, start
        try:
            order = self._put(function, tickets)
            channel.send(self._end, order)
        except channel.Ended:
            self._loop.call_soon(self._lose)  # as if it had ended a moment later
        except (OSError, MemoryError, ValueError):
            found = ServeError(Status.EXHAUSTED, message("infer", "there is not enough memory for this batch"), 1.0)
            self._loop.call_soon(self._finish, found)
        self._rows = (start, time.monotonic() - start)

    def _put(self, function: str, tickets: Sequence[Ticket]) -> dict[str, Any]:
        """Lay the batch's rows down one after another; what the worker needs to know."""
        block, names = self._block, self._description.functions[function].inputs
        places: list[tuple[int, tuple[int, ...]]] = []
        at = START
        first = tickets[0].inputs
        rows = sum(t.rows for t in tickets)
        for name in names:
            array = first[name]
            shape = array.shape if len(tickets) == 1 else (rows, *array.shape[1:])
            at = aligned(at)
            places.append((at, shape))
            at += sum(t.inputs[name].nbytes for t in tickets)
        block.reserve(at)
        for (offset, shape), name in zip(places, names, strict=True):
            into = block.array(offset, shape, first[name].dtype)
            if len(tickets) == 1:
                into[...] = first[name]
            else:
                np.concatenate([t.inputs[name] for t in tickets], out=into)
        return {"run": function, "inputs": places, "end": at, "size": block.size}

    def _readable(self) -> None:
        try:
            answer = channel.receive_plain(self._end)
        except BlockingIOError:
            return
        except (channel.Ended, ValueError):
            self._lose()
            return
        if "status" in answer:
            self._finish(ServeError(Status[answer["status"]], answer["text"]))
            return
        block = self._block
        block.see(answer["size"])
        ports = self._description.functions[self._function].outputs.values()
        outputs = {
            p.name: block.array(offset, tuple(shape), p.datatype.numpy).copy()
            for p, (offset, shape) in zip(ports, answer["outputs"], strict=True)
        }
        there, computed, back = answer["seconds"]
        start, given = self._rows
        way = max(0.0, time.monotonic() - start - given - there - computed - back)
        self._finish(Result(outputs, given + there + way / 2, computed, back + way / 2))

    def _finish(self, found: Result | ServeError) -> None:
        done, self._done, self.busy_since = self._done, None, None
        if done is not None:
            done(found)

    def feel(self, now: float) -> float:
        """Feel its pulse; seconds since it last beat."""
        pulse = self._block.pulse()
        if pulse != self._pulse:
            self._pulse, self._felt = pulse, now
        return now - self._felt

    def fit(self, fit: bool) -> None:
        self._fit = fit

    def _lose(self) -> None:
        """It has ended: what it computed is lost, nothing else."""
        if self.gone:
            return
        self._leave()
        text = message("infer", "the process that computed this request died; nobody knows how far it came", hint="again")
        self._finish(ServeError(Status.UNAVAILABLE, text, 0.1))
        self._lost(self)

    def kill(self) -> None:
        """End it now; what it computes is lost."""
        with contextlib.suppress(OSError):
            if self._handle is not None:
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
            else:
                os.kill(self.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Let it go: it ends when it has noticed."""
        if not self.gone:
            self._leave()
            self._finish(ServeError(Status.UNAVAILABLE, message("infer", "the model was unloaded"), 1.0))

    def _leave(self) -> None:
        self.gone = True
        self._loop.remove_reader(self._end.fileno())
        self._end.close()
        self._block.close()
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
