"""DataLoader: batches of a dataset, in this process or from workers."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fanal.core.errors import message
from fanal.data.collate import default_collate, default_convert
from fanal.data.dataset import IterableDataset
from fanal.data.fetch import make_fetcher
from fanal.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    draw_seed,
)
from fanal.random.generator import Generator

_FIXED = (
    "batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers"
)  # fmt: skip


class _Endless(Sampler[None]):
    """The "indices" of a stream."""

    def __iter__(self) -> Iterator[None]:
        while True:
            yield None


def _refuse(what: str, got: Any = None, expected: str = "", hint: str = "") -> ValueError:
    return ValueError(message("DataLoader", what, got, expected, hint))


class DataLoader:
    """Batches of a dataset, as `torch.utils.data.DataLoader`.

    batch_size: samples a batch; None for single samples. shuffle, sampler, batch_sampler: which
    samples, in what order. collate_fn: makes a batch of a list of samples. num_workers: processes
    that load ahead (prefetch_factor batches each); 0 loads in this one. worker_init_fn(id) runs in
    each worker; persistent_workers keeps them from one iteration to the next; timeout: seconds to
    wait for a batch. in_order=False yields batches as they come. generator: the source of the order
    and of the workers' seeds. pin_memory is accepted; there is nothing to pin on a CPU.

    >>> loader = fanal.data.DataLoader(dataset, batch_size=32, shuffle=True)
    >>> for x, y in loader: ...
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ):
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        stream = isinstance(dataset, IterableDataset)
        if stream:
            _check_stream(shuffle, sampler, batch_sampler)
        batch_size, drop_last = _check_batches(
            batch_size, shuffle, sampler, batch_sampler, drop_last
        )
        if sampler is None:
            if stream:
                sampler = _Endless()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)
            else:
                sampler = SequentialSampler(dataset)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.dataset, self.num_workers = dataset, num_workers
        self.batch_size, self.drop_last = batch_size, drop_last
        self.sampler, self.batch_sampler, self.generator = sampler, batch_sampler, generator
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.pin_memory, self.pin_memory_device = pin_memory, pin_memory_device
        self.timeout, self.worker_init_fn, self.in_order = timeout, worker_init_fn, in_order
        self.collate_fn = collate_fn or (default_collate if self.batched else default_convert)
        self.persistent_workers = persistent_workers
        self.multiprocessing_context = multiprocessing_context
        self._iterator: Any = None
        _check_cpus(num_workers)
        self._initialized = True

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIXED and self.__dict__.get("_initialized"):
            raise _refuse(
                f"{name} attribute should not be set after DataLoader is initialized",
                hint="a new DataLoader",
            )
        super().__setattr__(name, value)

    @property
    def multiprocessing_context(self) -> Any:
        """The multiprocessing context that workers are started with; None for the default."""
        return self._context

    @multiprocessing_context.setter
    def multiprocessing_context(self, context: Any) -> None:
        if context is None:
            self._context = None
            return
        if not self.num_workers:
            raise _refuse(
                "multiprocessing_context can only be used with multi-process loading",
                f"num_workers={self.num_workers}", "num_workers > 0",
            )
        if isinstance(context, str):
            methods = multiprocessing.get_all_start_methods()
            if context not in methods:
                raise _refuse("no such start method", repr(context), " or ".join(methods))
            context = multiprocessing.get_context(context)
        if not isinstance(context, multiprocessing.context.BaseContext):
            raise TypeError(
                message(
                    "DataLoader", "multiprocessing_context should be a context or a start method",
                    repr(context),
                )
            )
        self._context = context

    @property
    def batched(self) -> bool:
        """Whether samples are grouped into batches."""
        return self.batch_sampler is not None

    @property
    def _index_sampler(self) -> Any:
        return self.batch_sampler if self.batched else self.sampler

    def __iter__(self) -> Iterator[Any]:
        if not self.num_workers:
            return LocalIterator(self)
        from fanal.data.workers import WorkerIterator

        if not self.persistent_workers:
            return WorkerIterator(self)
        if self._iterator is None or self._iterator.closed:
            self._iterator = WorkerIterator(self)
        else:
            self._iterator.restart(self)
        return self._iterator

    def __len__(self) -> int:
        """Number of batches (of samples, with batch_size None)."""
        if not isinstance(self.dataset, IterableDataset):
            return len(self._index_sampler)
        n = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is None:
            return n
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


class LocalIterator(Iterator[Any]):
    """Batches loaded in this process, when they are asked for."""

    def __init__(self, loader: DataLoader):
        self._length = loader.__len__
        self._indices = iter(loader._index_sampler)
        draw_seed(loader.generator)  # the generator moves on as it does with workers
        self._fetcher = make_fetcher(
            loader.dataset, loader.batched, loader.collate_fn, loader.drop_last
        )

    def __next__(self) -> Any:
        return self._fetcher.fetch(next(self._indices))

    def __len__(self) -> int:
        return self._length()


def _check_workers(
    num_workers: int, timeout: float, prefetch_factor: int | None, persistent: bool
) -> None:
    if num_workers < 0:
        raise _refuse("num_workers option should be non-negative", num_workers, hint="0")
    if timeout < 0:
        raise _refuse("timeout option should be non-negative", timeout)
    if num_workers == 0 and prefetch_factor is not None:
        raise _refuse(
            "prefetch_factor option could only be specified in multiprocessing", prefetch_factor,
            "None without workers", "num_workers > 0",
        )
    if prefetch_factor is not None and prefetch_factor < 1:
        raise _refuse("prefetch_factor option should be positive", prefetch_factor)
    if persistent and num_workers == 0:
        raise _refuse("persistent_workers option needs num_workers > 0")


def _check_stream(shuffle: Any, sampler: Any, batch_sampler: Any) -> None:
    if shuffle not in (False, None):
        raise _refuse(
            "DataLoader with IterableDataset: expected unspecified shuffle option", f"{shuffle=}",
            hint="shuffling in the dataset's __iter__",
        )
    for name, value in (("sampler", sampler), ("batch_sampler", batch_sampler)):
        if value is not None:
            raise _refuse(
                f"DataLoader with IterableDataset: expected unspecified {name} option",
                f"{name}={value!r}",
            )


def _check_batches(
    batch_size: int | None, shuffle: Any, sampler: Any, batch_sampler: Any, drop_last: bool
) -> tuple[int | None, bool]:
    if sampler is not None and shuffle:
        raise _refuse("sampler option is mutually exclusive with shuffle")
    if batch_sampler is not None:
        if batch_size != 1 or shuffle or sampler is not None or drop_last:
            raise _refuse(
                "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and "
                "drop_last",
            )
        return None, False
    if batch_size is None and drop_last:
        raise _refuse(
            "batch_size=None option disables auto-batching and is mutually exclusive with drop_last"
        )
    return batch_size, drop_last


def _check_cpus(num_workers: int) -> None:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if available and num_workers > available:
        warnings.warn(
            f"This DataLoader will create {num_workers} worker processes in total, more than the "
            f"{available} CPUs that this process may use: loading may be slow or freeze. Try: a "
            "smaller num_workers.",
            stacklevel=3,
        )
