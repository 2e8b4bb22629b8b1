"""Fetching one batch from a dataset: what the loader does itself, and what its workers do."""

from __future__ import annotations

from typing import Any

from fanal.core import dtypes
from fanal.data.collate import default_collate
from fanal.data.dataset import IterableDataset, Subset, TensorDataset
from fanal.tensor.creation import as_tensor
from fanal.tensor.tensor import Tensor


class MapFetcher:
    """Samples by index. `batched`: an index is a list of indices, its samples are collated."""

    def __init__(self, dataset: Any, batched: bool, collate_fn: Any, drop_last: bool):
        self.dataset, self.batched, self.collate_fn = dataset, batched, collate_fn
        self.tensors = tensors_of(dataset) if batched and collate_fn is default_collate else None

    def fetch(self, index: Any) -> Any:
        """The batch (or sample) at an index."""
        if self.tensors is not None:
            return gathered(self.dataset, self.tensors, index)
        if not self.batched:
            return self.collate_fn(self.dataset[index])
        several = getattr(self.dataset, "__getitems__", None)
        samples = several(index) if several else [self.dataset[i] for i in index]
        return self.collate_fn(samples)


class IterableFetcher:
    """Samples as a stream gives them; raises StopIteration at its end."""

    def __init__(self, dataset: Any, batched: bool, collate_fn: Any, drop_last: bool):
        self.batched, self.collate_fn, self.drop_last = batched, collate_fn, drop_last
        self.stream = iter(dataset)
        self.ended = False

    def fetch(self, index: Any) -> Any:
        """The next batch (or sample); `index` only says how many samples."""
        if self.ended:
            raise StopIteration
        if not self.batched:
            return self.collate_fn(next(self.stream))
        samples = []
        for _ in index:
            try:
                samples.append(next(self.stream))
            except StopIteration:
                self.ended = True
                break
        if not samples or (self.drop_last and len(samples) < len(index)):
            raise StopIteration
        return self.collate_fn(samples)


def make_fetcher(dataset: Any, batched: bool, collate_fn: Any, drop_last: bool) -> Any:
    """The fetcher for a dataset's kind."""
    kind = IterableFetcher if isinstance(dataset, IterableDataset) else MapFetcher
    return kind(dataset, batched, collate_fn, drop_last)


def tensors_of(dataset: Any) -> tuple[Tensor, ...] | None:
    """The tensors of a (subset of a) TensorDataset, if a batch can be gathered from them at once."""
    while type(dataset) is Subset:
        dataset = dataset.dataset
    if type(dataset) is not TensorDataset:
        return None
    return dataset.tensors


def gathered(dataset: Any, tensors: tuple[Tensor, ...], indices: Any) -> Any:
    """What collating the samples one by one would give, by one indexing of each tensor."""
    while type(dataset) is Subset:
        indices = [dataset.indices[i] for i in indices]
        dataset = dataset.dataset
    index = as_tensor(indices, dtypes.int64)
    if index.ndim != 1 or index.numel() == 0:
        return default_collate([dataset[i] for i in indices])
    return [t[index] for t in tensors]
