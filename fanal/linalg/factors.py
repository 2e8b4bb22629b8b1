"""Factorisations: Cholesky, QR, LU."""

from __future__ import annotations

from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused
from fanal.core.errors import message
from fanal.graph.ir import Value
from fanal.linalg.results import LU, QR, CholeskyEx, Geqrf, LUFactor, LUFactorEx
from fanal.ops.create import iota_p
from fanal.ops.host import check_matrices, check_square
from fanal.ops.layout import expand_to, reshape_p
from fanal.ops.matrix.cholesky import cholesky_p
from fanal.ops.matrix.lu import lu_p, order_of_rows, unit_lower
from fanal.ops.matrix.parts import rows, transposed, upper
from fanal.ops.matrix.qr import qr_p
from fanal.ops.pointwise import eq
from fanal.ops.promotion import cast, constant


@fused
def cholesky(A: Any, *, upper: bool = False) -> Any:
    """L with A = L Lᵀ (or U with A = Uᵀ U) of symmetric positive-definite matrices (…, n, n).

    Only one triangle of A is read. Raises LinAlgError, naming the batch element and the leading
    minor, where a matrix is not positive-definite.
    """
    return _cholesky("linalg.cholesky", A, upper, True)[0]


@fused
def cholesky_ex(A: Any, *, upper: bool = False, check_errors: bool = False) -> Any:
    """`cholesky` that tells in `info` where there is no factor (NaN then) instead of raising."""
    return _cholesky("linalg.cholesky_ex", A, upper, check_errors)


def _cholesky(op: str, a: Value, upper_: bool, check: bool) -> CholeskyEx:
    check_square(op, a)
    factor, info = bind(cholesky_p, transposed(a) if upper_ else a, check=op if check else "")
    return CholeskyEx(transposed(factor) if upper_ else factor, info)


@fused
def qr(A: Any, mode: str = "reduced") -> Any:
    """A = Q R for matrices (…, m, n), Q with orthonormal columns, R an upper triangle.

    `mode`: "reduced" Q (…, m, k), R (…, k, n) with k = min(m, n); "complete" Q (…, m, m); "r" only R
    (Q is empty). "complete" has no derivative for m > n.
    """
    check_matrices("linalg.qr", A)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            message("linalg.qr", "unknown mode", repr(mode), "'reduced', 'complete' or 'r'")
        )
    q, r = bind(qr_p, A, mode="complete" if mode == "complete" else "reduced")
    return QR(constant(0, A.dtype, (0,)) if mode == "r" else q, r)


@fused
def geqrf(input: Any) -> Any:
    """QR in Householder's form: R in the upper triangle, the reflectors below it, their factors."""
    check_matrices("geqrf", input)
    return Geqrf(*bind(qr_p, input, mode="raw"))


def factored(op: str, a: Value, pivot: bool, check: bool) -> tuple[Value, Value, Value]:
    """Packed LU, pivots and info, after the checks."""
    check_matrices(op, a)
    factors: tuple[Value, Value, Value] = bind(lu_p, a, pivot=pivot, check=op if check else "")
    return factors


@fused
def lu_factor(A: Any, *, pivot: bool = True) -> Any:
    """P A = L U in LAPACK's packed form, for `lu_solve`: matrices (…, m, n), pivots (…, min(m, n)).

    Raises LinAlgError where a pivot is zero. `pivot=False` exchanges no rows.
    """
    return LUFactor(*factored("linalg.lu_factor", A, pivot, True)[:2])


@fused
def lu_factor_ex(A: Any, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """`lu_factor` that tells in `info` which pivot is zero instead of raising."""
    return LUFactorEx(*factored("linalg.lu_factor_ex", A, pivot, check_errors))


@fused
def lu(A: Any, *, pivot: bool = True) -> Any:
    """A = P L U: a permutation (…, m, m), a unit lower (…, m, k) and an upper triangle (…, k, n)."""
    packed, pivots, _ = factored("linalg.lu", A, pivot, False)
    out = unpacked(packed, pivots)
    return out if pivot else LU(constant(0, A.dtype, (0,)), out.L, out.U)


def unpacked(packed: Value, pivots: Value) -> LU:
    """P, L and U of packed factors."""
    m, n = packed.shape[-2:]
    order = order_of_rows(pivots, m)
    shape = (*order.shape, m)
    # Row order[i] of A is row i of L U, so column i of P has its one in row order[i].
    row = bind(iota_p, shape=shape, dim=len(shape) - 2, dtype=dtypes.int64)
    place = expand_to(bind(reshape_p, order, shape=(*order.shape[:-1], 1, m)), shape)
    permutation = cast(eq(row, place), packed.dtype)
    return LU(permutation, unit_lower(packed), upper(rows(packed, 0, min(m, n))))


@fused
def lu_unpack(
    LU_data: Any, LU_pivots: Any, unpack_data: bool = True, unpack_pivots: bool = True
) -> Any:
    """P, L and U of what `lu_factor` gives; what is not unpacked is empty."""
    check_matrices("lu_unpack", LU_data)
    out, empty = unpacked(LU_data, LU_pivots), constant(0, LU_data.dtype, (0,))
    return LU(
        out.P if unpack_pivots else empty,
        out.L if unpack_data else empty,
        out.U if unpack_data else empty,
    )
