"""Datasets and samplers."""

from __future__ import annotations

import collections
import itertools
from typing import Any

import numpy as np
import pytest

import fanal
from fanal import data


class Squares(data.Dataset):
    def __init__(self, n: int):
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> int:
        return i * i


class Count(data.IterableDataset):
    def __init__(self, n: int):
        self.n = n

    def __iter__(self) -> Any:
        return iter(range(self.n))


# -- datasets -----------------------------------------------------------------------------------------


def test_tensor_dataset() -> None:
    x, y = fanal.arange(6).reshape(3, 2), fanal.arange(3)
    d = data.TensorDataset(x, y)
    assert len(d) == 3 and [t.tolist() for t in d[1]] == [[2, 3], 1]
    assert d[0][0]._storage is x._storage
    with pytest.raises(AssertionError, match="Size mismatch"):
        data.TensorDataset(x, fanal.arange(4))
    with pytest.raises(ValueError, match="no tensors"):
        data.TensorDataset()


def test_abstract_classes() -> None:
    for thing in (data.Dataset(), data.IterableDataset(), data.Sampler()):
        with pytest.raises(NotImplementedError, match="should implement"):
            thing[0] if type(thing) is data.Dataset else iter(thing)
    with pytest.raises(TypeError):
        len(data.Dataset())


def test_stack_dataset() -> None:
    a, b = Squares(4), [10, 20, 30, 40]
    assert data.StackDataset(a, b)[2] == (4, 30)
    named = data.StackDataset(x=a, y=b)
    assert named[2] == {"x": 4, "y": 30} and len(named) == 4
    assert named.__getitems__([0, 3]) == [{"x": 0, "y": 10}, {"x": 9, "y": 40}]
    assert data.StackDataset(a, b).__getitems__([3]) == [(9, 40)]
    for args, kwargs in (((), {}), ((a,), {"b": b})):
        with pytest.raises(ValueError, match="by position or by name"):
            data.StackDataset(*args, **kwargs)
    with pytest.raises(ValueError, match="Size mismatch"):
        data.StackDataset(a, [1])


def test_concat_and_chain() -> None:
    d = Squares(3) + Squares(2)
    assert len(d) == 5 and [d[i] for i in range(5)] == [0, 1, 4, 0, 1] and d[-1] == 1
    assert d.cumulative_sizes == [3, 5]
    with pytest.raises(IndexError):
        d[5]
    with pytest.raises(ValueError, match="exceed dataset length"):
        d[-6]
    with pytest.raises(AssertionError, match="not be an empty"):
        data.ConcatDataset([])
    with pytest.raises(AssertionError, match="IterableDataset"):
        data.ConcatDataset([Count(2)])
    assert list(Count(2) + Count(3)) == [0, 1, 0, 1, 2]
    with pytest.raises(AssertionError, match="only supports IterableDataset"):
        list(data.ChainDataset([Squares(2)]))


def test_subset() -> None:
    s = data.Subset(Squares(5), [4, 2])
    assert len(s) == 2 and s[0] == 16 and s.__getitems__([1, 0]) == [4, 16]
    x = fanal.arange(5) * 10
    assert [t.tolist() for t in data.Subset(data.TensorDataset(x), [4, 2])[[0, 1]]] == [[40, 20]]

    class Changed(data.Subset):
        def __getitem__(self, i: Any) -> Any:
            return -1

    with pytest.raises(NotImplementedError, match="__getitems__"):
        Changed(Squares(5), [1])


def test_random_split() -> None:
    parts = data.random_split(Squares(10), [3, 7], fanal.Generator().manual_seed(1))
    again = data.random_split(Squares(10), [3, 7], fanal.Generator().manual_seed(1))
    assert [len(p) for p in parts] == [3, 7]
    assert sorted(parts[0].indices + parts[1].indices) == list(range(10))
    assert [p.indices for p in parts] == [p.indices for p in again]
    assert [len(p) for p in data.random_split(Squares(11), [0.5, 0.25, 0.25])] == [6, 3, 2]
    with pytest.raises(ValueError, match="Sum of input lengths"):
        data.random_split(Squares(10), [3, 6])
    with pytest.raises(ValueError, match="not between 0 and 1"):
        data.random_split(Squares(10), [1.5, -0.5])
    with pytest.warns(UserWarning, match="index 1 is 0"):
        data.random_split(Squares(2), [0.9, 0.1, 0.0][:2])


