"""LU and triangular systems with SciPy's routines and without: the same results, the same edges."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from fanal import linalg
from fanal.ops.matrix import lapack, lu
from tests.linalg.matrices import close, normal, regular, t


@pytest.fixture(params=["scipy", "numpy"])
def library(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setattr(lapack, "routines", lambda: None)
    else:
        assert lapack.routines() is not None
    return request.param


SHAPES = [
    (1, 1), (4, 4), (32, 32), (33, 33), (70, 50), (50, 70), (3, 8, 8), (2, 2, 5, 4), (0, 3), (3, 0),
    (0, 2, 2), (130, 130),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_lu(library, shape):
    a = normal(*shape)
    p, l, u = linalg.lu(t(a))
    close(p @ l @ u, a, 1e-11)
    assert (np.abs(l.numpy()) <= 1).all()


@pytest.mark.parametrize("shape", [s for s in SHAPES if 0 not in s])
def test_both_find_the_same_pivots(shape):
    a = normal(*shape)
    packed, pivots, info = lu.eliminate(a, True)
    other = lapack.factor(lapack.routines().getrf, a)
    np.testing.assert_array_equal(pivots, other[1])
    np.testing.assert_array_equal(info, other[2])
    np.testing.assert_allclose(packed, other[0], rtol=1e-9, atol=1e-10)


def test_zero_pivots(library):
    a = np.stack([np.zeros((3, 3)), np.diag([1.0, 0, 2]), np.eye(3)])
    packed, pivots, info = linalg.lu_factor_ex(t(a))
    assert info.tolist() == [1, 2, 0]
    assert pivots.tolist() == [[1, 2, 3]] * 3
    close(packed, a)


def test_without_exchanges(library):
    a = regular(4, 4)
    _, l, u = linalg.lu(t(a), pivot=False)
    close(l @ u, a)


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (31, 31), (2, 70, 70), (0, 0), (0, 3, 3)])
def test_triangular_systems(library, shape, upper, unit):
    n = shape[-1]
    a = normal(*shape) / max(n, 1) + 2 * np.eye(n)
    b = normal(*shape[:-1], 3, seed=1)
    x = linalg.solve_triangular(t(a), t(b), upper=upper, unitriangular=unit)
    m = np.triu(a) if upper else np.tril(a)
    m = m - m * np.eye(n) + np.eye(n) if unit else m
    close(t(m) @ x, b)


def test_zeros_on_the_diagonal_give_infinities(library):
    a = np.stack([np.tril(np.ones((3, 3))), np.array([[1.0, 0, 0], [2, 0, 0], [3, 4, 5]])])
    b = np.ones((2, 3, 1))
    x = linalg.solve_triangular(t(a), t(b), upper=False)
    np.testing.assert_array_equal(x.numpy()[..., 0], [[1, 0, 0], [1, -np.inf, np.inf]])
    x = linalg.solve_triangular(t(a), t(b), upper=False, unitriangular=True)
    np.testing.assert_array_equal(x.numpy()[1, :, 0], [1, -1, 2])


def test_the_other_triangle_is_not_read(library):
    a = regular(40, 40)
    a[np.triu_indices(40, 1)] = np.nan
    close(t(np.tril(a)) @ linalg.solve_triangular(t(a), t(normal(40, 2)), upper=False), normal(40, 2))


@pytest.mark.parametrize("name", ["lu", "triangular"])
def test_a_batch_is_the_loop_bit_for_bit(library, name):
    a = normal(3, 70, 70) + 9 * np.eye(70)

    def function(x):
        if name == "lu":
            return linalg.lu_factor(x)[0].numpy()
        return linalg.solve_triangular(x, x, upper=False).numpy()

    whole = function(t(a))
    for i in range(3):
        np.testing.assert_array_equal(function(t(a[i])), whole[i])


def test_scipy_is_optional(monkeypatch):
    for name in ("scipy", "scipy.linalg"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it raises ImportError
    assert lapack.routines.__wrapped__() is None
