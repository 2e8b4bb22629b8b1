"""Samplers: in which order a loader takes the samples, and how it groups them into batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from fanal.core import dtypes
from fanal.core.errors import message
from fanal.random.generator import Generator, default_generator
from fanal.random.sampling import multinomial, randint, randperm
from fanal.tensor.creation import as_tensor
from fanal.tensor.tensor import Tensor

T = TypeVar("T", covariant=True)
_MASK = 2**64 - 1


def draw_seed(generator: Generator | None) -> int:
    """A seed (63 bits) drawn from a generator, which moves on by one draw."""
    seed, stream = (generator or default_generator).draw().tolist()
    # The finaliser of SplitMix64 (Steele, Lea and Flood, 2014) over both words.
    z = (seed * 0x9E3779B97F4A7C15 + stream * 0xD1B54A32D192ED03 + 1) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return (z ^ (z >> 31)) >> 1


def check_positive(name: str, what: str, value: Any) -> None:
    """ValueError unless it is a positive integer."""
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError(message(name, f"{what} should be a positive integer value", repr(value)))


class Sampler(Generic[T]):
    """Base of samplers: `__iter__` gives indices (or lists of them), `__len__` how many."""

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError(
            message(type(self).__name__, "Subclasses of Sampler should implement __iter__")
        )


class SequentialSampler(Sampler[int]):
    """0, 1, …, n - 1."""

    def __init__(self, data_source: Any):
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """Indices in random order, each once; or `num_samples` of them, with replacement or not.

    Without replacement, more samples than there are go through the set again and again. Without a
    generator the order is drawn anew, from the default generator, each time the set is gone through.
    """

    def __init__(
        self, data_source: Any, replacement: bool = False, num_samples: int | None = None,
        generator: Generator | None = None,
    ):  # fmt: skip
        self.data_source, self.replacement = data_source, replacement
        self._num_samples, self.generator = num_samples, generator
        if not isinstance(replacement, bool):
            raise TypeError(
                message("RandomSampler", "replacement should be a boolean value", replacement)
            )
        check_positive("RandomSampler", "num_samples", self.num_samples)

    @property
    def num_samples(self) -> int:
        """How many indices are drawn; the set's length, as it is now, if not given."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        n, wanted = len(self.data_source), self.num_samples
        generator = self.generator or Generator().manual_seed(draw_seed(None))
        if self.replacement:
            for start in range(0, wanted, 4096):
                size = (min(4096, wanted - start),)
                yield from randint(n, size, generator=generator).tolist()
            return
        while wanted > 0:
            yield from randperm(n, generator=generator).tolist()[:wanted]
            wanted -= n

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """Given indices in random order, each once."""

    def __init__(self, indices: Sequence[int], generator: Generator | None = None):
        self.indices, self.generator = indices, generator

    def __iter__(self) -> Iterator[int]:
        for i in randperm(len(self.indices), generator=self.generator).tolist():
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Indices drawn in proportion to weights (which need not sum to 1)."""

    def __init__(
        self, weights: Any, num_samples: int, replacement: bool = True,
        generator: Generator | None = None,
    ):  # fmt: skip
        check_positive("WeightedRandomSampler", "num_samples", num_samples)
        if not isinstance(replacement, bool):
            raise ValueError(
                message("WeightedRandomSampler", "replacement should be a boolean value", replacement)
            )
        given: Tensor = as_tensor(weights, dtype=dtypes.float64)
        if given.ndim != 1:
            raise ValueError(
                message(
                    "WeightedRandomSampler", "weights should be a 1d sequence", tuple(given.shape)
                )
            )
        self.weights, self.num_samples = given, num_samples
        self.replacement, self.generator = replacement, generator

    def __iter__(self) -> Iterator[int]:
        drawn = multinomial(
            self.weights, self.num_samples, self.replacement, generator=self.generator
        )
        yield from drawn.tolist()

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Groups another sampler's indices into lists of `batch_size`; the last may be shorter."""

    def __init__(self, sampler: Iterable[Any], batch_size: int, drop_last: bool):
        check_positive("BatchSampler", "batch_size", batch_size)
        if not isinstance(drop_last, bool):
            raise ValueError(
                message("BatchSampler", "drop_last should be a boolean value", repr(drop_last))
            )
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(itertools.islice(indices, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __len__(self) -> int:
        n = len(self.sampler)  # type: ignore[arg-type]
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


class DistributedSampler(Sampler[int]):
    """The part of a set for one of several processes: rank r takes indices r, r + n, r + 2n, ….

    All processes shuffle alike, by `seed + epoch` (see `set_epoch`). The indices are repeated (or
    with drop_last cut) so that all parts are of one length. `num_replicas` and `rank` must be given.
    """

    def __init__(
        self, dataset: Any, num_replicas: int | None = None, rank: int | None = None,
        shuffle: bool = True, seed: int = 0, drop_last: bool = False,
    ):  # fmt: skip
        if num_replicas is None or rank is None:
            raise RuntimeError(
                message(
                    "DistributedSampler", "there is no process group to ask",
                    f"{num_replicas=}, {rank=}", "both", "num_replicas=…, rank=…",
                )
            )
        if not 0 <= rank < num_replicas:
            raise ValueError(
                message(
                    "DistributedSampler", "Invalid rank", rank, f"0 or more, below {num_replicas}"
                )
            )
        self.dataset, self.num_replicas, self.rank = dataset, num_replicas, rank
        self.shuffle, self.seed, self.drop_last, self.epoch = shuffle, seed, drop_last, 0
        n = len(dataset)
        self.num_samples = n // num_replicas if drop_last else -(-n // num_replicas)
        self.total_size = self.num_samples * num_replicas

    def __iter__(self) -> Iterator[int]:
        n = len(self.dataset)
        order = list(range(n))
        if self.shuffle:
            generator = Generator().manual_seed(self.seed + self.epoch)
            order = randperm(n, generator=generator).tolist()
        repeated = itertools.islice(itertools.cycle(order), self.total_size)
        return itertools.islice(repeated, self.rank, None, self.num_replicas)

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch; call it in all processes before each one."""
        self.epoch = epoch
