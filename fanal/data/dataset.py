"""Datasets: anything with `__getitem__` and `__len__`, or a stream with `__iter__`.

The classes here combine them: tensors, stacks, concatenations, subsets, random splits.
"""

from __future__ import annotations

import bisect
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from fanal.core.errors import message
from fanal.random.generator import Generator, default_generator
from fanal.random.sampling import randperm
from fanal.tensor.tensor import Tensor

T = TypeVar("T", covariant=True)


class Dataset(Generic[T]):
    """A map from indices to samples, as `torch.utils.data.Dataset`.

    Subclasses define `__getitem__(index)` and `__len__()`; `__getitems__(indices)`, which returns a
    list of samples, is used where it exists.
    """

    def __getitem__(self, index: Any) -> T:
        raise NotImplementedError(
            message(type(self).__name__, "Subclasses of Dataset should implement __getitem__")
        )

    def __add__(self, other: Dataset[Any]) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T]):
    """A stream of samples, as `torch.utils.data.IterableDataset`: subclasses define `__iter__`.

    With workers each has a copy: use `get_worker_info()` in `__iter__` to share the stream out.
    """

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError(
            message(type(self).__name__, "Subclasses of IterableDataset should implement __iter__")
        )

    def __add__(self, other: Dataset[Any]) -> Any:
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Samples (x[i], y[i], …) of tensors with the same first dimension.

    >>> dataset = fanal.data.TensorDataset(fanal.rand(100, 3), fanal.arange(100))
    """

    def __init__(self, *tensors: Tensor):
        if not tensors:
            raise ValueError(message("TensorDataset", "no tensors", expected="at least one"))
        if any(t.ndim == 0 or t.shape[0] != tensors[0].shape[0] for t in tensors):
            raise AssertionError(
                message(
                    "TensorDataset", "Size mismatch between tensors",
                    ", ".join(str(tuple(t.shape)) for t in tensors), "equal first dimensions",
                )
            )
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        return int(self.tensors[0].shape[0])


class StackDataset(Dataset[Any]):
    """Samples of several datasets side by side: a tuple of them, or a dict of those named.

    >>> fanal.data.StackDataset(image=images, text=texts)[0]   # {"image": …, "text": …}
    """

    def __init__(self, *args: Any, **kwargs: Any):
        if bool(args) == bool(kwargs):
            raise ValueError(
                message(
                    "StackDataset", "datasets are given by position or by name",
                    "both" if args else "none", "one of the two",
                )
            )
        self.datasets: Any = args or kwargs
        lengths = [len(d) for d in (args or kwargs.values())]
        if len(set(lengths)) > 1:
            raise ValueError(message("StackDataset", "Size mismatch between datasets", lengths))
        self._length = lengths[0]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: d[index] for name, d in self.datasets.items()}
        return tuple(d[index] for d in self.datasets)

    def __getitems__(self, indices: list[Any]) -> list[Any]:
        """Samples at several indices, with the datasets' own `__getitems__`."""
        named = isinstance(self.datasets, dict)
        parts = self.datasets.values() if named else self.datasets
        columns = [items_of(d, indices) for d in parts]
        if any(len(c) != len(indices) for c in columns):
            raise ValueError(
                message(
                    "StackDataset", "Nested dataset's output size mismatch",
                    [len(c) for c in columns], str(len(indices)),
                )
            )
        rows = zip(*columns, strict=True)
        return [dict(zip(self.datasets, r, strict=True)) if named else tuple(r) for r in rows]

    def __len__(self) -> int:
        return self._length


def items_of(dataset: Any, indices: Sequence[Any]) -> list[Any]:
    """Samples at several indices, all at once where the dataset can."""
    if callable(getattr(dataset, "__getitems__", None)):
        return list(dataset.__getitems__(list(indices)))
    return [dataset[i] for i in indices]


