"""Derivatives of special functions: first and second order against central differences."""

from __future__ import annotations

import numpy as np
import pytest

import fanal
from fanal import special
from fanal.autograd import gradcheck, gradgradcheck

ONE = [
    "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "digamma", "entr", "erf", "erfc", "erfcx",
    "erfinv", "exp2", "expit", "expm1", "gammaln", "i0", "i0e", "i1", "i1e", "log1p", "log_ndtr",
    "logit", "modified_bessel_k0", "modified_bessel_k1", "ndtr", "ndtri",
    "scaled_modified_bessel_k0", "scaled_modified_bessel_k1", "sinc", "spherical_bessel_j0",
]  # fmt: skip


@pytest.mark.parametrize("name", ONE)
def test_first_and_second(name):
    x = fanal.from_numpy(np.array([0.07, 0.3, 0.55, 0.82])).requires_grad_()
    function = getattr(special, name)
    assert gradcheck(function, x)
    assert gradgradcheck(function, x, atol=1e-4)


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_polygamma(n):
    x = fanal.from_numpy(np.array([0.7, 1.5, 4.0])).requires_grad_()
    assert gradcheck(lambda x: special.polygamma(n, x), x)


@pytest.mark.parametrize("name", ["xlogy", "xlog1py"])
def test_both_arguments(name):
    x = fanal.from_numpy(np.array([0.7, 1.5, 4.0])).requires_grad_()
    y = fanal.from_numpy(np.array([0.2, 2.5, 3.0])).requires_grad_()
    assert gradcheck(getattr(special, name), [x, y])
    assert gradgradcheck(getattr(special, name), [x, y])


@pytest.mark.parametrize("name", ["gammainc", "gammaincc", "zeta"])
def test_the_second_argument(name):
    a = fanal.from_numpy(np.array([1.5, 2.5, 4.0]))
    x = fanal.from_numpy(np.array([0.5, 2.5, 3.0])).requires_grad_()
    assert gradcheck(lambda x: getattr(special, name)(a, x), x)


@pytest.mark.parametrize(
    "name",
    [
        "chebyshev_polynomial_t", "shifted_chebyshev_polynomial_t", "hermite_polynomial_h",
        "hermite_polynomial_he",
    ],
)  # fmt: skip
def test_polynomials(name):
    x = fanal.from_numpy(np.array([-0.7, 0.2, 1.5, 0.9])).requires_grad_()
    degrees = fanal.tensor([0, 1, 4, 3])
    assert gradcheck(lambda x: getattr(special, name)(x, degrees), x)


def test_multigammaln_and_the_origin():
    x = fanal.from_numpy(np.array([2.5, 4.0])).requires_grad_()
    assert gradcheck(lambda x: special.multigammaln(x, 3), x)
    zero = fanal.zeros(3, dtype=fanal.float64, requires_grad=True)
    parts = special.sinc(zero).sum() + special.spherical_bessel_j0(zero).sum()
    (parts + special.xlogy(zero, zero.detach()).sum()).backward()
    assert zero.grad.tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", ["airy_ai", "laguerre_polynomial_l", "chebyshev_polynomial_u"])
def test_those_without_a_derivative_say_so(name):
    x = fanal.ones(3, requires_grad=True)
    arguments = (x,) if name == "airy_ai" else (x, 2)
    with pytest.raises(NotImplementedError, match="has no derivative"):
        getattr(special, name)(*arguments).sum().backward()
