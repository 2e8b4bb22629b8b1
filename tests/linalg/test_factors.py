"""Factorisations: what their factors are made into is the matrix again."""

from __future__ import annotations

import numpy as np
import pytest

import fanal
from fanal import linalg
from tests.linalg.matrices import close, definite, normal, regular, symmetric, t

SHAPES = [(3, 3), (5, 3), (3, 5), (2, 4, 3), (2, 3, 2, 2), (0, 3), (3, 0), (0, 2, 2), (70, 50)]


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("shape", [(3, 3), (2, 4, 4), (0, 0), (0, 3, 3), (60, 60)])
def test_cholesky(shape, upper):
    a = definite(*shape)
    f = linalg.cholesky(t(a), upper=upper)
    close(f.mT @ f if upper else f @ f.mT, a)
    np.testing.assert_array_equal(f.numpy(), np.triu(f.numpy()) if upper else np.tril(f.numpy()))
    noise = np.tril(normal(*shape), -1) if upper else np.triu(normal(*shape), 1)
    close(linalg.cholesky(t(a + noise), upper=upper), f)  # only one triangle is read
    b = normal(*shape[:-1], 2, seed=1)
    close(t(a) @ fanal.cholesky_solve(t(b), f, upper), b)
    close(fanal.cholesky_inverse(f, upper) @ t(a), np.broadcast_to(np.eye(shape[-1]), a.shape))


def test_cholesky_ex_says_which_minor():
    a = np.stack([np.eye(3), np.diag([1.0, -1, 1]), np.diag([1.0, 1, 0])])
    l, info = linalg.cholesky_ex(t(a))
    assert info.tolist() == [0, 2, 3] and info.dtype is fanal.int32
    close(l[0], np.eye(3))
    assert np.isnan(l[1].numpy()).all()


@pytest.mark.parametrize("mode", ["reduced", "complete", "r"])
@pytest.mark.parametrize("shape", SHAPES)
def test_qr(shape, mode):
    a = normal(*shape)
    q, r = linalg.qr(t(a), mode)
    close(abs(r), np.abs(np.linalg.qr(a, "complete" if mode == "complete" else "reduced")[1]))
    np.testing.assert_array_equal(r.numpy(), np.triu(r.numpy()))
    if mode == "r":
        assert tuple(q.shape) == (0,)
        return
    close(q @ r, a)
    close(q.mT @ q, np.broadcast_to(np.eye(q.shape[-1]), (*shape[:-2], q.shape[-1], q.shape[-1])))


def test_householder():
    a = normal(2, 5, 3)
    h, tau = fanal.geqrf(t(a))
    q, r = linalg.qr(t(a))
    close(linalg.householder_product(h, tau), q)
    close(h.triu()[:, :3], r)
    full = linalg.qr(t(a), "complete").Q
    b = t(normal(2, 5, 4, seed=1))
    close(fanal.ormqr(h, tau, b), full @ b)
    close(fanal.ormqr(h, tau, b, transpose=True), full.mT @ b)
    close(fanal.ormqr(h, tau, b.mT, left=False), b.mT @ full)


@pytest.mark.parametrize("shape", SHAPES)
def test_lu(shape):
    a = normal(*shape)
    p, l, u = linalg.lu(t(a))
    close(p @ l @ u, a)
    np.testing.assert_array_equal(u.numpy(), np.triu(u.numpy()))
    assert (np.abs(l.numpy()) <= 1).all()  # partial pivoting
    packed, pivots = linalg.lu_factor(t(a))
    assert pivots.dtype is fanal.int32
    for got, want in zip(fanal.lu_unpack(packed, pivots), (p, l, u)):
        close(got, want)
    _, _, plain = linalg.lu(t(regular(3, 3)), pivot=False)
    assert plain.shape == (3, 3)


def test_lu_has_scipys_pivots():
    from scipy.linalg import lu_factor

    a = normal(40, 40)
    want, exchanges = lu_factor(a)
    packed, pivots = linalg.lu_factor(t(a))
    close(packed, want)
    assert pivots.tolist() == (exchanges + 1).tolist()


@pytest.mark.parametrize("shape", SHAPES)
def test_svd(shape):
    a, k = normal(*shape), min(shape[-2:])
    for full in (True, False):
        u, s, vh = linalg.svd(t(a), full_matrices=full)
        close(u[..., :k] * s[..., None, :] @ vh[..., :k, :], a)
        assert tuple(u.shape[-2:]) == (shape[-2], shape[-2] if full else k)
    close(linalg.svdvals(t(a)), s)
    u, s, v = fanal.svd(t(a))
    close(u * s[..., None, :] @ v.mT, a)


@pytest.mark.parametrize("uplo", ["L", "U"])
@pytest.mark.parametrize("shape", [(3, 3), (2, 4, 4), (0, 0)])
def test_eigh(shape, uplo):
    a = symmetric(*shape)
    noise = np.triu(normal(*shape), 1) if uplo == "L" else np.tril(normal(*shape), -1)
    w, v = linalg.eigh(t(a + noise), uplo)
    close(v * w[..., None, :] @ v.mT, a)
    close(linalg.eigvalsh(t(a), uplo), w)
    assert (np.diff(w.numpy()) >= 0).all()
