"""Host calls inside native programs: memory, batches, dtypes, errors, and what raises."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

import fanal
from fanal import linalg
from fanal.core.dispatch import fused
from tests.linalg.matrices import close, definite, normal, regular, symmetric, t

BATCHED = {
    "cholesky": (linalg.cholesky, definite), "inv": (linalg.inv, regular),
    "qr": (lambda x: linalg.qr(x)[1], normal), "lu": (lambda x: linalg.lu_factor(x)[0], normal),
    "svd": (lambda x: linalg.svd(x)[0], normal), "eigh": (lambda x: linalg.eigh(x)[1], symmetric),
    "matrix_exp": (linalg.matrix_exp, normal), "pinv": (linalg.pinv, normal),
    "triangular": (
        lambda x: linalg.solve_triangular(x, x, upper=True), regular,
    ),
    "lstsq": (lambda x: linalg.lstsq(x, x).solution, regular), "det": (linalg.det, normal),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", BATCHED)
def test_a_batch_is_the_loop_bit_for_bit(name, dtype):
    function, draw = BATCHED[name]
    a = draw(3, 2, 36, 36).astype(dtype)
    whole = function(t(a)).numpy()
    assert whole.dtype == dtype
    for index in np.ndindex(3, 2):
        np.testing.assert_array_equal(function(t(a[index])).numpy(), whole[index])


@pytest.mark.parametrize("name", BATCHED)
def test_strides_do_not_matter(name):
    function, draw = BATCHED[name]
    a = draw(2, 5, 5)
    wide = np.zeros((5, 2, 10))
    wide[:, :, ::2] = np.moveaxis(a, 0, 1)
    view = fanal.from_numpy(wide)[:, :, ::2].permute(1, 0, 2)
    assert not view.is_contiguous()
    np.testing.assert_array_equal(function(view).numpy(), function(t(a)).numpy())
    turned = fanal.from_numpy(np.ascontiguousarray(np.swapaxes(a, -1, -2))).mT
    np.testing.assert_array_equal(function(turned).numpy(), function(t(a)).numpy())


def test_within_a_larger_program():
    @fused
    def step(x, y):
        return fanal.sum(linalg.solve(x * 2 + 1, y - 1) * 3, -1)

    a, b = regular(3, 3), normal(3, 2)
    close(step(t(a), t(b)), (np.linalg.solve(a * 2 + 1, b - 1) * 3).sum(-1))


def test_lstsq_within_a_larger_program():
    step = fused(lambda a, b: linalg.lstsq(a, b).solution * 2)
    close(step(t(normal(4, 2)), t(normal(4))), np.linalg.pinv(normal(4, 2)) @ normal(4) * 2)


def test_programs_outlive_their_callers():
    for n in range(1, 6):
        linalg.inv(t(regular(n, n)))
    gc.collect()
    for n in range(1, 6):
        close(linalg.inv(t(regular(n, n))), np.linalg.inv(regular(n, n)))


def test_from_several_threads():
    a, results = regular(40, 40), []

    def work():
        results.append([linalg.inv(t(a)).numpy() for _ in range(20)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    want = linalg.inv(t(a)).numpy()
    assert len(results) == 4
    for inverse in (x for r in results for x in r):
        np.testing.assert_array_equal(inverse, want)


def test_errors_do_not_stick():
    for _ in range(3):
        with pytest.raises(linalg.LinAlgError):
            linalg.inv(t(np.zeros((2, 2))))
        close(linalg.inv(t(np.eye(2))), np.eye(2))


STACK = np.stack([np.eye(2), np.ones((2, 2))])
MESSAGES = [
    (lambda: linalg.cholesky(t(-np.eye(2))), r"the matrix is not positive-definite: its leading "
     r"minor of order 1"),
    (lambda: linalg.cholesky(t(np.stack([np.eye(3), np.diag([1.0, -1, 1])]))),
     r"\[linalg.cholesky\] the matrix \(batch element 1\) .*minor of order 2 is not positive\. Try"),
    (lambda: linalg.inv(t(STACK)), r"\[linalg.inv\] the matrix \(batch element 1\) is singular: "
     r"pivot 2 is zero"),
    (lambda: linalg.inv(t(STACK[None])), r"batch element \(0, 1\)"),
    (lambda: linalg.solve(t(STACK), t(normal(2, 2))), r"\[linalg.solve\].*batch element 1"),
    (lambda: linalg.inv_ex(t(STACK), check_errors=True), r"\[linalg.inv_ex\]"),
    (lambda: linalg.lu_factor(t(np.zeros((2, 2)))), r"\[linalg.lu_factor\].*pivot 1 is zero"),
    (lambda: linalg.matrix_power(t(np.zeros((2, 2))), -1), r"\[linalg.matrix_power\]"),
    (lambda: linalg.svd(t(np.full((2, 2), np.nan))), r"\[linalg.svd\] the algorithm did not conv"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "text"), MESSAGES, ids=range(len(MESSAGES)))
def test_linalg_errors(call, text):
    with pytest.raises(linalg.LinAlgError, match=text):
        call()


REFUSED = [
    (lambda: linalg.inv(t(normal(2, 3))), RuntimeError, "the matrix is not square"),
    (lambda: linalg.det(t(normal(3))), RuntimeError, "not a matrix"),
    (lambda: linalg.cholesky(fanal.ones(2, 2).long()), RuntimeError, "expected float32 or float64"),
    (lambda: linalg.svd(fanal.ones(2, 2).half()), NotImplementedError, "not defined for this dtype"),
    (lambda: linalg.solve(t(normal(3, 3)), t(normal(4, 2))), RuntimeError, "A X = B.*B with 3 rows"),
    (lambda: linalg.solve(t(normal(3, 3)), fanal.ones(3, 2)), RuntimeError, "different dtypes"),
    (lambda: linalg.eig(t(normal(3, 3))), NotImplementedError, "complex numbers"),
    (lambda: linalg.eigh(t(normal(3, 3)), "X"), RuntimeError, "unknown UPLO"),
    (lambda: linalg.qr(t(normal(3, 3)), "some"), RuntimeError, "unknown mode"),
    (lambda: linalg.lstsq(t(normal(3, 3)), t(normal(3)), driver="x"), RuntimeError, "unknown driver"),
    (lambda: linalg.lu_solve(t(normal(2, 2)), t(np.ones(2)), t(normal(2, 1))), RuntimeError, "int32"),
    (lambda: linalg.multi_dot([t(normal(2))]), RuntimeError, "too few tensors"),
    (lambda: linalg.householder_product(t(normal(2, 3)), t(normal(2))), RuntimeError, "don't fit"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "text"), REFUSED, ids=range(len(REFUSED)))
def test_refused(call, error, text):
    with pytest.raises(error, match=rf"^\[[a-z_.]+\] .*{text}"):
        call()


def test_float32_is_rounded_once():
    a = definite(6, 6).astype(np.float32)
    exact = np.linalg.inv(a.astype(np.float64))
    np.testing.assert_array_equal(linalg.inv(t(a)).numpy(), exact.astype(np.float32))
