"""DataLoader in this process, and its checks."""

from __future__ import annotations

import collections
import warnings
from typing import Any

import numpy as np
import pytest

import fanal
from fanal.data import loader as loader_module
from fanal.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset
from tests.data.test_datasets import Count, Squares


def lists(loader: Any) -> list[Any]:
    return [x.tolist() if isinstance(x, fanal.Tensor) else x for x in loader]


def test_batches() -> None:
    loader = DataLoader(Squares(5), batch_size=2)
    assert lists(loader) == lists(loader) == [[0, 1], [4, 9], [16]] and len(loader) == 3
    assert lists(DataLoader(Squares(5), batch_size=2, drop_last=True)) == [[0, 1], [4, 9]]
    assert lists(DataLoader(Squares(2), batch_size=10)) == [[0, 1]]
    assert lists(DataLoader(Squares(2), batch_size=10, drop_last=True)) == []
    assert lists(DataLoader(Squares(3), batch_size=None)) == [0, 1, 4]
    assert lists(DataLoader(Squares(4), batch_sampler=[[3, 1], [0]])) == [[9, 1], [0]]
    assert lists(DataLoader(Squares(4), sampler=[2, 2, 0], batch_size=2)) == [[4, 4], [0]]
    assert lists(DataLoader([], batch_size=2)) == []
    assert len(iter(loader)) == 3


def test_shuffling_follows_the_generator() -> None:
    def order(seed: int) -> Any:
        g = fanal.Generator().manual_seed(seed)
        loader = DataLoader(Squares(20), batch_size=20, shuffle=True, generator=g)
        return [lists(loader), lists(loader)]

    assert order(1) == order(1) != order(2)
    first, second = order(1)
    assert first != second and sorted(first[0]) == [i * i for i in range(20)]


def test_streams() -> None:
    assert lists(DataLoader(Count(5), batch_size=2)) == [[0, 1], [2, 3], [4]]
    assert lists(DataLoader(Count(5), batch_size=2, drop_last=True)) == [[0, 1], [2, 3]]
    assert lists(DataLoader(Count(3), batch_size=None)) == [0, 1, 2]
    assert lists(DataLoader(Count(0), batch_size=3)) == []
    with pytest.raises(TypeError):
        len(DataLoader(Count(5)))

    class Sized(Count):
        def __len__(self) -> int:
            return self.n

    assert len(DataLoader(Sized(5), batch_size=2)) == 3
    assert len(DataLoader(Sized(5), batch_size=2, drop_last=True)) == 2


def test_gathering_gives_what_collating_gives(monkeypatch: Any) -> None:
    rng = np.random.default_rng(0)
    x = fanal.tensor(rng.standard_normal((23, 3, 2)).astype(np.float32))
    tensors = x, fanal.arange(23), fanal.arange(23).to(fanal.bfloat16), x[:, 0].t().t()
    whole = TensorDataset(*tensors)
    for dataset in (whole, Subset(Subset(whole, list(range(20))), [5, 4, 19, 0, 0, 7, -1])):
        fast = list(DataLoader(dataset, batch_size=4))
        slow = list(DataLoader(dataset, batch_size=4, collate_fn=lambda b: collate(b)))
        assert type(fast[0]) is type(slow[0])
        for a, b in zip(fast, slow, strict=True):
            for s, t in zip(a, b, strict=True):
                assert s.dtype is t.dtype and s.shape == t.shape and s.tolist() == t.tolist()
                assert s._storage is not whole.tensors[0]._storage


def collate(batch: Any) -> Any:
    from fanal.data import default_collate

    return default_collate(batch)


def test_gathered_batches_carry_gradients() -> None:
    x = fanal.ones(6, 2, requires_grad=True)
    (batch,) = next(iter(DataLoader(TensorDataset(x), batch_sampler=[[0, 0, 5]])))
    batch.sum().backward()
    assert x.grad[:, 0].tolist() == [2, 0, 0, 0, 0, 1]


def test_index_out_of_range() -> None:
    for dataset in (TensorDataset(fanal.ones(3)), Subset(TensorDataset(fanal.ones(3)), [7])):
        with pytest.raises(IndexError):
            list(DataLoader(dataset, batch_sampler=[[0, 7]]))


def test_getitems_is_used() -> None:
    class Many(Dataset):
        def __len__(self) -> int:
            return 4

        def __getitems__(self, indices: list[int]) -> list[int]:
            return [-i for i in indices]

    assert lists(DataLoader(Many(), batch_size=2)) == [[0, -1], [-2, -3]]


def test_collate_fn_and_convert() -> None:
    assert list(DataLoader(Squares(3), batch_size=2, collate_fn=sum)) == [1, 4]
    loader = DataLoader([np.ones(2), "text"], batch_size=None)
    found = list(loader)
    assert isinstance(found[0], fanal.Tensor) and found[1] == "text"


def test_named_tuples_stay() -> None:
    Point = collections.namedtuple("Point", "x y")
    (batch,) = DataLoader([Point(1, 2.0), Point(3, 4.0)], batch_size=2)
    assert batch.x.tolist() == [1, 3] and batch.y.dtype is fanal.float64


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"num_workers": -1}, "num_workers option should be non-negative"),
        ({"timeout": -1}, "timeout option should be non-negative"),
        ({"prefetch_factor": 2}, "could only be specified in multiprocessing"),
        ({"num_workers": 1, "prefetch_factor": 0}, "prefetch_factor option should be positive"),
        ({"persistent_workers": True}, "needs num_workers > 0"),
        ({"sampler": [0], "shuffle": True}, "mutually exclusive with shuffle"),
        ({"batch_sampler": [[0]], "batch_size": 2}, "mutually exclusive with batch_size"),
        ({"batch_size": None, "drop_last": True}, "mutually exclusive with drop_last"),
        ({"batch_size": 0}, "batch_size should be a positive integer"),
        ({"multiprocessing_context": "fork"}, "only be used with multi-process"),
        ({"num_workers": 1, "multiprocessing_context": "x"}, "no such start method"),
    ],
)
def test_wrong_options(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        DataLoader(Squares(3), **options)


def test_wrong_options_of_streams() -> None:
    for options in ({"shuffle": True}, {"sampler": [0]}, {"batch_sampler": [[0]]}):
        with pytest.raises(ValueError, match="DataLoader with IterableDataset: expected unspec"):
            DataLoader(Count(3), **options)
    DataLoader(Count(3), shuffle=False)


def test_fixed_attributes() -> None:
    loader = DataLoader(Squares(3))
    for name in ("batch_size", "sampler", "dataset", "drop_last"):
        with pytest.raises(ValueError, match="should not be set after"):
            setattr(loader, name, None)
    loader.timeout = 5


def test_too_many_workers_warn(monkeypatch: Any) -> None:
    monkeypatch.setattr(loader_module.os, "sched_getaffinity", lambda _: {0}, raising=False)
    with pytest.warns(UserWarning, match="worker processes in total"):
        DataLoader(Squares(3), num_workers=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DataLoader(Squares(3), num_workers=1, pin_memory=True)


def test_an_error_in_the_dataset_is_itself() -> None:
    class Broken(IterableDataset):
        def __iter__(self) -> Any:
            yield 1
            raise KeyError("no")

    iterator = iter(DataLoader(Broken()))
    next(iterator)
    with pytest.raises(KeyError, match="no"):
        next(iterator)
