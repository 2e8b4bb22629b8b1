"""Jacobians and Hessians against formulas, and products with them against the matrices."""

from __future__ import annotations

import pytest

import fanal
from fanal.autograd.functional import grad, hessian, hvp, jacobian, jvp, vjp

X = fanal.tensor([[0.3, -1.2, 0.7], [1.1, 0.2, -0.4]], dtype=fanal.float64)
Y = fanal.tensor([0.5, 2.0, -0.3], dtype=fanal.float64)


def test_jacobian_of_an_elementwise_function_is_diagonal() -> None:
    found = jacobian(fanal.sin, Y)
    assert fanal.allclose(found, fanal.diag(fanal.cos(Y))) and not found.requires_grad
    assert jacobian(fanal.sin, X).shape == (2, 3, 2, 3)


def test_several_inputs_and_outputs() -> None:
    (by_x, by_y), (none, ones) = jacobian(lambda x, y: ((x * y).sum(1), y + 1), (X, Y))
    assert fanal.allclose(by_y, X) and by_x.shape == (2, 2, 3)
    assert float(none.abs().sum()) == 0 and fanal.equal(ones, fanal.eye(3, dtype=fanal.float64))


def test_hessian() -> None:
    assert fanal.allclose(hessian(lambda y: (y**3).sum(), Y), fanal.diag(6 * Y))
    (xx, xy), (yx, yy) = hessian(lambda x, y: (x * y**2).sum(), (X[0], Y))
    assert float(xx.abs().sum()) == 0 and fanal.allclose(yy, fanal.diag(2 * X[0]))
    assert fanal.allclose(xy, fanal.diag(2 * Y)) and fanal.allclose(yx, xy.T)
    with pytest.raises(RuntimeError, match="one number"):
        hessian(fanal.sin, Y)


def test_products_are_those_of_the_matrices() -> None:
    def f(y: fanal.Tensor) -> fanal.Tensor:
        return X @ y.exp()

    J, u, v = jacobian(f, Y), fanal.tensor([1.0, -2.0], dtype=fanal.float64), Y * 2 + 1
    assert fanal.allclose(vjp(f, Y, u)[1], u @ J) and fanal.allclose(jvp(f, Y, v)[1], J @ v)

    def g(y: fanal.Tensor) -> fanal.Tensor:
        return f(y).square().sum()

    assert fanal.allclose(hvp(g, Y, v)[1], hessian(g, Y) @ v)


def test_a_jacobian_can_be_derived_again() -> None:
    y = Y.clone().requires_grad_()
    jacobian(lambda y: y**3, y, create_graph=True).sum().backward()
    assert fanal.allclose(y.grad, 6 * Y)
    rows = grad(y**2, y, fanal.eye(3, dtype=fanal.float64), is_grads_batched=True)[0]
    assert fanal.allclose(rows, fanal.diag(2 * Y))


def test_strict() -> None:
    with pytest.raises(RuntimeError, match="does not depend"):
        jacobian(lambda x: Y * 2, X, strict=True)
