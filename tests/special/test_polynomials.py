"""Orthogonal polynomials against SciPy and against their defining identities."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special as sc

import fanal
from fanal import special

X = np.linspace(-1.5, 2, 57)
SCIPY = {
    "chebyshev_polynomial_t": sc.eval_chebyt, "chebyshev_polynomial_u": sc.eval_chebyu,
    "hermite_polynomial_h": sc.eval_hermite, "hermite_polynomial_he": sc.eval_hermitenorm,
    "laguerre_polynomial_l": sc.eval_laguerre, "legendre_polynomial_p": sc.eval_legendre,
}  # fmt: skip


@pytest.mark.parametrize("name", SCIPY)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 8, 15])
def test_is_scipys(name, n):
    got = getattr(special, name)(fanal.from_numpy(X.copy()), n).numpy()
    want = SCIPY[name](n, X)
    np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-13 * np.abs(want).max())


@pytest.mark.parametrize("name", [n for n in dir(special) if "polynomial_" in n])
def test_degrees_that_differ(name):
    function, degrees = getattr(special, name), np.arange(57) % 9 - 1
    together = function(fanal.from_numpy(X.copy()), fanal.from_numpy(degrees)).numpy()
    for n in range(-1, 8):
        alone = function(fanal.from_numpy(X.copy()), n).numpy()
        np.testing.assert_array_equal(together[degrees == n], alone[degrees == n])
    assert not together[degrees == -1].any()


def test_chebyshev_of_all_kinds():
    angle = np.linspace(0.1, 3, 30)
    x, half = fanal.from_numpy(np.cos(angle)), angle / 2
    for n in (1, 4, 9, 40):
        rows = {
            "t": np.cos(n * angle), "u": np.sin((n + 1) * angle) / np.sin(angle),
            "v": np.cos((n + 0.5) * angle) / np.cos(half),
            "w": np.sin((n + 0.5) * angle) / np.sin(half),
        }  # fmt: skip
        for letter, want in rows.items():
            got = getattr(special, f"chebyshev_polynomial_{letter}")(x, n).numpy()
            np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-11)
            moved = fanal.from_numpy((np.cos(angle) + 1) / 2)
            shifted = getattr(special, f"shifted_chebyshev_polynomial_{letter}")(moved, n).numpy()
            np.testing.assert_allclose(shifted, want, rtol=1e-9, atol=1e-10)
