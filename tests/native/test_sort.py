"""Sorted lines and the first few of them: every dtype, ties, NaN, both zeros, lengths around the runs
that are sorted by counting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fanal

LENGTHS = [1, 2, 7, 15, 16, 17, 31, 32, 33, 63, 100, 129, 1000]
DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]


def lines(dtype: str, n: int, rows: int = 3) -> Any:
    """Lines with many ties, and what is special to the dtype."""
    random = np.random.default_rng(n)
    x = random.integers(-20, 20, (rows, n)).astype(np.float64)
    kind = getattr(fanal, dtype)
    if dtype in ("bool", "uint8"):
        return fanal.tensor(np.abs(x)).to(kind) if dtype == "uint8" else fanal.tensor(x > 0)
    if kind.is_floating_point:
        x[x == 3] = -0.0
        x[x == 4] = np.nan
        x[x == 5] = np.inf
        x[x == 6] = -np.inf
        x[x > 10] *= 1e-3
    elif dtype in ("int32", "int64"):
        found = fanal.tensor(x).to(kind)
        found[found == 7] = fanal.iinfo(kind).max
        found[found == 8] = fanal.iinfo(kind).min
        return found
    return fanal.tensor(x).to(kind)


def order_of(x: Any, descending: bool) -> np.ndarray:
    """The stable order of lines, NaN the largest, by Python's own sort."""
    found = []
    for row in x.tolist():
        nan = [v != v for v in row]
        sign = -1 if descending else 1
        keys = [(sign * nan[i], 0 if nan[i] else sign * v, i) for i, v in enumerate(row)]
        found.append([i for *_, i in sorted(keys)])
    return np.array(found)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("descending", [False, True])
def test_sorted_lines(dtype: str, descending: bool) -> None:
    for n in LENGTHS:
        x = lines(dtype, n)
        order = order_of(x, descending)
        values, indices = fanal.sort(x, -1, descending)
        np.testing.assert_array_equal(indices.numpy(), order)
        assert values.equal(x.gather(1, fanal.tensor(order))) or values.isnan().any()
        columns = fanal.argsort(x.t(), 0, descending)
        np.testing.assert_array_equal(columns.numpy(), order.T)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("largest", [False, True])
def test_the_first_few_are_those_of_the_sorted_line(dtype: str, largest: bool) -> None:
    for n in LENGTHS:
        x = lines(dtype, n)
        order = order_of(x, largest)
        for k in {1, 2, min(n, 5), min(n, 64), min(n, 65), n}:
            if k <= n:
                values, indices = fanal.topk(x, k, largest=largest)
                np.testing.assert_array_equal(indices.numpy(), order[:, :k])
                expected = x.float().gather(1, fanal.tensor(order[:, :k]))
                np.testing.assert_array_equal(values.float().numpy(), expected.numpy())


def test_zeros_keep_their_signs_and_a_line_may_be_sorted_in_place() -> None:
    x = fanal.tensor([[0.0, -0.0, 1.0, -0.0, 0.0]])
    assert fanal.sort(x)[0].numpy().view(np.int32).tolist()[0][:4] == [0, -(2**31), -(2**31), 0]

    def function(x: Any) -> Any:
        x.copy_(x.sort(-1)[0])
        return x.topk(3)[0].sum()

    for n in (5, 16, 50):
        a, b = fanal.randn(4, n), None
        b = a.clone()
        compiled = fanal.compile(function)
        for _ in range(2):
            assert function(a).equal(compiled(b)) and a.equal(b)
        assert (a[:, 1:] >= a[:, :-1]).all()


def test_gradients_go_to_the_elements_that_were_picked() -> None:
    x = fanal.randn(4, 37, requires_grad=True)
    values, indices = x.topk(5)
    (values * fanal.arange(1.0, 6.0)).sum().backward()
    expected = fanal.zeros(4, 37).scatter(1, indices, fanal.arange(1.0, 6.0).expand(4, 5))
    assert x.grad is not None and x.grad.equal(expected)