# -- samplers -------------------------------------------------------------------------------------------


def test_random_sampler() -> None:
    s = data.RandomSampler(range(10), generator=fanal.Generator().manual_seed(3))
    first, second = list(s), list(s)
    assert sorted(first) == list(range(10)) and first != second and len(s) == 10
    assert first == fanal.randperm(10, generator=fanal.Generator().manual_seed(3)).tolist()
    more = list(data.RandomSampler(range(4), num_samples=10))
    assert len(more) == 10 and sorted(more[:4]) == sorted(more[4:8]) == [0, 1, 2, 3]
    drawn = list(data.RandomSampler(range(3), replacement=True, num_samples=5000))
    assert len(drawn) == 5000 and set(drawn) == {0, 1, 2}
    with pytest.raises(ValueError, match="positive integer"):
        data.RandomSampler([])
    with pytest.raises(TypeError, match="boolean"):
        data.RandomSampler([1], replacement=1)


def test_default_generator_decides_the_order() -> None:
    orders = []
    for seed in (5, 5, 6):
        fanal.manual_seed(seed)
        orders.append(list(data.RandomSampler(range(50))))
    assert orders[0] == orders[1] != orders[2]


def test_subset_and_weighted_samplers() -> None:
    assert sorted(data.SubsetRandomSampler([5, 7, 9])) == [5, 7, 9]
    counts = collections.Counter(data.WeightedRandomSampler([0.1, 0.0, 0.9], 3000))
    assert counts[1] == 0 and 200 < counts[0] < 400
    without = data.WeightedRandomSampler([0.2, 0.3, 0.5], 3, replacement=False)
    assert sorted(without) == [0, 1, 2] and len(without) == 3
    with pytest.raises(ValueError, match="1d sequence"):
        data.WeightedRandomSampler([[0.5]], 1)
    with pytest.raises(ValueError, match="positive integer"):
        data.WeightedRandomSampler([0.5], 0)


def test_batch_sampler() -> None:
    s = data.BatchSampler(data.SequentialSampler(range(7)), 3, False)
    assert list(s) == [[0, 1, 2], [3, 4, 5], [6]] and len(s) == 3
    s = data.BatchSampler(range(7), 3, True)
    assert list(s) == [[0, 1, 2], [3, 4, 5]] and len(s) == 2
    for size in (0, -1, 2.0, True):
        with pytest.raises(ValueError, match="batch_size should be a positive integer"):
            data.BatchSampler(range(3), size, False)
    with pytest.raises(ValueError, match="drop_last"):
        data.BatchSampler(range(3), 2, 1)


def test_distributed_sampler() -> None:
    parts = [list(data.DistributedSampler(range(10), 3, r, shuffle=False)) for r in range(3)]
    assert parts == [[0, 3, 6, 9], [1, 4, 7, 0], [2, 5, 8, 1]]
    cut = [list(data.DistributedSampler(range(10), 3, r, False, drop_last=True)) for r in range(3)]
    assert cut == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    ones = [data.DistributedSampler(range(10), 2, r) for r in range(2)]
    assert sorted(itertools.chain(*ones)) == list(range(10))
    before = list(ones[0])
    ones[0].set_epoch(1)
    assert list(ones[0]) != before
    assert list(data.DistributedSampler(range(1), 3, 2)) == [0]
    with pytest.raises(RuntimeError, match="process group"):
        data.DistributedSampler(range(3))
    with pytest.raises(ValueError, match="Invalid rank"):
        data.DistributedSampler(range(3), 2, 2)


# -- collation ------------------------------------------------------------------------------------------

Pair = collections.namedtuple("Pair", "x y")


