"""The workers of one version: as many as there should be, looked after, replaced when they die."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from fanal.core.errors import DataError
from fanal.serve.interface import Description
from fanal.serve.workers import channel
from fanal.serve.workers.block import Block
from fanal.serve.workers.processes import Lost, Mother, Worker

log = logging.getLogger("fanal.serve")

LOOK_SECONDS = 0.2
UNFIT_SECONDS = 0.7  # without a pulse: not ready
HUNG_SECONDS = 10.0  # without a pulse: replaced
# Before a worker is replaced there is a pause, which doubles each time unless the last one lived long.
_LONG_LIFE, _FIRST_PAUSE, _LONGEST_PAUSE = 10.0, 0.25, 30.0


class Crew:
    """`workers` are those that are there: a list that a `Version` looks at. `restarts` counts.

    `reload` starts another mother, should ours have died (it raises where the file is not the same any more).
    """

    def __init__(
        self, mother: Mother, description: Description, count: int, execution_timeout: float,
        reload: Callable[[], Any], woken: Callable[[], None], restarted: Callable[[], None],
    ):  # fmt: skip
        self.workers: list[Worker] = []
        self.description = description
        self.wanted = count
        self._mother, self._timeout = mother, execution_timeout
        self._reload, self._woken, self._restarted = reload, woken, restarted
        self._pause = 0.0
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking = asyncio.create_task(self._look())
        self._adopt(mother)

    async def start(self) -> None:
        """Have all workers born."""
        for _ in range(self.wanted):
            await self._birth()

    @property
    def pids(self) -> list[int]:
        """Its processes: the workers, and the mother."""
        return [w.pid for w in self.workers] + ([] if self._mother.gone else [self._mother.pid])

    # -- births and deaths ---------------------------------------------------------------------------

    async def _birth(self) -> None:
        if self._mother.gone:
            self._adopt(await self._reload())
        ours, theirs = channel.pair()
        block = Block()
        try:
            pid = await self._mother.fork({"name": self._mother.name}, [theirs.fileno(), block.descriptor])
        except BaseException:
            ours.close()
            block.close()
            raise
        finally:
            theirs.close()
        worker = Worker(ours, block, self.description, pid, self._lost)
        if self._closed:
            await worker.close()
            return
        self.workers.append(worker)
        self._woken()

    def _adopt(self, mother: Mother) -> None:
        self._mother = mother
        mother.ended = self._said

    def _said(self, pid: int, status: int) -> None:
        if status != 0 and not self._closed:
            how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            log.error("a worker of %s (process %d) %s", self._mother.name, pid, how)

    def _lost(self, worker: Worker) -> None:
        with contextlib.suppress(ValueError):
            self.workers.remove(worker)
        if self._closed:
            return
        self._restarted()
        lived = time.monotonic() - worker.born
        self._pause = _FIRST_PAUSE if lived > _LONG_LIFE else self._longer()
        log.warning("a worker of %s (process %d) is gone; another one comes in %.1f s", self._mother.name, worker.pid, self._pause)
        self._run(self._replace(self._pause))

    async def _replace(self, pause: float) -> None:
        await asyncio.sleep(pause)
        while not self._closed and len(self.workers) < self.wanted:
            try:
                await self._birth()
            except (Lost, DataError, ValueError, OSError) as why:
                if isinstance(why, Lost):
                    self._mother.kill()
                self._pause = self._longer()
                log.error("no worker for %s: %s; again in %.1f s", self._mother.name, why, self._pause)
                await asyncio.sleep(self._pause)

    def _longer(self) -> float:
        return min(_LONGEST_PAUSE, max(_FIRST_PAUSE, 2 * self._pause))

    def _run(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- looking after them ---------------------------------------------------------------------------

    async def _look(self) -> None:
        before = time.monotonic()
        while not self._closed:
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            late = now - before > 2 * LOOK_SECONDS  # we did not run ourselves: nobody is to blame
            before = now
            for w in list(self.workers):
                silent = w.feel(now)
                if late:
                    continue
                w.fit(silent < UNFIT_SECONDS)
                if silent > HUNG_SECONDS:
                    log.error("a worker of %s (process %d) has not moved for %.0f s: it is replaced", self._mother.name, w.pid, silent)
                    w.kill()
                elif w.busy_since is not None and now - w.busy_since > self._timeout:
                    log.error("a batch of %s runs longer than %.0f s: its worker (process %d) is replaced", self._mother.name, self._timeout, w.pid)
                    w.kill()

    async def close(self) -> None:
        """Let all go."""
        self._closed = True
        self._looking.cancel()
        for task in list(self._tasks):
            task.cancel()
        for w in list(self.workers):
            await w.close()
        self.workers.clear()
        self._mother.close()
