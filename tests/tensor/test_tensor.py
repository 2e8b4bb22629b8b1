"""Tensors as PyTorch's users know them: views that alias, indexing, in-place writes, dtypes."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fanal


def test_views_share_memory_and_writes_show_through():
    base = fanal.zeros(3, 4)
    base[0] = 1
    row, column, block = base[1], base[:, 2], base.reshape(2, 6)
    row += 5
    column.fill_(7)
    block[0, 0] = -1
    expected = np.array([[-1, 1, 7, 1], [5, 5, 7, 5], [0, 0, 7, 0]], np.float32)
    np.testing.assert_array_equal(base.numpy(), expected)
    assert base.T._storage is base._storage
    assert base.t().contiguous()._storage is not base._storage


@pytest.mark.parametrize(
    "index",
    [
        0, -1, slice(1, 3), (slice(None), 1), (Ellipsis, 2), None, (0, None, slice(None, None, 2)),
        [0, 2], ([0, 1], [1, 3]), (slice(None), [3, 0]), (slice(None), None, [1, 1]),
        ([0, 1], slice(None), [0, 1]),
    ],
    ids=str,
)  # fmt: skip
def test_indexing_is_numpys(index):
    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    got = fanal.tensor(array)[index]
    np.testing.assert_array_equal(got.numpy(), array[index])
    target, expected = fanal.tensor(array), array.copy()
    target[index] = -1.0
    expected[index] = -1.0
    np.testing.assert_array_equal(target.numpy(), expected)


def test_rows_are_views_that_nothing_keeps():
    from fanal.tensor import indexing

    x = fanal.arange(24.0).reshape(4, 3, 2).clone().requires_grad_()
    kept = len(indexing._views)
    rows = [x[i] for i in (0, 3, -4, -1)]
    assert [r.tolist() for r in rows] == [x.tolist()[i] for i in (0, 3, 0, 3)]
    assert len(indexing._views) == kept and rows[1]._base is x
    (rows[1] * 2).sum().backward()
    assert x.grad.tolist() == [[[2.0 * (i == 3)] * 2] * 3 for i in range(4)]
    y = x.detach().clone().transpose(0, 2)
    y[1][2] = 7
    assert y[1, 2].tolist() == [7] * 4 and y[0][1].tolist() == x[:, 1, 0].tolist()
    z = x * 1
    part = z[-1]
    z.mul_(3)  # a view follows the write to its base
    part.sum().backward()
    assert x.grad[3].tolist() == [[5.0] * 2] * 3
    for bad in (4, -5):
        with pytest.raises(IndexError, match="out of range in dimension 0"):
            x[bad]
    with pytest.raises(IndexError, match="too many indices"):
        fanal.tensor(1.0)[0]


def test_an_integer_between_index_tensors_is_taken_first():
    # PyTorch's rule; NumPy counts the integer as an index array.
    x = fanal.zeros(3, 4, 5)
    assert x[0, :, [1, 0]].shape == (4, 2)
    assert x[[0, 1], :, [0, 1]].shape == (2, 4)
    assert x[[0, 1], 0, [0, 1]].shape == (2,)


def test_masks_read_and_write():
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    x = fanal.tensor(array)
    np.testing.assert_array_equal(x[x > 5].numpy(), array[array > 5])
    rows = fanal.tensor([True, False, True])
    np.testing.assert_array_equal(x[rows].numpy(), array[[0, 2]])
    x[x > 5] = 0
    assert float(x.sum()) == 15
    x[rows] = fanal.ones(2, 4)
    assert float(x[0].sum()) == 4


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (fanal.float32, fanal.int64, fanal.float32), (fanal.int32, fanal.int64, fanal.int64),
        (fanal.uint8, fanal.int8, fanal.int16), (fanal.float16, fanal.bfloat16, fanal.float32),
        (fanal.bool, fanal.uint8, fanal.uint8),
    ],
)  # fmt: skip
def test_promotion(a, b, expected):
    x, y = fanal.ones(2, dtype=a), fanal.ones(2, dtype=b)
    assert (x * y).dtype is expected
    assert fanal.promote_types(a, b) is expected


def test_numbers_do_not_promote_within_their_category():
    assert (fanal.ones(2, dtype=fanal.float16) * 2.5).dtype is fanal.float16
    assert (fanal.ones(2, dtype=fanal.int8) + 1).dtype is fanal.int8
    assert (fanal.ones(2, dtype=fanal.int8) + 1.5).dtype is fanal.float32
    assert (fanal.ones(2) * fanal.tensor(2.0, dtype=fanal.float64)).dtype is fanal.float32


@given(st.lists(st.integers(0, 4), min_size=0, max_size=4), st.integers(0, 10**6))
def test_broadcasting_is_numpys(shape, seed):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal(shape).astype(np.float32)
    other = [n if rng.random() < 0.6 else 1 for n in shape][rng.integers(0, len(shape) + 1) :]
    b = rng.standard_normal(other).astype(np.float32)
    np.testing.assert_array_equal((fanal.tensor(a) + fanal.tensor(b)).numpy(), a + b)
    np.testing.assert_array_equal((fanal.tensor(b) < fanal.tensor(a)).numpy(), b < a)


def test_ranges_of_integers_beyond_what_floats_hold():
    start = 2**60
    assert fanal.arange(start, start + 3).tolist() == [start, start + 1, start + 2]
    assert fanal.arange(start + 3, start, -2).tolist() == [start + 3, start + 1]


def test_numpy_numbers_are_numbers():
    """As operands, sizes, dims and options; their dtype does not promote, as a Python number's."""
    x = fanal.arange(6.0).reshape(np.int64(2), np.int64(3))
    for product in (x * np.float64(2), np.float64(2) * x, x * np.float32(2)):
        assert product.dtype is fanal.float32 and product.tolist() == [[0, 2, 4], [6, 8, 10]]
    assert x.sum(np.int64(1)).tolist() == x.sum((np.int64(1),)).tolist() == [3, 12]
    assert x.clone().mul_(np.float64(3)).tolist() == [[0, 3, 6], [9, 12, 15]]
    assert x.narrow(1, np.int64(1), np.int64(2)).tolist() == [[1, 2], [4, 5]]
    w = fanal.ones(2, requires_grad=True)
    (w * np.float64(3)).sum().backward()
    assert w.grad.tolist() == [3, 3]


