"""What runs in a loader's worker process."""

from __future__ import annotations

import collections
import multiprocessing
import os
import pickle
import random
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.connection import wait
from typing import Any

import numpy as np

from fanal.backends.native.executable import runtime
from fanal.data import collate
from fanal.data.dataset import IterableDataset
from fanal.data.fetch import make_fetcher
from fanal.data.shared import Batch, Outbox
from fanal.random.generator import manual_seed


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """Which worker this is; `dataset` is its own copy."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a worker process: its number, how many there are, its seed and dataset. Elsewhere None."""
    return _info


@dataclass(slots=True)
class Order:
    """What a worker is started with."""

    dataset: Any
    batched: bool
    collate_fn: Any
    drop_last: bool
    worker_id: int
    num_workers: int
    base_seed: int
    init: Callable[[int], None] | None
    ahead: int  # batches that may be on their way, from all workers
    keep: int  # segments that wait to be filled again


@dataclass(slots=True)
class Failure:
    """An exception on its way to the parent: its class if that can be pickled, name and traceback."""

    kind: type[BaseException] | None
    name: str
    where: str
    text: str

    def raise_again(self) -> None:
        """Raise the same class, with the worker's traceback in its message."""
        text = f"Caught {self.name} {self.where}.\nOriginal {self.text}"
        if self.kind is not None and issubclass(self.kind, KeyError):
            raise self.kind(_Multiline(text))
        try:
            error = self.kind(text) if self.kind is not None else RuntimeError(text)
        except Exception:  # a class that wants other arguments
            error = RuntimeError(text)
        raise error


class _Multiline(str):
    """KeyError shows the repr of its message: this one's is the text itself."""

    def __repr__(self) -> str:
        return str(self)


def failure(worker_id: int, error: BaseException) -> Failure:
    """An exception as something that can be sent."""
    kind: type[BaseException] | None = type(error)
    try:
        pickle.loads(pickle.dumps(kind))
    except Exception:
        kind = None
    text = "".join(traceback.format_exception(error))
    where = f"in DataLoader worker process {worker_id}"
    return Failure(kind, type(error).__name__, where, text)


class Ended:
    """A stream has no more batches."""


def main(connection: Any, order: Order, inherited: list[Any]) -> None:
    """Serve the parent's requests until it says None, or is gone."""
    for other in inherited:  # the parent's ends of sockets, which a fork has copied
        other.close()
    # Ctrl-C is the parent's business; a handler, unlike SIG_IGN, is not passed on to programs that
    # the dataset starts.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    global _info
    seed = order.base_seed + order.worker_id
    _seed(order.base_seed, order.worker_id)
    runtime.set_num_threads(1)
    _info = WorkerInfo(order.worker_id, order.num_workers, seed, order.dataset)
    try:
        _Worker(connection, order).run()
    except (BrokenPipeError, ConnectionResetError, EOFError):
        pass  # the parent is gone, or has no more use for this worker


def _seed(base: int, worker_id: int) -> None:
    random.seed(base + worker_id)
    manual_seed(base + worker_id)
    words = np.random.SeedSequence([base & 0xFFFFFFFF, base >> 32, worker_id]).generate_state(4)
    np.random.seed(words)


class _Worker:
    def __init__(self, connection: Any, order: Order):
        self.connection, self.order = connection, order
        self.outbox = Outbox(order.ahead)
        collate.allocate_batch = self.outbox.allocate
        self.requests: collections.deque[Any] = collections.deque()
        self.fetcher: Any = None
        self.ended = False
        self.broken: Failure | None = None
        parent = multiprocessing.parent_process()
        self.parent = [] if parent is None else [parent.sentinel]

    def run(self) -> None:
        self.broken = self._attempt(self._start)
        while (request := self._next()) is not None:
            released, epoch, task, index = request
            dropped = self.outbox.give_back(released, self.order.keep)
            if task is None:
                self.ended = False
                self.broken = self._attempt(self._refetch)
                self._send((epoch, None, dropped), None, None)
                continue
            self._serve(epoch, task, index, dropped)

    def _next(self) -> Any:
        """The next request; requests of an epoch that is over are not served."""
        while not self.requests or self.connection.poll(0):
            if self.connection not in wait([self.connection, *self.parent]):
                return None  # the parent has died
            request = self.connection.recv()
            if request is None:
                return None
            if request[2] is None:
                self._forget_earlier(request)
            self.requests.append(request)
        return self.requests.popleft()

    def _forget_earlier(self, request: Any) -> None:
        for released, *_ in self.requests:
            request[0].extend(released)
        self.requests.clear()

    def _start(self) -> None:
        if self.order.init is not None:
            self.order.init(self.order.worker_id)
        self._refetch()

    def _refetch(self) -> None:
        o = self.order
        self.fetcher = make_fetcher(o.dataset, o.batched, o.collate_fn, o.drop_last)

    def _attempt(self, action: Callable[[], None]) -> Failure | None:
        try:
            action()
        except Exception as error:
            return failure(self.order.worker_id, error)
        return None

    def _serve(self, epoch: int, task: int, index: Any, dropped: list[int]) -> None:
        found: Any
        if self.broken is not None:
            found, self.broken = self.broken, None
        else:
            found = self._fetch(index)
        try:
            batch, descriptor = self.outbox.put(found)
        except Exception as error:  # a batch that can't be pickled
            batch, descriptor = self.outbox.put(failure(self.order.worker_id, error))
        del found
        self._send((epoch, task, dropped), batch, descriptor)

    def _fetch(self, index: Any) -> Any:
        if self.ended:
            return Ended()
        try:
            self.outbox.begin()
            return self.fetcher.fetch(index)
        except StopIteration as error:
            if not isinstance(self.order.dataset, IterableDataset):
                return failure(self.order.worker_id, error)
            self.ended = True
            return Ended()
        except Exception as error:
            return failure(self.order.worker_id, error)

    def _send(self, head: tuple[Any, ...], batch: Batch | None, descriptor: int | None) -> None:
        try:
            self.connection.send((*head, batch))
            if descriptor is not None:
                reduction.send_handle(self.connection, descriptor, None)
        finally:
            if descriptor is not None:
                os.close(descriptor)
