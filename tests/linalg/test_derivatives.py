"""First and second derivatives of every function against central differences, in float64."""

from __future__ import annotations

import numpy as np
import pytest

import fanal
from fanal import linalg
from fanal.autograd import gradcheck, gradgradcheck
from tests.linalg.matrices import definite, normal, regular, symmetric, t


def sym(x):
    return (x + x.mT) * 0.5


def squares(parts):
    """What does not depend on the signs of vectors: the squares of their elements."""
    return tuple(p * p for p in parts)


CASES = {
    "cholesky": (lambda x: linalg.cholesky(sym(x)), [definite(2, 3, 3)]),
    "cholesky upper": (lambda x: linalg.cholesky(sym(x), upper=True), [definite(3, 3)]),
    "cholesky_inverse": (lambda x: fanal.cholesky_inverse(x.tril()), [regular(3, 3)]),
    "qr": (linalg.qr, [normal(4, 3)]),
    "qr wide": (linalg.qr, [normal(3, 5)]),
    "qr r": (lambda x: linalg.qr(x, "r")[1], [normal(3, 3)]),
    "eigh": (lambda x: squares(linalg.eigh(sym(x))), [symmetric(3, 3)]),
    "eigvalsh": (lambda x: linalg.eigvalsh(sym(x)), [symmetric(2, 3, 3)]),
    "svd": (lambda x: squares(linalg.svd(x, full_matrices=False)), [normal(3, 3)]),
    "svd tall": (lambda x: squares(linalg.svd(x, full_matrices=False)), [normal(4, 2)]),
    "svd wide": (lambda x: squares(linalg.svd(x, full_matrices=False)), [normal(2, 3)]),
    "svdvals": (linalg.svdvals, [normal(2, 3, 4)]),
    "lu": (lambda x: linalg.lu(x)[1:], [normal(3, 3)]),
    "lu tall": (lambda x: linalg.lu(x)[1:], [normal(4, 2)]),
    "lu_factor": (lambda x: linalg.lu_factor(x).LU, [normal(2, 4)]),
    "lu_solve": (
        lambda x, b: linalg.lu_solve(*linalg.lu_factor(x), b, adjoint=True),
        [regular(3, 3), normal(3, 2)],
    ),
    "solve": (linalg.solve, [regular(2, 3, 3), normal(3, 2)]),
    "solve right": (lambda a, b: linalg.solve(a, b, left=False), [regular(3, 3), normal(2, 3)]),
    "solve_triangular": (
        lambda a, b: linalg.solve_triangular(a, b, upper=True), [regular(3, 3), normal(3, 2)],
    ),
    "solve_triangular unit": (
        lambda a, b: linalg.solve_triangular(a, b, upper=False, left=False, unitriangular=True),
        [normal(3, 3), normal(2, 3)],
    ),
    "inv": (linalg.inv, [regular(2, 3, 3)]),
    "pinv": (linalg.pinv, [normal(4, 3)]),
    "lstsq": (lambda a, b: linalg.lstsq(a, b).solution, [normal(4, 2), normal(4, 2, seed=1)]),
    "lstsq wide": (lambda a, b: linalg.lstsq(a, b).solution, [normal(2, 4), normal(2)]),
    "det": (linalg.det, [normal(2, 3, 3)]),
    "det singular": (linalg.det, [np.array([[1.0, 2, 0], [2, 4, 0], [0, 1, 1]])]),
    "slogdet": (lambda x: linalg.slogdet(x)[1], [regular(3, 3)]),
    "logdet": (fanal.logdet, [definite(3, 3)]),
    "matrix_exp": (linalg.matrix_exp, [normal(2, 3, 3)]),
    "matrix_power": (lambda x: linalg.matrix_power(x, -3), [regular(3, 3)]),
    "norm 3": (lambda x: linalg.vector_norm(x, 3, 1), [normal(2, 3)]),
    "norm nuc": (lambda x: linalg.matrix_norm(x, "nuc"), [normal(3, 2)]),
    "norm 2": (lambda x: linalg.matrix_norm(x, 2), [normal(3, 2)]),
    "cond": (linalg.cond, [regular(3, 3)]),
    "cond 1": (lambda x: linalg.cond(x, "fro"), [regular(3, 3)]),
    "multi_dot": (
        lambda a, b, c: linalg.multi_dot([a, b, c]), [normal(2, 3), normal(3, 2), normal(2)],
    ),
    "householder": (linalg.householder_product, [normal(4, 2), normal(2)]),
    "tensorsolve": (linalg.tensorsolve, [regular(4, 4).reshape(2, 2, 4), normal(2, 2)]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_gradients(name):
    function, arrays = CASES[name]
    inputs = [t(a, grad=True) for a in arrays]
    assert gradcheck(function, inputs)


SECOND = [n for n in CASES if n not in ("norm 2", "lu tall", "tensorsolve", "multi_dot")]


@pytest.mark.parametrize("name", SECOND)
def test_second_derivatives(name):
    function, arrays = CASES[name]
    inputs = [t(a, grad=True) for a in arrays]
    assert gradgradcheck(function, inputs, atol=1e-4)


def test_complete_qr_of_tall_matrices_has_none():
    with pytest.raises(NotImplementedError, match="no derivative for more rows than columns"):
        linalg.qr(t(normal(4, 3), grad=True), "complete")