def test_numpys_functions_of_tensors_give_tensors():
    x = fanal.tensor([1.0, 4.0])
    assert isinstance(np.sqrt(x), fanal.Tensor) and np.sqrt(x).tolist() == [1, 2]
    assert isinstance(np.add(x, 1), fanal.Tensor) and np.isnan(x).dtype is fanal.bool
    with pytest.raises(RuntimeError, match=r"requires grad. Try: tensor.detach\(\).numpy\(\)"):
        np.sqrt(fanal.ones(2, requires_grad=True))


def test_what_can_be_an_array_keeps_its_dtype():
    class Series:
        def __array__(self, dtype=None, copy=None):
            return np.array([1.0, 2.0])

    assert fanal.tensor(Series()).dtype is fanal.float64
    assert fanal.tensor(Series(), dtype=fanal.int32).tolist() == [1, 2]


def test_memory_is_shared_with_numpy_both_ways():
    array = np.arange(6, dtype=np.float64)[::-1]
    t = fanal.from_numpy(array)
    t[0] = 100
    assert array[0] == 100
    back = t.numpy()
    back[1] = -5
    assert float(t[1]) == -5
    t.mul_(2)
    assert array[0] == 200
    np.testing.assert_array_equal(np.asarray(t), array)
    np.testing.assert_array_equal(np.from_dlpack(t), array)
    assert fanal.from_dlpack(np.ones(3))[0] == 1


def test_copies_and_pickles():
    x = fanal.randn(2, 3, requires_grad=True)
    for y in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert y.requires_grad
        assert fanal.equal(x, y)
    with pytest.raises(RuntimeError, match="only leaf tensors"):
        copy.deepcopy(x * 2)


