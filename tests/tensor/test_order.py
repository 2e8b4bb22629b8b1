"""Order is meaning: the same bits for any number of threads, any batch, any layout."""

from __future__ import annotations

import numpy as np
import pytest

import fanal


def bits(t: fanal.Tensor) -> np.ndarray:
    return t.detach().contiguous().numpy().view(np.int32)


@pytest.fixture
def threads():
    before = fanal.get_num_threads()
    yield fanal.set_num_threads
    fanal.set_num_threads(before)


def workloads():
    fanal.manual_seed(0)
    x, w = fanal.randn(70, 333), fanal.randn(333, 129)
    image, kernel = fanal.randn(4, 8, 19, 17), fanal.randn(16, 8, 3, 3)
    long = fanal.randn(3, 200_000)
    return {
        "matmul": lambda: x @ w,
        "conv": lambda: fanal.conv2d(image, kernel, padding=1),
        "sum rows": lambda: x.sum(1),
        "sum columns": lambda: x.sum(0),
        "sum long": lambda: long.sum(1),
        "softmax": lambda: fanal.softmax(x, 1),
        "softmax columns": lambda: fanal.softmax(x, 0),
        "exp": lambda: fanal.exp(long),
        "random": lambda: (fanal.manual_seed(3), fanal.randn(50_000))[1],
    }


@pytest.mark.parametrize("name", list(workloads()))
def test_same_bits_for_any_number_of_threads(threads, name):
    run = workloads()[name]
    results = []
    for count in (1, 2, 4):
        threads(count)
        results.append(bits(run()))
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


@pytest.mark.parametrize("k", [1, 7, 64, 300, 1025])
@pytest.mark.parametrize("n", [1, 5, 16, 130])
def test_a_row_alone_is_the_row_in_any_batch(k, n):
    fanal.manual_seed(k * n)
    x, w = fanal.randn(33, k), fanal.randn(k, n)
    whole = bits(x @ w)
    transposed = bits(x @ fanal.tensor(w.numpy().T.copy()).T)
    np.testing.assert_array_equal(whole, transposed)
    for rows in (slice(0, 1), slice(5, 6), slice(3, 17)):
        np.testing.assert_array_equal(bits(x[rows] @ w), whole[rows])


@pytest.mark.parametrize("length", [1, 3, 31, 257, 2049, 70_001])
def test_sums_do_not_depend_on_batch_or_layout(length):
    fanal.manual_seed(length)
    x = fanal.randn(9, length)
    whole = bits(x.sum(1))
    columns = fanal.tensor(x.numpy().T.copy()).T
    np.testing.assert_array_equal(bits(columns.sum(1)), whole)
    np.testing.assert_array_equal(bits(x[4].sum()).reshape(()), whole[4])
    strided = fanal.empty(9, 2 * length)[:, ::2]
    strided.copy_(x)
    np.testing.assert_array_equal(bits(strided.sum(1)), whole)


def test_a_new_shape_of_a_seen_operation_compiles_nothing():
    from fanal.backends.native.kernels import compiled_kernels

    def work(n: int, m: int) -> None:
        x = fanal.randn(n, m).requires_grad_()
        y = fanal.softmax(x @ fanal.randn(m, 24), -1).log().mean()
        y.backward()

    work(16, 40)
    work(17, 41)
    work(64, 80)  # large enough for blocks to be copied
    before = compiled_kernels()
    for n, m in ((18, 57), (33, 44), (64, 80), (19, 123)):
        work(n, m)
    assert compiled_kernels() == before


def test_columns_that_are_looked_up_are_reduced_in_several_passes() -> None:
    """The place that a column is read at is the same in all rows; so it is found once for each column."""
    x, columns = fanal.randn(40, 24), fanal.randint(0, 24, (24,))
    picked = x.numpy()[:, columns.numpy()]
    e = np.exp(picked - picked.max(0))
    assert np.allclose(x[:, columns].softmax(0).numpy(), e / e.sum(0), atol=1e-6)
    wanted = (picked * 2 - x.numpy().sum(0)).sum(0)
    assert np.allclose((x[:, columns] * 2 - x.sum(0)).sum(0).numpy(), wanted, atol=1e-3)
