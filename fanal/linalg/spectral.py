"""Eigenvalues, singular values, and what is counted or inverted by them."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused
from fanal.core.errors import Limit, message
from fanal.graph.ir import Value
from fanal.linalg.results import SVD, Eigh
from fanal.ops.host import check_matrices, check_square
from fanal.ops.layout import expand_to, zeros_like_type
from fanal.ops.matrix.eigh import eigh_p, eigvalsh_p
from fanal.ops.matrix.least_squares import pinv_p
from fanal.ops.matrix.parts import transposed
from fanal.ops.matrix.svd import svd_p, svdvals_p
from fanal.ops.pointwise import abs as absolute
from fanal.ops.pointwise import detach, maximum
from fanal.ops.promotion import cast, constant
from fanal.ops.reductions import amax
from fanal.ops.reductions import sum as sum_
from fanal.ops.shape import reshaped

Tolerance = Any


def _lower_form(op: str, a: Value, uplo: str) -> Value:
    check_square(op, a)
    if not isinstance(uplo, str) or uplo.upper() not in ("L", "U"):
        raise RuntimeError(message(op, "unknown UPLO", repr(uplo), "'L' or 'U'"))
    return a if uplo.upper() == "L" else transposed(a)


@fused
def eigh(A: Any, UPLO: str = "L") -> Any:
    """Eigenvalues (…, n), ascending, and eigenvectors (columns) of symmetric matrices (…, n, n).

    Reads the lower triangle, or the upper one with UPLO="U". Gradients of eigenvectors are infinite
    where eigenvalues are equal.
    """
    return Eigh(*bind(eigh_p, _lower_form("linalg.eigh", A, UPLO)))


@fused
def eigvalsh(A: Any, UPLO: str = "L") -> Any:
    """Eigenvalues of symmetric matrices, ascending: (…, n, n) → (…, n)."""
    return bind(eigvalsh_p, _lower_form("linalg.eigvalsh", A, UPLO))


def _no_complex(op: str) -> NoReturn:
    raise Limit(
        message(
            op, "eigenvalues of general matrices are complex numbers, for which there is no dtype yet",
            hint="eigh() for symmetric matrices",
        )
    )  # fmt: skip


def eig(A: Any) -> Any:
    """Not available: eigenvalues of general matrices are complex. Raises NotImplementedError."""
    _no_complex("linalg.eig")


def eigvals(A: Any) -> Any:
    """Not available: eigenvalues of general matrices are complex. Raises NotImplementedError."""
    _no_complex("linalg.eigvals")


def _check_driver(op: str, driver: str | None) -> None:
    if driver is not None:
        raise RuntimeError(message(op, "drivers are for CUDA", repr(driver), "None on the CPU"))


@fused
def svd(A: Any, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    """A = U diag(S) Vᵀ for matrices (…, m, n), S descending.

    With `full_matrices` U is (…, m, m) and Vh (…, n, n), else (…, m, k) and (…, k, n). Gradients of
    vectors are infinite where singular values are equal; the columns that complete U or V are
    constants.
    """
    check_matrices("linalg.svd", A)
    _check_driver("linalg.svd", driver)
    return SVD(*bind(svd_p, A, full=full_matrices))


@fused
def svdvals(A: Any, *, driver: str | None = None) -> Any:
    """Singular values, descending: (…, m, n) → (…, min(m, n))."""
    check_matrices("linalg.svdvals", A)
    _check_driver("linalg.svdvals", driver)
    return bind(svdvals_p, A)


def tolerances(op: str, a: Value, atol: Tolerance, rtol: Tolerance) -> tuple[Value, Value]:
    """Absolute and relative tolerance, one for each matrix; rtol is ε·max(m, n) by default."""
    if rtol is None:
        rtol = 0.0
        if atol is None or (isinstance(atol, int | float) and atol == 0):
            rtol = float(np.finfo(a.dtype.numpy).eps) * max(a.shape[-2:])
        elif isinstance(atol, Value):
            # As in PyTorch: a tensor of zeros stands for the default, element by element.
            from fanal.ops.pointwise import gt, where

            default = float(np.finfo(a.dtype.numpy).eps) * max(a.shape[-2:])
            rtol = where(gt(atol, 0.0), 0.0, constant(default, a.dtype))
    return _tolerance(op, a, atol), _tolerance(op, a, rtol)


def _tolerance(op: str, a: Value, given: Tolerance) -> Value:
    if isinstance(given, Value):
        return detach(expand_to(cast(given, a.dtype), a.shape[:-2]))
    return constant(0.0 if given is None else float(given), a.dtype, a.shape[:-2])


def matrix_rank(
    A: Any, tol: Tolerance = None, hermitian: bool = False, *, atol: Tolerance = None,
    rtol: Tolerance = None,
) -> Any:  # fmt: skip
    """Number of singular values above max(atol, rtol · largest), as int64: (…, m, n) → (…).

    rtol is ε·max(m, n) unless a tolerance is given. `hermitian`: A is symmetric, |eigenvalues| count.
    """
    return _matrix_rank(A, atol if tol is None else tol, rtol, hermitian)


@fused
def _matrix_rank(A: Any, atol: Tolerance, rtol: Tolerance, hermitian: bool) -> Any:
    op = "linalg.matrix_rank"
    (check_square if hermitian else check_matrices)(op, A)
    absolute_, relative = tolerances(op, A, atol, rtol)
    if 0 in A.shape[-2:]:
        return constant(0, dtypes.int64, A.shape[:-2])
    a = detach(A)
    s = absolute(bind(eigvalsh_p, a)) if hermitian else bind(svdvals_p, a)
    cutoff = maximum(absolute_, relative * amax(s, -1))
    return sum_(cast(s > reshaped(cutoff, (*cutoff.shape, 1)), dtypes.int64), -1)


def pinv(
    A: Any, rcond: Tolerance = None, hermitian: bool = False, *, atol: Tolerance = None,
    rtol: Tolerance = None,
) -> Any:  # fmt: skip
    """The pseudo-inverse (…, n, m) of matrices (…, m, n), by singular values.

    Those up to max(atol, rtol · largest) count as 0; rtol is ε·max(m, n) unless a tolerance is given.
    """
    return _pinv(A, atol, rtol if rcond is None else rcond, hermitian)


@fused
def _pinv(A: Any, atol: Tolerance, rtol: Tolerance, hermitian: bool) -> Any:
    op = "linalg.pinv"
    (check_square if hermitian else check_matrices)(op, A)
    if 0 in A.shape[-2:]:
        return zeros_like_type(A, (*A.shape[:-2], A.shape[-1], A.shape[-2]))
    return bind(pinv_p, A, *tolerances(op, A, atol, rtol), hermitian=hermitian)
