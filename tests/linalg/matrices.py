"""Matrices of the kinds that the tests of linear algebra take, float64 unless cast."""

from __future__ import annotations

import numpy as np

import fanal


def normal(*shape, seed=0):
    return np.asarray(np.random.default_rng(seed).standard_normal(shape))


def symmetric(*shape, seed=0):
    a = normal(*shape, seed=seed)
    return a + np.swapaxes(a, -1, -2)


def definite(*shape, seed=0):
    a = normal(*shape, seed=seed)
    return a @ np.swapaxes(a, -1, -2) + np.eye(shape[-1])


def regular(*shape, seed=0):
    return normal(*shape, seed=seed) + 3 * np.eye(shape[-1])


def t(array, grad=False):
    """A tensor of an array's own copy."""
    return fanal.from_numpy(np.array(array)).requires_grad_(grad)


def close(got, want, tolerance=1e-10):
    got = got.detach().numpy() if isinstance(got, fanal.Tensor) else got
    want = want.detach().numpy() if isinstance(want, fanal.Tensor) else want
    assert got.shape == want.shape, (got.shape, want.shape)
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