def test_zero_size_and_zero_d():
    empty = fanal.zeros(0, 3)
    assert (empty + 1).shape == (0, 3)
    assert empty.sum() == 0
    np.testing.assert_array_equal(empty.sum(0).numpy(), np.zeros(3))
    assert (empty @ fanal.ones(3, 2)).shape == (0, 2)
    assert (fanal.ones(2, 0) @ fanal.ones(0, 3)).sum() == 0
    assert fanal.tensor(3.0).sum() == 3
    assert fanal.cat([fanal.zeros(0), fanal.ones(2)]).shape == (2,)
    with pytest.raises(RuntimeError, match="without elements"):
        empty.max()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: fanal.tensor([[1.0, 2.5], [-3.0, 1000.0]]),
         "tensor([[   1.0000,    2.5000],\n        [  -3.0000, 1000.0000]])"),
        (lambda: fanal.tensor([1, 20, -3]), "tensor([ 1, 20, -3])"),
        (lambda: fanal.tensor(2.0), "tensor(2.)"),
        (lambda: fanal.tensor([True, False]), "tensor([ True, False])"),
        (lambda: fanal.zeros(2, dtype=fanal.float64), "tensor([0., 0.], dtype=fanal.float64)"),
        (lambda: fanal.ones(1, requires_grad=True), "tensor([1.], requires_grad=True)"),
        (lambda: fanal.tensor([float("nan"), float("inf")]), "tensor([nan, inf])"),
    ],
)  # fmt: skip
def test_printing_is_pytorchs(make, text):
    assert repr(make()) == text


MESSAGES = [
    (lambda: fanal.zeros(3) + fanal.zeros(4), RuntimeError, r"\[add\] shapes do not broadcast.*\(3,\) and \(4,\)"),
    (lambda: fanal.zeros(2, 3) @ fanal.zeros(4, 5), RuntimeError, r"\[matmul\] inner dimensions differ"),
    (lambda: fanal.zeros(3)[5], IndexError, r"index out of range in dimension 0: got 5"),
    (lambda: fanal.zeros(3)[fanal.tensor([7])], IndexError, "index out of range"),
    (lambda: fanal.tensor([1]) // fanal.tensor([0]), RuntimeError, "integer division by zero"),
    (lambda: fanal.zeros(2, device="cuda"), RuntimeError, r"no such device here: got 'cuda'"),
    (lambda: fanal.zeros(2, 3).view(4, 2), RuntimeError, "shape does not fit"),
    (lambda: fanal.zeros(2, 3).t().view(6), RuntimeError, r"strides don't allow.*reshape\(\)"),
    (lambda: fanal.zeros(2).item(), RuntimeError, "not exactly one element"),
    (lambda: bool(fanal.zeros(2)), RuntimeError, "no single value"),
    (lambda: fanal.zeros(2, dtype=fanal.int64).add_(1.5), RuntimeError, "can't be stored"),
    (lambda: fanal.zeros(2).add_(fanal.zeros(3, 2)), RuntimeError, "shape differs"),
    (lambda: fanal.zeros(1).expand(3).add_(1), RuntimeError, "expanded tensor"),
    (lambda: fanal.tensor(["a"]), TypeError, "not numbers"),
    (lambda: fanal.empty(2**60), MemoryError, "not enough memory"),
    (lambda: fanal.zeros(2).sum(3), IndexError, "dimension out of range: got 3"),
    (lambda: fanal.cat([]), ValueError, "no tensors"),
    (lambda: fanal.zeros(2, 3).to("mars"), RuntimeError, "unknown device"),
    (lambda: fanal.sofmax, AttributeError, "Nearest: softmax"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "text"), MESSAGES)
def test_messages(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_the_default_dtype_changes_what_numbers_become():
    x = fanal.tensor([1, 2])
    assert (x / x).dtype is fanal.float32
    fanal.set_default_dtype(fanal.float64)
    try:
        assert (x / x).dtype is fanal.float64
        assert (x * 1.5).dtype is fanal.float64
        assert fanal.zeros(1).dtype is fanal.float64
    finally:
        fanal.set_default_dtype(fanal.float32)
    assert (x / x).dtype is fanal.float32
