"""PyTorch's names of parameters in each namespace, and `out=`."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import fanal
from fanal import linalg
from tests.linalg.matrices import close, definite, normal, regular, t

A, B = t(regular(3, 3)), t(normal(3, 2))
H, TAU = fanal.geqrf(A)
LU, PIVOTS = linalg.lu_factor(A)
L = linalg.cholesky(t(definite(3, 3)))

# A call by position, and the same one with PyTorch's keywords, those in the texts and those taken.
NAMED = {
    "linalg.inv": [dict(A=A), dict(input=A)], "inverse": [dict(input=A), dict(A=A)],
    "linalg.det": [dict(A=A), dict(input=A)], "det": [dict(input=A)],
    "linalg.slogdet": [dict(A=A)], "slogdet": [dict(input=A)], "logdet": [dict(input=A)],
    "linalg.matrix_power": [dict(A=A, n=3), dict(input=A, n=3)], "matrix_power": [dict(input=A, n=3)],
    "linalg.matrix_exp": [dict(A=A), dict(input=A)], "matrix_exp": [dict(A=A), dict(input=A)],
    "linalg.householder_product": [dict(A=H, tau=TAU), dict(input=H, tau=TAU)],
    "orgqr": [dict(input=H, tau=TAU), dict(input=H, input2=TAU)],
    "ormqr": [dict(input=H, tau=TAU, other=B), dict(input=H, input2=TAU, input3=B)],
    "linalg.solve": [dict(A=A, B=B)], "linalg.lstsq": [dict(A=A, B=B), dict(input=A, b=B)],
    "linalg.solve_triangular": [dict(A=A, B=B, upper=True), dict(input=A, B=B, upper=True)],
    "linalg.lu_solve": [dict(LU=LU, pivots=PIVOTS, B=B)],
    "lu_solve": [dict(b=B, LU_data=LU, LU_pivots=PIVOTS), dict(input=B, LU_data=LU, LU_pivots=PIVOTS)],
    "cholesky_solve": [dict(B=B, L=L), dict(input=B, input2=L)],
    "cholesky_inverse": [dict(L=L), dict(input=L)],
    "triangular_solve": [dict(b=B, A=A), dict(input=B, A=A)],
    "linalg.pinv": [dict(A=A, rtol=0.1), dict(input=A, rtol=0.1)], "pinverse": [dict(input=A)],
    "linalg.svdvals": [dict(A=A), dict(input=A)], "linalg.eigvalsh": [dict(A=A), dict(input=A)],
    "linalg.norm": [dict(A=A), dict(input=A)], "linalg.vector_norm": [dict(x=A), dict(input=A)],
    "linalg.matrix_norm": [dict(A=A)], "linalg.cond": [dict(A=A), dict(input=A)],
    "linalg.tensorinv": [dict(A=A, ind=1)], "linalg.tensorsolve": [dict(A=A, B=B[:, 0])],
    "linalg.cross": [dict(input=A, other=A)], "linalg.vecdot": [dict(x=A, y=A)],
}  # fmt: skip


def function(name):
    space, _, last = name.rpartition(".")
    return getattr(linalg if space else fanal, last)


def parts(result):
    return list(result) if isinstance(result, tuple) else [result]


@pytest.mark.parametrize("name", NAMED)
def test_parameters_by_name(name):
    first, *others = NAMED[name]
    named = inspect.signature(function(name)).parameters
    assert set(first) <= set(named)
    want = parts(function(name)(**first))
    for keywords in others:
        for got, expected in zip(parts(function(name)(**keywords)), want):
            np.testing.assert_array_equal(got.numpy(), expected.numpy())


def test_a_parameter_by_two_names():
    with pytest.raises(TypeError, match=r"^\[inv\] an argument is given by two names"):
        linalg.inv(A=A, input=A)


OUT = {
    "cholesky": lambda **k: linalg.cholesky(A @ A.mT, **k),
    "cholesky_ex": lambda **k: linalg.cholesky_ex(A @ A.mT, **k),
    "cond": lambda **k: linalg.cond(A, **k), "det": lambda **k: linalg.det(A, **k),
    "eigh": lambda **k: linalg.eigh(A, **k), "eigvalsh": lambda **k: linalg.eigvalsh(A, **k),
    "householder_product": lambda **k: linalg.householder_product(H, TAU, **k),
    "inv": lambda **k: linalg.inv(A, **k), "inv_ex": lambda **k: linalg.inv_ex(A, **k),
    "lu": lambda **k: linalg.lu(A, **k), "lu_factor": lambda **k: linalg.lu_factor(A, **k),
    "lu_factor_ex": lambda **k: linalg.lu_factor_ex(A, **k),
    "lu_solve": lambda **k: linalg.lu_solve(LU, PIVOTS, B, **k),
    "matrix_norm": lambda **k: linalg.matrix_norm(A, **k),
    "matrix_power": lambda **k: linalg.matrix_power(A, 2, **k),
    "matrix_rank": lambda **k: linalg.matrix_rank(A, **k),
    "multi_dot": lambda **k: linalg.multi_dot([A, B], **k), "norm": lambda **k: linalg.norm(A, **k),
    "pinv": lambda **k: linalg.pinv(A, **k), "qr": lambda **k: linalg.qr(A, **k),
    "slogdet": lambda **k: linalg.slogdet(A, **k), "solve": lambda **k: linalg.solve(A, B, **k),
    "solve_ex": lambda **k: linalg.solve_ex(A, B, **k),
    "solve_triangular": lambda **k: linalg.solve_triangular(A, B, upper=True, **k),
    "svd": lambda **k: linalg.svd(A, **k), "svdvals": lambda **k: linalg.svdvals(A, **k),
    "tensorinv": lambda **k: linalg.tensorinv(A, 1, **k),
    "tensorsolve": lambda **k: linalg.tensorsolve(A, B[:, 0], **k),
    "vecdot": lambda **k: linalg.vecdot(A, A, **k), "cross": lambda **k: linalg.cross(A, A, **k),
    "vector_norm": lambda **k: linalg.vector_norm(A, **k),
    "fanal.inverse": lambda **k: fanal.inverse(A, **k),
    "fanal.matrix_power": lambda **k: fanal.matrix_power(A, -1, **k),
    "fanal.norm": lambda **k: fanal.norm(A, **k), "fanal.qr": lambda **k: fanal.qr(A, **k),
    "fanal.svd": lambda **k: fanal.svd(A, **k), "fanal.geqrf": lambda **k: fanal.geqrf(A, **k),
    "fanal.orgqr": lambda **k: fanal.orgqr(H, TAU, **k),
    "fanal.ormqr": lambda **k: fanal.ormqr(H, TAU, B, **k),
    "fanal.lu": lambda **k: fanal.lu(A, **k),
    "fanal.lu_solve": lambda **k: fanal.lu_solve(B, LU, PIVOTS, **k),
    "fanal.lu_unpack": lambda **k: fanal.lu_unpack(LU, PIVOTS, **k),
    "fanal.cholesky": lambda **k: fanal.cholesky(A @ A.mT, **k),
    "fanal.cholesky_solve": lambda **k: fanal.cholesky_solve(B, L, **k),
    "fanal.cholesky_inverse": lambda **k: fanal.cholesky_inverse(L, **k),
    "fanal.triangular_solve": lambda **k: fanal.triangular_solve(B, A, **k),
    "fanal.chain_matmul": lambda **k: fanal.chain_matmul(A, B, **k),
}  # fmt: skip


@pytest.mark.parametrize("name", OUT)
def test_out(name):
    result = OUT[name]()
    want = parts(result)
    given = [fanal.full(tuple(w.shape), 7, dtype=w.dtype) for w in want]
    got = OUT[name](out=tuple(given) if isinstance(result, tuple) else given[0])
    assert type(got) is type(result)
    for target, back, expected in zip(given, parts(got), want):
        assert back is target
        close(target, expected, 0)


def test_out_of_another_shape_is_resized_and_aliases_are_safe():
    target = fanal.empty(0, dtype=fanal.float64)
    assert linalg.inv(A, out=target) is target and tuple(target.shape) == (3, 3)
    x = A.clone()
    linalg.inv(x, out=x)
    close(x @ A, np.eye(3))
    with pytest.raises(RuntimeError, match=r"out= has no gradient"):
        linalg.inv(A.clone().requires_grad_(), out=target)
    with pytest.raises(RuntimeError, match=r"as many tensors in out as results"):
        linalg.qr(A, out=(target,))
