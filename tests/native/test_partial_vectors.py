"""Rows that end in the middle of a vector: masked scores, half precision and random numbers among
what they read. Whole vectors and what is left over give the same bits, compiled and not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fanal
import fanal.nn.functional as F

LENGTHS = [1, 2, 3, 5, 7, 15, 16, 17, 31, 33, 37, 50, 64, 65, 100, 129]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = fanal.get_num_threads()
    yield
    fanal.set_num_threads(before)


def same_compiled(function: Any, *inputs: Any) -> list[np.ndarray]:
    """The results of a function, after checking that compiled ones have their bits."""

    def call(f: Any) -> list[np.ndarray]:
        fanal.manual_seed(5)
        return [np.asarray(y.float().numpy()) for y in f(*inputs)]

    expected = call(function)
    compiled = fanal.compile(function)
    for count in (1, 2):
        fanal.set_num_threads(count)
        for a, b in zip(expected, call(compiled), strict=True):
            np.testing.assert_array_equal(a, b)
    return expected


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_masked_softmax(n: int, dtype: str) -> None:
    x = fanal.randn(5, n).to(getattr(fanal, dtype))
    keep = fanal.rand(5, n) < 0.7
    keep[:, 0] = True

    def function(x: Any, keep: Any) -> Any:
        scores = x.masked_fill(~keep, float("-inf"))
        return scores.softmax(-1), (scores > 0.5), keep & (x > 0), scores.amax(-1)

    y, over, both, top = same_compiled(function, x, keep)
    wide = np.where(keep.numpy(), x.float().numpy().astype(np.float64), -np.inf)
    e = np.exp(wide - wide.max(-1, keepdims=True))
    tolerance = {"float32": 1e-6, "float16": 2e-3, "bfloat16": 1e-2}[dtype]
    np.testing.assert_allclose(y, e / e.sum(-1, keepdims=True), atol=tolerance)
    np.testing.assert_array_equal(over, wide > 0.5)
    np.testing.assert_array_equal(both, keep.numpy() & (x.float().numpy() > 0))
    np.testing.assert_array_equal(top, wide.max(-1))


@pytest.mark.parametrize("n", LENGTHS)
def test_random_numbers_do_not_depend_on_where_rows_begin(n: int) -> None:
    x = fanal.randn(7, n)
    fanal.manual_seed(5)
    drawn = fanal.rand(7 * n).numpy().reshape(7, n)

    def function(x: Any) -> Any:
        r = fanal.rand(7, n)
        return r, (x + r).softmax(-1), F.dropout(x.softmax(-1), 0.4), (r * x).amax(-1)

    r, *_ = same_compiled(function, x)
    np.testing.assert_array_equal(r, drawn)


def test_exponentials_far_below_are_plain_zeros() -> None:
    smallest = {fanal.float32: -103.97, fanal.float64: -745.13}
    for dtype, last in smallest.items():
        x = fanal.tensor([last, last - 0.01, last - 1, -1e30, float("-inf"), float("nan")], dtype=dtype)
        for f in (fanal.exp, fanal.sigmoid):
            y = f(x).numpy()
            assert y[0] > 0 and (y[1:5] == 0).all() and not np.signbit(y[1:5]).any() and np.isnan(y[5])
        two = fanal.exp2(fanal.tensor([-149.0 if dtype is fanal.float32 else -1074.0, -1076.0]).to(dtype))
        assert two[0] > 0 and two[1] == 0
