"""A loader's iterator over batches that worker processes load ahead.

Requests (lists of indices) go to the workers in turn, at most prefetch_factor · num_workers ahead of
what was taken; results are given out in the order of requests. There are no threads here: the parent
looks at the sockets when it is asked for a batch, and at the processes' sentinels, so that a worker
that dies is an error at once rather than a wait for ever.

Workers are forked by default on Linux, which costs no start-up and copies no dataset: our threads
are not in the child, and the runtime starts anew there. Another start method (for programs whose
other threads hold locks) is a matter of `multiprocessing_context="forkserver"`, or of
`multiprocessing.set_start_method`.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import multiprocessing
import os
import signal
import sys
import time
import warnings
import weakref
from collections.abc import Iterator
from multiprocessing import reduction
from multiprocessing.connection import wait
from typing import Any

from fanal.core.errors import message
from fanal.data.sampler import draw_seed
from fanal.data.shared import Batch, Inbox
from fanal.data.worker import Ended, Failure, Order, main

GRACE_SECONDS = 5.0  # how long workers may take to end what they are at
_live: weakref.WeakSet[WorkerIterator] = weakref.WeakSet()


def _context(given: Any) -> Any:
    if given is not None:
        return given
    chosen = multiprocessing.get_start_method(allow_none=True)
    default = "fork" if sys.platform.startswith("linux") else None
    return multiprocessing.get_context(chosen or default)


class _Link:
    """The parent's end of one worker: process, socket, segments."""

    def __init__(self, context: Any, order: Order):
        self.number = order.worker_id
        self.connection, theirs = context.Pipe(duplex=True)
        forked = context.get_start_method() == "fork"
        inherited = [c for it in _live for c in it.connections()] if forked else []
        self.process = context.Process(
            target=main,
            args=(theirs, order, [*inherited, self.connection] if forked else []),
            daemon=True,
            name=f"fanal-loader-{order.worker_id}",
        )
        try:
            with warnings.catch_warnings():
                # Python warns of forks while other threads run; see above.
                warnings.simplefilter("ignore", DeprecationWarning)
                self.process.start()
        finally:
            theirs.close()
        self.inbox = Inbox()
        self.alive = True  # for a stream: not at its end

    def request(self, epoch: int, task: int | None, index: Any) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # noticed when reading
            self.connection.send((self.inbox.take_released(), epoch, task, index))

    def receive(self) -> tuple[int, int | None, Batch | None]:
        epoch, task, dropped, batch = self.connection.recv()
        if batch is not None and batch.capacity:
            self.inbox.add(batch, reduction.recv_handle(self.connection))
        self.inbox.drop(dropped)
        return epoch, task, batch


