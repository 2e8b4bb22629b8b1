"""Special functions against mpmath (float64) and against their own float64 (float32).

The functions that have machine code of their own are held to ulps in tests/native; here it is what
users call: formulas, promotion, special values.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special as sc
from mpmath import mp

import fanal
from fanal import special

WIDE = np.concatenate([np.linspace(-6, 6, 61), np.linspace(0.01, 0.99, 25), [12.5, 40.25]])
CASES = {
    "airy_ai": mp.airyai, "bessel_j0": lambda x: mp.besselj(0, x),
    "bessel_j1": lambda x: mp.besselj(1, x), "bessel_y0": lambda x: mp.bessely(0, x),
    "bessel_y1": lambda x: mp.bessely(1, x), "digamma": lambda x: mp.psi(0, x), "erf": mp.erf,
    "entr": lambda x: -x * mp.log(x) if x > 0 else 0 if x == 0 else -mp.inf, "erfc": mp.erfc,
    "erfcx": lambda x: mp.exp(x * x) * mp.erfc(x), "erfinv": mp.erfinv,
    "exp2": lambda x: mp.mpf(2) ** x, "expit": lambda x: 1 / (1 + mp.exp(-x)), "expm1": mp.expm1,
    "gammaln": lambda x: mp.log(abs(mp.gamma(x))), "i0": lambda x: mp.besseli(0, x),
    "i0e": lambda x: mp.besseli(0, x) * mp.exp(-abs(x)), "i1": lambda x: mp.besseli(1, x),
    "i1e": lambda x: mp.besseli(1, x) * mp.exp(-abs(x)), "log1p": lambda x: mp.log(1 + x),
    "log_ndtr": lambda x: mp.log(mp.ncdf(x)), "logit": lambda x: mp.log(x / (1 - x)),
    "modified_bessel_i0": lambda x: mp.besseli(0, x),
    "modified_bessel_i1": lambda x: mp.besseli(1, x),
    "modified_bessel_k0": lambda x: mp.besselk(0, x),
    "modified_bessel_k1": lambda x: mp.besselk(1, x), "ndtr": mp.ncdf,
    "ndtri": lambda p: mp.sqrt(2) * mp.erfinv(2 * p - 1), "psi": lambda x: mp.psi(0, x),
    "scaled_modified_bessel_k0": lambda x: mp.besselk(0, x) * mp.exp(x),
    "scaled_modified_bessel_k1": lambda x: mp.besselk(1, x) * mp.exp(x), "sinc": mp.sincpi,
    "spherical_bessel_j0": mp.sinc,
}  # fmt: skip
POSITIVE = {n for n in CASES if "_k" in n or "_y" in n} | {"digamma", "psi", "gammaln", "log1p"}
UNIT = {"erfinv": (-1, 1), "logit": (0, 1), "ndtri": (0, 1)}


def arguments(name):
    low, high = UNIT.get(name, (0 if name in POSITIVE else -math.inf, math.inf))
    return WIDE[(WIDE > low) & (WIDE < high)]


@pytest.mark.parametrize("name", CASES)
def test_value(name):
    x = arguments(name)
    with mp.workdps(40):
        want = np.array([float(CASES[name](mp.mpf(float(v)))) for v in x])
    got = getattr(special, name)(fanal.from_numpy(x.copy())).numpy()
    # Beside a root an error counts against the size around it.
    np.testing.assert_allclose(got, want, rtol=2e-14, atol=2e-15)
    single = getattr(special, name)(fanal.from_numpy(x.astype(np.float32))).numpy()
    wide = getattr(special, name)(fanal.from_numpy(x.astype(np.float32).astype(np.float64))).numpy()
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, wide, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", CASES)
def test_integers_and_nan(name):
    given = fanal.tensor([1, 2]) if name not in UNIT else fanal.tensor([0, 0])
    assert getattr(special, name)(given).dtype is fanal.float32
    assert math.isnan(getattr(special, name)(fanal.tensor([math.nan]))[0].item())


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 25])
def test_polygamma(n):
    x = np.array([0.1, 0.75, 1, 2.5, 8, 40])
    got = special.polygamma(n, fanal.from_numpy(x)).numpy()
    with mp.workdps(40):
        want = [float(mp.psi(n, mp.mpf(float(v)))) for v in x]
    np.testing.assert_allclose(got, want, rtol=1e-13)
    np.testing.assert_array_equal(fanal.from_numpy(x).polygamma(n).numpy(), got)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("xlogy", sc.xlogy), ("xlog1py", sc.xlog1py), ("zeta", sc.zeta), ("gammainc", sc.gammainc),
        ("gammaincc", sc.gammaincc),
    ],
)  # fmt: skip
def test_two_arguments(name, reference):
    a, b = np.meshgrid([1.5, 2, 3.25, 7], [0.25, 1, 2.5, 9])
    function = getattr(special, name)
    got = function(fanal.from_numpy(a), fanal.from_numpy(b)).numpy()
    np.testing.assert_allclose(got, reference(a, b), rtol=1e-13)
    np.testing.assert_allclose(function(2.0, fanal.from_numpy(b)).numpy(), reference(2.0, b), rtol=1e-13)
    np.testing.assert_allclose(function(fanal.from_numpy(a), 2.0).numpy(), reference(a, 2.0), rtol=1e-13)


def test_edges():
    inf, nan = math.inf, math.nan
    rows = {
        "entr": ([0, -1, inf, 1], [0, -inf, -inf, 0]), "logit": ([0, 1, 0.5], [-inf, inf, 0]),
        "modified_bessel_k0": ([0, inf, -1], [inf, 0, nan]), "sinc": ([0, 1, inf], [1, 0, nan]),
        "modified_bessel_k1": ([0, inf, -1], [inf, 0, nan]), "erfcx": ([-30, inf, 0], [inf, 0, 1]),
        "spherical_bessel_j0": ([0, inf], [1, 0]), "i0": ([1e10, -inf, 0], [inf, inf, 1]),
        "airy_ai": ([inf, 200], [0, 0]), "ndtr": ([-inf, inf, 0], [0, 1, 0.5]),
    }  # fmt: skip
    for name, (x, want) in rows.items():
        got = getattr(special, name)(fanal.tensor(x, dtype=fanal.float64))
        np.testing.assert_array_equal(got.numpy(), np.array(want, float), err_msg=name)
    zero = special.xlogy(fanal.tensor([0.0, 0.0, 0.0]), fanal.tensor([0.0, -1.0, nan]))
    np.testing.assert_array_equal(zero.numpy(), [0, 0, nan])


def test_the_rest_of_the_page():
    x = fanal.tensor([3.5, 4.25], dtype=fanal.float64)
    want = [sc.multigammaln(3.5, 3), sc.multigammaln(4.25, 3)]
    np.testing.assert_allclose(special.multigammaln(x, 3).numpy(), want)
    np.testing.assert_allclose(fanal.mvlgamma(x, 2).numpy(), x.mvlgamma(2).numpy())
    assert special.round(fanal.tensor([1.266]), decimals=2).item() == pytest.approx(1.27)
    soft = special.softmax(x, 0)
    np.testing.assert_allclose(soft.numpy(), sc.softmax(x.numpy()))
    np.testing.assert_allclose(special.log_softmax(x, 0).numpy(), np.log(soft.numpy()))
    assert special.logsumexp(x, 0).item() == pytest.approx(sc.logsumexp(x.numpy()))
    assert special.softmax(fanal.ones(2), 0, dtype=fanal.float64).dtype is fanal.float64
    held = fanal.logit(fanal.tensor([0.0, 0.5, 1.0]), eps=0.25)
    np.testing.assert_allclose(held.numpy(), [-math.log(3), 0, math.log(3)], rtol=1e-6)
    y = fanal.full((3,), 0.25)
    assert y.logit_() is y and y[0].item() == pytest.approx(-math.log(3))
    with pytest.raises(RuntimeError, match=r"\[polygamma\] a negative order: got -1"):
        special.polygamma(-1, x)
    with pytest.raises(RuntimeError, match=r"\[mvlgamma\] the dimension is not positive"):
        special.multigammaln(x, 0)


def test_half_precision_rounds_once():
    x = fanal.tensor([0.1, 0.3, 0.7]).half()
    got = special.logit(x)
    assert got.dtype is fanal.float16
    np.testing.assert_array_equal(got.numpy(), special.logit(x.float()).half().numpy())
