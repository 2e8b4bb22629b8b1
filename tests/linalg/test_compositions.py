"""What is composed of few host calls: determinants, exponentials, pseudo-inverses, reflections."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

import fanal
from fanal import linalg
from fanal.autograd import gradcheck, gradgradcheck
from fanal.core.dispatch import fused
from fanal.ops.matrix.lu import order_of_rows
from fanal.ops.primitive import TABLE
from tests.linalg.matrices import close, normal, regular, symmetric, t
from tests.ops.runner import native, trace
from tests.ops.test_forward import CASES as _LOADED  # noqa: F401 - fills the table


def test_the_list_of_host_calls_is_closed():
    assert {p.name for p in TABLE.values() if p.kind == "host"} == {
        "cholesky", "qr", "svd", "svdvals", "eigh", "eigvalsh", "lu", "solve", "triangular_solve",
        "lstsq",
    }  # fmt: skip


# -- determinants ------------------------------------------------------------------------------------

SINGULAR = {
    "rank n-1": np.array([[1.0, 2, 0], [2, 4, 0], [0, 1, 1]]),
    "rank n-1 by rounding": np.arange(9.0).reshape(3, 3),
    "rank n-2": np.outer([1.0, 2, 3], [1.0, -1, 2]),
    "nilpotent": np.triu(np.ones((4, 4)), 1),
    "zeros": np.zeros((2, 2)),
    "equal singular values": np.diag([1.0, 1, 0]),
    "one number": np.zeros((1, 1)),
    "a batch": np.stack([np.eye(3), np.outer([1.0, 2, 3], [1.0, -1, 2]), np.zeros((3, 3))]),
}


def minors(a):
    """Cofactors of one matrix by their definition."""
    n = len(a)
    return np.array([
        [np.linalg.det(np.delete(np.delete(a, i, 0), j, 1)) * (-1) ** (i + j) for j in range(n)]
        for i in range(n)
    ])  # fmt: skip


@pytest.mark.parametrize("name", SINGULAR)
def test_det_is_smooth_at_singular_matrices(name):
    x = t(SINGULAR[name], grad=True)
    linalg.det(x).sum().backward()
    matrices = SINGULAR[name].reshape(-1, *x.shape[-2:])
    close(x.grad, np.stack([minors(m) for m in matrices]).reshape(x.shape), 1e-12)
    assert gradcheck(linalg.det, [x])
    assert gradgradcheck(linalg.det, [x])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(0, 0), (2, 0, 0), (0, 3, 3), (1, 1)])
def test_determinants_of_little_or_nothing(shape, dtype):
    x = t(np.ones(shape, dtype), grad=True)
    for size, function in ((1, linalg.det), (0, lambda a: linalg.slogdet(a)[1])):
        out = function(x)
        assert out.dtype is x.dtype
        np.testing.assert_array_equal(out.detach().numpy(), np.full(shape[:-2], size))
        (grad,) = fanal.autograd.grad(out.sum(), x)
        np.testing.assert_array_equal(grad.numpy(), np.ones(shape))


def test_slogdet_of_singular_matrices_in_a_batch():
    a = np.stack([-np.eye(3), np.zeros((3, 3)), np.eye(3) * 1e200])
    sign, size = linalg.slogdet(t(a))
    assert sign.tolist() == [-1, 0, 1]
    close(size, np.array([0, -math.inf, 600 * math.log(10)]))


def test_determinants_that_are_not_finite():
    for bad in (math.nan, math.inf):
        x = t(np.array([[1.0, 2], [bad, 1]]), grad=True)
        linalg.det(x).backward()
        assert not np.isfinite(x.grad.numpy()).all()


# -- exponentials ------------------------------------------------------------------------------------


def exact_exp(a):
    with mpmath.workdps(50):
        whole = mpmath.expm(mpmath.matrix(a.astype(np.float64).tolist()))
        return np.array(whole.tolist(), np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["general", "skew", "negative"])
@pytest.mark.parametrize("scale", [1e-9, 1e-2, 1.0, 5.0, 1e3])
def test_matrix_exp_is_as_exact_as_its_condition_allows(scale, kind, dtype):
    a = normal(4, 4) * (min(scale, 5.0) if kind == "general" else scale)
    a = {"general": a, "skew": a - a.T, "negative": -(a @ a.T) / scale}[kind].astype(dtype)
    want, got = exact_exp(a), linalg.matrix_exp(t(a)).numpy()
    assert got.dtype == dtype
    size = np.abs(a).sum(0).max()
    bound = 8 * np.finfo(dtype).eps * (1 + size) * (1 if kind == "skew" else 1 + size)
    assert np.linalg.norm(got - want) <= bound * np.linalg.norm(want)


@pytest.mark.parametrize("turns", [1.0, 700.0, 1e6])
def test_matrix_exp_of_large_rotations(turns):
    a = np.array([[0.0, -turns], [turns, 0]])
    c, s = math.cos(turns), math.sin(turns)
    close(linalg.matrix_exp(t(a)), np.array([[c, -s], [s, c]]), 1e-15 * (1 + turns))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_matrix_exp_at_the_edges(dtype):
    large = 1e30 if dtype == np.float32 else 1e300
    shear = linalg.matrix_exp(t(np.array([[0, large], [0, 0]], dtype)))
    np.testing.assert_array_equal(shear.numpy(), np.array([[1, large], [0, 1]], dtype))
    gone = linalg.matrix_exp(t(np.diag([-large, -large]).astype(dtype)))
    np.testing.assert_array_equal(gone.numpy(), np.zeros((2, 2)))
    for bad in (math.nan, math.inf):
        assert np.isnan(linalg.matrix_exp(t(np.array([[bad, 1], [0, 0]], dtype))).numpy()).any()
    for shape in ((0, 0), (2, 0, 0), (0, 3, 3)):
        assert tuple(linalg.matrix_exp(t(np.ones(shape, dtype))).shape) == shape


def test_matrix_exp_does_not_depend_on_what_else_is_in_the_batch():
    a = np.stack([normal(3, 3) * scale for scale in (1e-3, 1.0, 40.0)])
    a[2] -= a[2].T
    whole = linalg.matrix_exp(t(a)).numpy()
    for one, want in zip(a, whole):
        np.testing.assert_array_equal(linalg.matrix_exp(t(one)).numpy(), want)
    traced = fused(lambda x: linalg.matrix_exp(x))
    np.testing.assert_array_equal(traced(t(a)).numpy(), whole)
    assert gradcheck(traced, [t(a[:2], grad=True)])


def test_derivatives_of_matrix_exp_where_it_is_squared_often():
    a = 30 * (normal(3, 3) - normal(3, 3).T)
    x = t(a, grad=True)
    assert gradcheck(linalg.matrix_exp, [x])
    assert gradgradcheck(linalg.matrix_exp, [x], atol=1e-4)
    # Linear in the cotangent, however large that is against the matrix.
    out = linalg.matrix_exp(x)
    (small,) = fanal.autograd.grad(out.sum(), x, retain_graph=True)
    (large,) = fanal.autograd.grad(out.sum() * 2.0**80, x)
    np.testing.assert_array_equal(large.numpy(), small.numpy() * 2.0**80)


# -- the others --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "n"), [((5,), 5), ((3,), 7), ((2, 4), 6), ((0,), 3), ((2, 0), 2)])
def test_order_of_rows_is_the_exchanges_one_by_one(shape, n):
    rng = np.random.default_rng(len(shape) + n)
    pivots = np.array([rng.integers(j + 1, n + 1, shape[:-1]) for j in range(shape[-1])], np.int32)
    pivots = np.moveaxis(pivots.reshape(shape[-1:] + shape[:-1]), 0, -1)
    (got,) = native(trace(lambda p: order_of_rows(p, n), [pivots]), [pivots.copy()])
    for index in np.ndindex(shape[:-1]):
        want = list(range(n))
        for j, other in enumerate(pivots[index] - 1):
            want[j], want[other] = want[other], want[j]
        assert got[index].tolist() == want


def test_pinv_cuts_each_matrix_by_its_own_tolerance():
    a = np.stack([np.diag([1.0, 0.1]), np.diag([1.0, 0.1])])
    tolerance = t(np.array([0.5, 0.01]))
    want = np.stack([np.diag([1.0, 0]), np.diag([1.0, 10])])
    close(linalg.pinv(t(a), rtol=tolerance), want)
    close(linalg.pinv(t(a), atol=tolerance), want)
    close(linalg.pinv(t(a), atol=tolerance, hermitian=True), want)


def test_derivatives_of_pinv_of_fixed_rank():
    left, right = normal(4, 2), normal(2, 3, seed=1)

    def function(x, y):
        return linalg.pinv(x @ y, rtol=1e-8)

    assert gradcheck(function, [t(left, grad=True), t(right, grad=True)])
    assert gradgradcheck(function, [t(left, grad=True), t(right, grad=True)], atol=1e-4)

    def hermitian(x):
        return linalg.pinv(x + x.mT, hermitian=True)

    assert gradcheck(hermitian, [t(symmetric(3, 3), grad=True)])
    assert gradgradcheck(hermitian, [t(symmetric(3, 3), grad=True)], atol=1e-4)


def test_orthogonal_maps_use_the_functions_of_linalg():
    layer = fanal.nn.utils.parametrizations.orthogonal(fanal.nn.Linear(40, 40).double(), "weight")
    with fanal.no_grad():
        layer.parametrizations.weight.original.copy_(t(normal(40, 40) * 300))
    w = layer.weight.detach().numpy()
    assert np.abs(w @ w.T - np.eye(40)).max() < 1e-10  # its exponent has a norm of some thousands


def test_householder_product_with_factors_of_zero():
    a, tau = normal(4, 3), np.array([0.5, 0, 1.2])
    want = np.eye(4)
    for i in range(3):
        v = np.concatenate([np.zeros(i), [1.0], a[i + 1 :, i]])
        want = want @ (np.eye(4) - tau[i] * np.outer(v, v))
    close(linalg.householder_product(t(a), t(tau)), want[:, :3])
    assert gradgradcheck(
        linalg.householder_product, [t(a, grad=True), t(tau, grad=True)], atol=1e-4
    )


def test_geqrf_has_no_derivative():
    with pytest.raises(NotImplementedError, match=r"^\[geqrf\] has no derivative"):
        fanal.geqrf(t(regular(3, 3), grad=True))
