"""Names of PyTorch's first years, which published programs still use."""

from __future__ import annotations

import numpy as np

import fanal
from fanal.autograd import Variable


def test_typed_constructors() -> None:
    assert fanal.FloatTensor(2, 3).shape == (2, 3) and fanal.DoubleTensor().dtype is fanal.float64
    assert fanal.LongTensor([1, 2]).dtype is fanal.int64
    assert fanal.FloatTensor(np.ones(2)).tolist() == [1.0, 1.0]
    assert fanal.IntTensor(range(3)).tolist() == [0, 1, 2]
    assert fanal.FloatTensor(fanal.ones(2, 3).shape).shape == (2, 3)
    assert fanal.FloatTensor((2, 3)).tolist() == [2.0, 3.0]


def test_types_as_names() -> None:
    x = fanal.ones(2)
    assert isinstance(x, fanal.FloatTensor) and not isinstance(x, fanal.LongTensor)
    assert not isinstance(1.0, fanal.FloatTensor)
    assert x.type(fanal.LongTensor).dtype is x.type("torch.LongTensor").dtype is fanal.int64
    assert x.type() == "fanal.FloatTensor"


def test_variable() -> None:
    x = fanal.ones(2)
    assert Variable(x) is x and isinstance(x, Variable)
    leaf = Variable(x, requires_grad=True)
    assert leaf.requires_grad and not x.requires_grad
    leaf.data.mul_(2)
    assert x.tolist() == [2.0, 2.0]


def test_paths_of_data() -> None:
    from fanal.utils.data.dataloader import DataLoader
    from fanal.utils.data.dataset import Dataset
    from fanal.utils.data.sampler import Sampler

    data = fanal.utils.data
    assert (data.DataLoader, data.Dataset, data.Sampler) == (DataLoader, Dataset, Sampler)
