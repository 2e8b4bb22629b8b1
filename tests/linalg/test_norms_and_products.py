"""Norms, determinants, powers and products against NumPy and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg

import fanal
from fanal import linalg
from tests.linalg.matrices import close, definite, normal, regular, t

ORDERS = [2, 1, 0, 3, 0.5, -1, math.inf, -math.inf]


@pytest.mark.parametrize("order", ORDERS)
def test_vector_norm(order):
    a = normal(2, 3, 4)
    for dim in (None, 1, (0, 2), (-1,)):
        axes = tuple(range(3)) if dim is None else (dim,) if isinstance(dim, int) else dim
        moved = np.moveaxis(a, axes, range(len(axes)))
        flat = moved.reshape(-1, *moved.shape[len(axes) :])
        want = np.linalg.norm(flat.reshape(flat.shape[0], -1), order, axis=0)
        want = want.reshape(flat.shape[1:])
        close(linalg.vector_norm(t(a), order, dim), want)
        kept = linalg.vector_norm(t(a), order, dim, keepdim=True)
        assert kept.ndim == 3 and kept.numel() == want.size
        close(fanal.norm(t(a), order, dim), want)


@pytest.mark.parametrize("order", ["fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf])
def test_matrix_norm(order):
    a = normal(3, 4)
    close(linalg.matrix_norm(t(a), order), np.asarray(np.linalg.norm(a, order)))
    close(linalg.norm(t(a), order), np.asarray(np.linalg.norm(a, order)))
    b = normal(3, 2, 4)
    want = np.stack([np.linalg.norm(b[:, i], order) for i in range(2)])
    close(linalg.matrix_norm(t(b), order, dim=(0, 2)), want)
    assert tuple(linalg.matrix_norm(t(b), order, dim=(0, 2), keepdim=True).shape) == (1, 2, 1)


def test_norms_at_the_edges():
    assert linalg.norm(t(normal(2, 3, 4))).ndim == 0
    assert linalg.vector_norm(t(np.zeros(0))).item() == 0
    x = t(np.zeros(3), grad=True)
    linalg.vector_norm(x).backward()
    assert x.grad.tolist() == [0, 0, 0]
    half = fanal.full((100,), 300.0, dtype=fanal.float16)  # squares would overflow
    assert linalg.vector_norm(half).item() == 3000
    with pytest.raises(RuntimeError, match="takes vectors and matrices"):
        linalg.norm(t(normal(2, 3, 4)), 2)
    with pytest.raises(RuntimeError, match="of no elements is not defined"):
        linalg.vector_norm(t(np.zeros(0)), math.inf)
    with pytest.raises(RuntimeError, match="not a floating tensor"):
        linalg.norm(fanal.arange(3))
    with pytest.raises(RuntimeError, match="not an order of a matrix norm"):
        linalg.matrix_norm(t(normal(2, 2)), 3)


@pytest.mark.parametrize("shape", [(3, 3), (2, 4, 4), (0, 0), (0, 2, 2)])
def test_determinants(shape):
    a = normal(*shape)
    close(linalg.det(t(a)), np.asarray(np.linalg.det(a)))
    sign, size = linalg.slogdet(t(a))
    close(sign * size.exp(), np.asarray(np.linalg.det(a)))
    p = definite(*shape)
    close(t(p).logdet(), np.asarray(np.linalg.slogdet(p)[1]))


def test_determinants_at_the_edges():
    assert math.isnan(fanal.logdet(t(-np.eye(3))).item())
    assert fanal.logdet(t(np.zeros((2, 2)))).item() == -math.inf
    sign, size = fanal.slogdet(t(np.zeros((2, 2))))
    assert (sign.item(), size.item()) == (0, -math.inf)
    # The gradient at a singular matrix is that of its cofactors, not 0 or NaN.
    a = np.array([[1.0, 2, 3], [2, 4, 6], [1, 0, 1]])
    x = t(a, grad=True)
    linalg.det(x).backward()
    minors = [
        [np.linalg.det(np.delete(np.delete(a, i, 0), j, 1)) * (-1) ** (i + j) for j in range(3)]
        for i in range(3)
    ]
    close(x.grad, np.array(minors))


@pytest.mark.parametrize("scale", [0.1, 1, 10, 60])
def test_matrix_exp(scale):
    a = normal(2, 4, 4) * scale
    want = np.stack([scipy.linalg.expm(m) for m in a])
    got = linalg.matrix_exp(t(a)).numpy()
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-11 * np.abs(want).max())


@pytest.mark.parametrize("n", [0, 1, 2, 5, 8, -1, -3])
def test_matrix_power(n):
    a = regular(2, 3, 3)
    close(linalg.matrix_power(t(a), n), np.linalg.matrix_power(a, n))


def test_chains():
    parts = [normal(3, 4), normal(4, 2, seed=1), normal(2, 5, seed=2)]
    want = np.linalg.multi_dot(parts)
    close(linalg.multi_dot([t(p) for p in parts]), want)
    close(fanal.chain_matmul(*map(t, parts)), want)
    v, w = normal(4), normal(2)
    close(linalg.multi_dot([t(v), t(parts[1]), t(w)]), np.asarray(v @ parts[1] @ w))
    with pytest.raises(RuntimeError, match="tensors 0 and 1 can't be multiplied"):
        linalg.multi_dot([t(normal(2, 3)), t(normal(2, 3))])


def test_small_products():
    a, b = normal(2, 3), normal(2, 3, seed=1)
    close(linalg.cross(t(a), t(b)), np.cross(a, b))
    close(linalg.vecdot(t(a), t(b)), (a * b).sum(-1))
    close(linalg.vander(t(a), N=4), np.stack([np.vander(r, 4, increasing=True) for r in a]))
    powers = linalg.vander(fanal.tensor([1, 2, 200], dtype=fanal.uint8), N=3)
    assert powers.dtype is fanal.int64
    assert powers.tolist() == [[1, 1, 1], [1, 2, 4], [1, 200, 40000]]
    close(linalg.diagonal(t(normal(2, 3, 4))), normal(2, 3, 4).diagonal(0, -2, -1))