def test_collating_leaves() -> None:
    c = data.default_collate
    assert c([1, 2]).dtype is fanal.int64 and c([True, False]).dtype is fanal.bool
    assert c([1.5, 2.5]).dtype is fanal.float64
    assert c([np.float32(1), np.float32(2)]).dtype is fanal.float32
    assert c([np.ones(2, np.int16)] * 2).dtype is fanal.int16
    assert c(["a", "b"]) == ["a", "b"] and c([b"a"]) == [b"a"]
    stacked = c([fanal.ones(2, 3), fanal.zeros(2, 3)])
    assert tuple(stacked.shape) == (2, 2, 3) and stacked[1].sum().item() == 0
    assert c([fanal.ones(2, dtype=fanal.bfloat16)] * 3).dtype is fanal.bfloat16
    assert tuple(c([fanal.ones(0)] * 3).shape) == (3, 0)
    part = fanal.arange(12).reshape(3, 4).t()
    assert c([part, part]).tolist() == [part.tolist()] * 2


def test_collating_whatever_lies_in_memory() -> None:
    c = data.default_collate
    x = fanal.arange(24.0).reshape(2, 3, 4)
    rows = [x[0], x[1].t().contiguous().t(), fanal.cat([x, x], 2)[0, :, ::2], x[0, 0].expand(3, 4)]
    assert c(rows).tolist() == [r.tolist() for r in rows] and c(rows).is_contiguous()
    assert c([fanal.ones(2), fanal.ones(2, dtype=fanal.float64)]).dtype is fanal.float64
    assert c([t[1] for t in (x, x)]).tolist() == [x[1].tolist()] * 2
    scalars = [fanal.tensor(v) for v in (1, 2, 3)]
    assert c(scalars).tolist() == [1, 2, 3]
    arrays = [np.arange(6, dtype=np.int16).reshape(2, 3), np.zeros((3, 2), np.int16).T]
    assert c(arrays).tolist() == [a.tolist() for a in arrays] and c(arrays).dtype is fanal.int16
    assert c([np.ones(2, ">f4"), np.zeros(2, ">f4")]).tolist() == [[1, 1], [0, 0]]
    assert c([np.ones(2, np.float32), np.ones(2)]).dtype is fanal.float64
    with pytest.raises(RuntimeError, match="samples differ in shape"):
        c([np.ones(2), np.ones(3)])


def test_collating_makes_no_program_for_a_batch_size() -> None:
    from fanal.tensor import stacking

    x = fanal.rand(50, 7)
    data.default_collate(list(x[:3]))
    made = len(stacking._programs)
    for n in range(1, 50):
        assert fanal.equal(data.default_collate([x[i] for i in range(n)]), x[:n])
    assert len(stacking._programs) == made


def test_collating_containers() -> None:
    c = data.default_collate
    samples = [{"a": (i, [i, "s"]), "b": Pair(i, float(i))} for i in range(2)]
    found = c(samples)
    assert isinstance(found["a"], list) and isinstance(found["b"], Pair)
    assert found["a"][0].tolist() == [0, 1] and found["a"][1][1] == ("s", "s")
    ordered = c([collections.OrderedDict(x=1)] * 2)
    assert type(ordered) is collections.OrderedDict and ordered["x"].tolist() == [1, 1]
    assert data.default_convert({"a": np.ones(2), "b": "s", "c": (1, np.int8(3))})["c"][0] == 1
    assert data.default_convert(Pair(np.zeros(1), 2)).x.tolist() == [0.0]


def test_collating_dataclasses() -> None:
    import dataclasses

    @dataclasses.dataclass
    class Sample:
        image: Any
        label: int

    found = data.default_collate([Sample(fanal.ones(2), 3), Sample(fanal.zeros(2), 4)])
    assert isinstance(found, Sample) and found.label.tolist() == [3, 4]
    assert tuple(found.image.shape) == (2, 2)


def test_collating_gradients() -> None:
    x = fanal.ones(3, 2, requires_grad=True)
    data.default_collate([x[0], x[2]]).sum().backward()
    assert x.grad.tolist() == [[1, 1], [0, 0], [1, 1]]


def test_collating_what_does_not_fit() -> None:
    with pytest.raises(RuntimeError, match=r"\[default_collate\] samples differ in shape \(sample 1"):
        data.default_collate([fanal.ones(2), fanal.ones(3)])
    with pytest.raises(RuntimeError, match="equal size"):
        data.default_collate([[1, 2], [1]])
    with pytest.raises(TypeError, match="can't be put into a batch"):
        data.default_collate([object()])
    with pytest.raises(TypeError, match="can't be put into a batch"):
        data.default_collate([np.array(["a"])])
