"""Systems and inverses: what was solved for is put in again."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fanal
from fanal import linalg
from tests.linalg.matrices import close, normal, regular, t

FITTING = [
    ((3, 3), (3, 2)), ((2, 3, 3), (3, 5)), ((3, 3), (2, 3, 2)), ((2, 1, 3, 3), (5, 3, 2)),
    ((0, 0), (0, 2)), ((3, 3), (3, 0)), ((0, 3, 3), (0, 3, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), FITTING)
def test_solve(a, b):
    a, b = regular(*a), normal(*b, seed=1)
    x = linalg.solve(t(a), t(b))
    close(t(a) @ x, np.broadcast_to(b, x.shape))
    flipped = np.swapaxes(b, -1, -2)
    x = linalg.solve(t(a), t(flipped), left=False)
    close(x @ t(a), np.broadcast_to(flipped, x.shape))
    packed, pivots = linalg.lu_factor(t(a))
    close(linalg.lu_solve(packed, pivots, t(b)), linalg.solve(t(a), t(b)))
    close(linalg.lu_solve(packed, pivots, t(b), adjoint=True), linalg.solve(t(a).mT, t(b)))
    close(linalg.lu_solve(packed, pivots, t(flipped), left=False), x)


def test_vectors_as_right_sides():
    a = regular(2, 3, 3)
    x = linalg.solve(t(a[0]), t(normal(3)))
    close(t(a[0]) @ x, normal(3))
    x = linalg.solve(t(a), t(normal(2, 3)))
    close((t(a) @ x[..., None])[..., 0], normal(2, 3))


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("upper", [True, False])
@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("n", [1, 4, 77])
def test_solve_triangular(left, upper, unit, n):
    a = normal(2, n, n) / n + 2 * np.eye(n)
    b = normal(2, n, 3) if left else normal(2, 3, n)
    x = linalg.solve_triangular(t(a), t(b), upper=upper, left=left, unitriangular=unit)
    m = np.triu(a) if upper else np.tril(a)
    if unit:
        m = m - m * np.eye(n) + np.eye(n)
    close(t(m) @ x if left else x @ t(m), b)


def test_legacy_triangular_solve():
    a, b = regular(3, 3), normal(3, 2)
    x, coefficients = fanal.triangular_solve(t(b), t(a), upper=False, transpose=True)
    close(t(np.tril(a).T) @ x, b)
    close(coefficients, a)


def test_inverses():
    a = regular(2, 3, 3)
    eye = np.broadcast_to(np.eye(3), a.shape)
    for inverse in (linalg.inv(t(a)), t(a).inverse(), linalg.inv_ex(t(a)).inverse):
        close(t(a) @ inverse, eye)
    inverse, info = linalg.inv_ex(t(np.stack([np.eye(2), np.ones((2, 2))])))
    assert info.tolist() == [0, 2] and np.isnan(inverse[1].numpy()).all()
    result, info = linalg.solve_ex(t(np.zeros((2, 2))), t(np.ones(2)))
    assert info.item() == 1 and np.isnan(result.numpy()).all()


@pytest.mark.parametrize("shape", [(3, 3), (4, 3), (2, 3, 4), (0, 3)])
def test_pinv(shape):
    a = normal(*shape)
    close(linalg.pinv(t(a)), np.linalg.pinv(a))
    close(t(a).pinverse(), np.linalg.pinv(a))
    half = linalg.pinv(t(a), rtol=0.5)
    close(half, np.linalg.pinv(a, rcond=0.5))


def test_pinv_of_symmetric_and_singular_matrices():
    a = np.diag([2.0, 0, -1])
    close(linalg.pinv(t(a), hermitian=True), np.diag([0.5, 0, -1]))
    close(linalg.pinv(t(np.ones((2, 3)))), np.full((3, 2), 1 / 6))
    close(linalg.pinv(t(np.diag([1.0, 0.1])), atol=t(0.5)), np.diag([1.0, 0]))


@pytest.mark.parametrize(("a", "b"), [((5, 3), (5, 2)), ((3, 5), (3,)), ((2, 4, 3), (2, 4, 1))])
def test_lstsq(a, b):
    a, b = normal(*a), normal(*b, seed=1)
    x = linalg.lstsq(t(a), t(b)).solution
    columns = b[..., None] if b.ndim < a.ndim else b
    close(x, (np.linalg.pinv(a) @ columns).reshape(x.shape))


def test_lstsq_drivers_say_what_pytorchs_say():
    a, b = normal(5, 3), normal(5, 2)
    sizes = {
        driver: [tuple(r.shape) for r in linalg.lstsq(t(a), t(b), driver=driver)]
        for driver in ("gels", "gelsy", "gelsd", "gelss")
    }
    assert sizes["gels"] == [(3, 2), (2,), (0,), (0,)]
    assert sizes["gelsy"] == [(3, 2), (0,), (), (0,)]
    assert sizes["gelsd"] == sizes["gelss"] == [(3, 2), (2,), (), (3,)]
    rest = linalg.lstsq(t(a), t(b), driver="gelsd")
    close(rest.residuals, ((a @ np.linalg.pinv(a) @ b - b) ** 2).sum(0))
    assert rest.rank.item() == 3
    assert linalg.lstsq(t(np.ones((3, 2))), t(np.ones(3))).rank.item() == 1


def test_tensor_systems():
    a = regular(6, 6).reshape(2, 3, 6)
    x = linalg.tensorsolve(t(a), t(normal(2, 3)))
    close(fanal.tensordot(t(a), x, 1), normal(2, 3))
    b = regular(6, 6).reshape(6, 2, 3)
    inverse = linalg.tensorinv(t(b), ind=1)
    assert tuple(inverse.shape) == (2, 3, 6)
    close(inverse.reshape(6, 6) @ t(b.reshape(6, 6)), np.eye(6))
    with pytest.raises(RuntimeError, match="not a square map"):
        linalg.tensorinv(t(normal(2, 3, 4)), ind=1)


def test_rank_and_condition():
    a = np.stack([np.eye(3), np.diag([1.0, 1, 0]), np.ones((3, 3))])
    assert linalg.matrix_rank(t(a)).tolist() == [3, 2, 1]
    assert linalg.matrix_rank(t(a), hermitian=True).tolist() == [3, 2, 1]
    assert linalg.matrix_rank(t(np.diag([1.0, 0.1])), atol=0.5).item() == 1
    b = regular(3, 3)
    for p in (None, 2, -2, 1, -1, np.inf, -np.inf, "fro", "nuc"):
        close(linalg.cond(t(b), p), np.asarray(np.linalg.cond(b, p)))
    assert linalg.cond(t(np.ones((2, 2))), 1).item() == math.inf