class WorkerIterator(Iterator[Any]):
    """Batches from worker processes; see the module. `close()` (or forgetting it) ends them."""

    def __init__(self, loader: Any):
        self._pid = os.getpid()
        self.closed = False
        self._epoch = 0
        self._links: list[_Link] = []
        self._persistent = loader.persistent_workers
        _live.add(self)
        self._begin(loader)
        base_seed = draw_seed(loader.generator)
        context = _context(loader.multiprocessing_context)
        try:
            for number in range(loader.num_workers):
                order = Order(
                    loader.dataset, loader.batched, loader.collate_fn, loader.drop_last, number,
                    loader.num_workers, base_seed, loader.worker_init_fn, self._ahead,
                    loader.prefetch_factor + 2,
                )  # fmt: skip
                self._links.append(_Link(context, order))
        except BaseException:
            self.close()
            raise
        self._fill()

    def _begin(self, loader: Any) -> None:
        self._timeout, self._in_order = loader.timeout or None, loader.in_order
        self._ahead = loader.prefetch_factor * loader.num_workers
        self._length = loader.__len__
        self._indices = iter(loader._index_sampler)
        self._turns = itertools.cycle(range(loader.num_workers))
        self._sent = self._taken = self._outstanding = 0
        self._tasks: dict[int, _Link] = {}
        self._ready: dict[int, Any] = {}

    def connections(self) -> list[Any]:
        """The parent's ends of the sockets."""
        return [link.connection for link in self._links]

    def restart(self, loader: Any) -> None:
        """Begin anew with the same workers; what is still on its way is dropped."""
        self._epoch += 1
        for batch, link in self._ready.values():
            link.inbox.skip(batch)
        self._begin(loader)
        for link in self._links:
            link.alive = True
            link.request(self._epoch, None, None)
        self._fill()

    def _fill(self) -> None:
        for _ in range(self._ahead):
            self._ask()

    def _ask(self) -> None:
        """Send the next request to the next worker that has not ended."""
        for _ in self._links:
            link = self._links[next(self._turns)]
            if link.alive:
                break
        else:
            return
        try:
            index = next(self._indices)
        except StopIteration:
            return
        self._tasks[self._sent] = link
        link.request(self._epoch, self._sent, index)
        self._sent += 1
        self._outstanding += 1

    def __iter__(self) -> WorkerIterator:
        return self

    def __len__(self) -> int:
        return self._length()

    def __next__(self) -> Any:
        if self.closed:
            raise StopIteration
        try:
            found = self._take()
        except TimeoutError as error:
            raise RuntimeError(*error.args) from None  # the batch may still come
        except StopIteration:
            if not self._persistent:
                self.close()
            raise
        except BaseException:
            self.close()
            raise
        if isinstance(found, Failure):
            found.raise_again()
        return found

    def _take(self) -> Any:
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        while True:
            number = self._next_ready()
            if number is not None:
                batch, link = self._ready.pop(number)
                del self._tasks[number]
                if self._in_order:
                    self._taken += 1
                found = link.inbox.open(batch)
                if isinstance(found, Ended):
                    link.alive = False
                    self._ask()
                    continue
                self._ask()
                return found
            if not self._outstanding:
                raise StopIteration
            self._receive(deadline)

    def _next_ready(self) -> int | None:
        if self._in_order:
            return self._taken if self._taken in self._ready else None
        return next(iter(self._ready), None)

    def _receive(self, deadline: float | None) -> None:
        """Wait for results; raise if there are none in time, or a worker has died."""
        links: dict[Any, _Link] = {}
        for link in self._links:
            links[link.connection] = links[link.process.sentinel] = link
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        found = wait(list(links), left)
        if not found:
            raise TimeoutError(
                message(
                    "DataLoader", f"DataLoader timed out after {self._timeout} seconds",
                    hint="a larger timeout, or more workers",
                )
            )
        sockets = [x for x in found if not isinstance(x, int)]
        if not sockets:
            self._raise_dead(links[found[0]])
        for socket in sockets:
            link = links[socket]
            try:
                epoch, task, batch = link.receive()
            except (EOFError, ConnectionResetError):
                self._raise_dead(link)
            if batch is None or task is None:
                continue
            if epoch != self._epoch:
                link.inbox.skip(batch)
                continue
            self._outstanding -= 1
            self._ready[task] = (batch, link)

    def _raise_dead(self, link: _Link) -> None:
        link.process.join(1.0)
        code = link.process.exitcode
        how = f"exit code {code}"
        hint = "num_workers=0 to see the error in this process"
        if code is not None and code < 0:
            how = f"killed by signal: {signal.Signals(-code).name}"
            if -code == signal.SIGKILL:
                hint = "fewer workers or smaller batches, if memory ran out"
        raise RuntimeError(
            message(
                "DataLoader",
                f"DataLoader worker {link.number} (pid {link.process.pid}) exited unexpectedly",
                how, "batches", hint,
            )
        )

    def close(self) -> None:
        """End the workers: they may finish what they are at, then they are made to."""
        if self.closed or self._pid != os.getpid():
            return
        self.closed = True
        self._ready.clear()
        processes = [link.process for link in self._links]
        for link in self._links:
            with contextlib.suppress(OSError, ValueError):
                link.connection.send(None)
            link.connection.close()
        deadline = time.monotonic() + GRACE_SECONDS
        for end in (None, "terminate", "kill"):
            for process in processes:
                if end is not None and process.is_alive():
                    getattr(process, end)()
            for process in processes:
                process.join(max(0.0, deadline - time.monotonic()))
            deadline = time.monotonic() + 1.0
        for process in processes:
            with contextlib.suppress(ValueError):
                process.close()

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self.close()


@atexit.register
def _close_all() -> None:
    for iterator in list(_live):
        iterator.close()