class ConcatDataset(Dataset[Any]):
    """Datasets one after another."""

    def __init__(self, datasets: Iterable[Any]):
        self.datasets = list(datasets)
        if not self.datasets:
            raise AssertionError(
                message("ConcatDataset", "datasets should not be an empty iterable")
            )
        if any(isinstance(d, IterableDataset) for d in self.datasets):
            raise AssertionError(
                message(
                    "ConcatDataset", "ConcatDataset does not support IterableDataset",
                    hint="ChainDataset",
                )
            )
        self.cumulative_sizes = list(itertools.accumulate(len(d) for d in self.datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> Any:
        at = index + len(self) if index < 0 else index
        if not 0 <= at:
            raise ValueError(
                message(
                    "ConcatDataset", "absolute value of index should not exceed dataset length",
                    index, f"-{len(self)} or more",
                )
            )
        number = bisect.bisect_right(self.cumulative_sizes, at)
        if number == len(self.datasets):
            raise IndexError(
                message("ConcatDataset", "index out of range", index, f"below {len(self)}")
            )
        before = self.cumulative_sizes[number - 1] if number else 0
        return self.datasets[number][at - before]


class ChainDataset(IterableDataset[Any]):
    """Streams one after another."""

    def __init__(self, datasets: Iterable[Any]):
        self.datasets = datasets

    def _checked(self) -> Iterator[Any]:
        for d in self.datasets:
            if not isinstance(d, IterableDataset):
                raise AssertionError(
                    message(
                        "ChainDataset", "ChainDataset only supports IterableDataset",
                        type(d).__name__, hint="ConcatDataset",
                    )
                )
            yield d

    def __iter__(self) -> Iterator[Any]:
        for d in self._checked():
            yield from d

    def __len__(self) -> int:
        return sum(len(d) for d in self._checked())


class Subset(Dataset[T]):
    """The samples of a dataset at given indices."""

    def __init__(self, dataset: Any, indices: Sequence[int]):
        self.dataset, self.indices = dataset, indices
        kind = type(self)
        if (
            kind.__getitem__ is not Subset.__getitem__
            and kind.__getitems__ is Subset.__getitems__
        ):
            raise NotImplementedError(
                message(
                    kind.__name__, "overrides __getitem__ but not __getitems__, which a DataLoader "
                    "would call", hint="__getitems__ returning [self[i] for i in indices]",
                )
            )

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """Samples at several indices, all at once where the dataset can."""
        return items_of(self.dataset, [self.indices[i] for i in indices])

    def __len__(self) -> int:
        return len(self.indices)


def random_split(
    dataset: Any, lengths: Sequence[int | float], generator: Generator | None = default_generator
) -> list[Subset[Any]]:
    """Disjoint random subsets of given lengths, or of fractions that sum to 1.

    A fraction f of n samples is ⌊f·n⌋ of them; what is left over goes one each to the first splits.

    >>> train, test = fanal.data.random_split(dataset, [0.8, 0.2])
    """
    total = len(dataset)
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        for i, f in enumerate(lengths):
            if not 0 <= f <= 1:
                what = f"Fraction at index {i} is not between 0 and 1"
                raise ValueError(message("random_split", what, f))
        sizes = [math.floor(total * f) for f in lengths]
        for i in range(total - sum(sizes)):
            sizes[i % len(sizes)] += 1
        for i, n in enumerate(sizes):
            if n == 0:
                warnings.warn(
                    f"Length of split at index {i} is 0. This might result in an empty dataset.",
                    stacklevel=2,
                )
    else:
        sizes = list(lengths)  # type: ignore[arg-type]
    if sum(sizes) != total:
        raise ValueError(
            message(
                "random_split",
                "Sum of input lengths does not equal the length of the input dataset",
                f"{list(lengths)}, sum {sum(lengths)}", f"a sum of {total} (or 1 for fractions)",
            )
        )
    order = randperm(total, generator=generator).tolist()
    ends = itertools.accumulate(sizes)
    return [Subset(dataset, order[end - n : end]) for end, n in zip(ends, sizes, strict=True)]
