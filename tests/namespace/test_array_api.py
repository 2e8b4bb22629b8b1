"""The Python Array API standard: names beside PyTorch's, and the namespace where they differ."""

from __future__ import annotations

import pytest

import fanal
from fanal import array_api as xp


def test_the_namespace_of_a_tensor() -> None:
    x = fanal.ones(2)
    assert x.__array_namespace__() is xp is fanal.array_api and xp.__array_api_version__
    assert x.to_device(x.device) is x and xp.exp is fanal.exp and xp.float32 is fanal.float32
    assert "sort" in dir(xp) and "exp" in dir(xp)
    info = xp.__array_namespace_info__()
    assert info.default_device() in info.devices() and info.capabilities()["boolean indexing"]
    assert info.default_dtypes()["indexing"] is fanal.int64
    assert set(info.dtypes(kind="real floating")) == {"float32", "float64"}


def test_names_beside_pytorchs() -> None:
    x = fanal.tensor([[3, 1], [3, 2]])
    assert fanal.unique_values(x).tolist() == [1, 2, 3]
    found = fanal.unique_all(x)
    assert found.indices.tolist() == [1, 3, 0] and found.counts.tolist() == [1, 1, 2]
    assert found.inverse_indices.tolist() == [[2, 0], [2, 1]] == fanal.unique_inverse(x)[1].tolist()
    assert fanal.unique_counts(x).counts.tolist() == [1, 1, 2]
    assert fanal.isdtype(fanal.int8, ("real floating", "integral"))
    assert not fanal.isdtype(fanal.bool, "numeric") and fanal.isdtype(fanal.uint8, fanal.uint8)
    with pytest.raises(ValueError, match=r"\[isdtype\] no such kind"):
        fanal.isdtype(fanal.int8, "whole")
    assert fanal.astype(x, fanal.int64, copy=False) is x and fanal.astype(x, fanal.int64) is not x
    assert fanal.permute_dims(x, (1, 0)).tolist() == fanal.matrix_transpose(x).tolist()
    assert fanal.expand_dims(x, axis=(0, -1)).shape == (1, 2, 2, 1)
    assert fanal.vecdot(x, x).tolist() == [10, 13]
    with pytest.raises(ValueError, match="lengths along axis -1 differ"):
        fanal.vecdot(x, x[:, :1])
    assert fanal.cumulative_sum(x, axis=1, include_initial=True).tolist() == [[0, 3, 4], [0, 3, 5]]
    assert fanal.cumulative_prod(x, axis=0).tolist() == [[3, 1], [9, 2]]
    with pytest.raises(ValueError, match="axis is missing"):
        fanal.cumulative_sum(x)
    assert fanal.repeat(x, 2, axis=0).shape == (4, 2) and len(fanal.unstack(x, axis=1)) == 2
    assert fanal.take_along_axis(x, fanal.argsort(x)).tolist() == [[1, 3], [2, 3]]
    assert [t.shape for t in fanal.broadcast_arrays(x, x[0])] == [(2, 2), (2, 2)]
    assert fanal.bitwise_invert(x).tolist() == [[-4, -2], [-4, -3]]


def test_where_the_standard_differs_from_pytorch() -> None:
    x = fanal.tensor([[3.0, 1.0], [3.0, 2.0]])
    assert xp.sort(x).tolist() == [[1, 3], [2, 3]]
    assert xp.argsort(x, axis=0, descending=True).tolist() == [[0, 1], [1, 0]]
    assert [i.tolist() for i in xp.nonzero(x > 1)] == [[0, 1, 1], [0, 0, 1]]
    assert xp.equal(x, x).tolist() == [[True, True]] * 2
    assert xp.var(x).item() == 0.6875 and xp.max(x, axis=0).tolist() == [3, 2]
    assert xp.sum(x.to(fanal.uint8)).dtype is fanal.uint64 and xp.sum(x, axis=()).shape == (2, 2)
    assert xp.prod(x, axis=(0, 1), keepdims=True).tolist() == [[18]]
    assert xp.any(x == 2, axis=1).tolist() == [False, True] and xp.all(x).item() is True
    assert xp.concat([x, x], axis=None).shape == (8,) and xp.flip(x).tolist() == [[2, 3], [1, 3]]
    assert xp.meshgrid(x[0], fanal.arange(3.0))[0].shape == (3, 2)
    assert xp.eye(2, 3, k=1).tolist() == [[0, 1, 0], [0, 0, 1]]
    assert xp.linspace(0, 1, 4, endpoint=False).tolist() == [0, 0.25, 0.5, 0.75]
    assert xp.take(x, fanal.tensor([1]), axis=1).tolist() == [[1], [2]]
    assert xp.clip(x).tolist() == x.tolist() and xp.full(2, 1).shape == (2,)
    assert xp.finfo(x).dtype is fanal.float32 and xp.iinfo(fanal.int8).max == 127
    assert xp.can_cast(fanal.int8, fanal.int16) and not xp.can_cast(x, fanal.int64)
    assert xp.result_type(fanal.int8, fanal.uint8, 1) is fanal.int16
    assert xp.tensordot(x, x, axes=1).tolist() == (x @ x).tolist()
    for bad in (lambda: xp.squeeze(x, 0), lambda: xp.broadcast_shapes((3,), (4,)),
                lambda: xp.nonzero(fanal.tensor(1))):  # fmt: skip
        with pytest.raises(ValueError):
            bad()
