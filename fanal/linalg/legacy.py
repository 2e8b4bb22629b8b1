"""The older names of linear algebra in the top-level namespace and on Tensor.

They differ from `fanal.linalg` in names or order of arguments, or in what comes first in the result.
"""

from __future__ import annotations

from typing import Any

from fanal.core.dispatch import fused
from fanal.linalg import factors, norms, products, spectral, systems
from fanal.linalg.names import also_named, renamed
from fanal.linalg.results import LegacySVD, TriangularSolve
from fanal.ops.host import check_matrices, check_square
from fanal.ops.matrix.parts import identity, transposed
from fanal.ops.promotion import constant
from fanal.tensor.outputs import takes_out


def cholesky(input: Any, upper: bool = False) -> Any:
    """L with input = L Lᵀ, or U with Uᵀ U; see `linalg.cholesky`."""
    return factors.cholesky(input, upper=upper)


@fused
def cholesky_solve(B: Any, L: Any, upper: bool = False) -> Any:
    """X with A X = B for A = L Lᵀ (or Uᵀ U with `upper`): B (…, n, k), L (…, n, n)."""
    op = "cholesky_solve"
    check_square(op, L)
    check_matrices(op, L, B)
    systems.check_fit(op, L, B, True)
    return _solved(op, L, B, upper)


def _solved(op: str, factor: Any, b: Any, upper: bool) -> Any:
    first, second = (transposed(factor), factor) if upper else (factor, transposed(factor))
    inner = systems.triangular(op, first, b, False, True, False)
    return systems.triangular(op, second, inner, True, True, False)


@fused
def cholesky_inverse(L: Any, upper: bool = False) -> Any:
    """The inverse of A = L Lᵀ (or Uᵀ U with `upper`)."""
    check_square("cholesky_inverse", L)
    return _solved("cholesky_inverse", L, identity(L.shape[-1], L.dtype, L.shape[:-2]), upper)


def qr(input: Any, some: bool = True) -> Any:
    """Q and R; see `linalg.qr`. `some=False` gives a square Q."""
    return factors.qr(input, "reduced" if some else "complete")


@fused
def svd(input: Any, some: bool = True, compute_uv: bool = True) -> Any:
    """U, S and V (not its transpose) with input = U diag(S) Vᵀ; see `linalg.svd`."""
    if not compute_uv:
        m, n = input.shape[-2:]
        batch = input.shape[:-2]
        zeros = (constant(0, input.dtype, (*batch, k, k)) for k in (m, n))
        return LegacySVD(next(zeros), spectral.svdvals(input), next(zeros))
    u, s, vh = spectral.svd(input, not some)
    return LegacySVD(u, s, transposed(vh))


def pinverse(input: Any, rcond: float = 1e-15) -> Any:
    """The pseudo-inverse; see `linalg.pinv`."""
    return spectral.pinv(input, rcond)


def lu(A: Any, pivot: bool = True, get_infos: bool = False) -> Any:
    """Packed factors, pivots and, if asked for, infos; see `linalg.lu_factor_ex`."""
    packed, pivots, info = factors.lu_factor_ex(A, pivot=pivot)
    if get_infos:
        return packed, pivots, info
    return packed, pivots


def lu_solve(b: Any, LU_data: Any, LU_pivots: Any) -> Any:
    """X with A X = b for A factored by `lu`; see `linalg.lu_solve`."""
    return systems.lu_solve(LU_data, LU_pivots, b)


@fused
def triangular_solve(
    b: Any, A: Any, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Any:
    """X with A X = b for a triangle of A, and A itself; see `linalg.solve_triangular`."""
    op = "triangular_solve"
    check_square(op, A)
    check_matrices(op, A, b)
    systems.check_fit(op, A, b, True)
    a = transposed(A) if transpose else A
    x = systems.triangular(op, a, b, upper != transpose, True, unitriangular)
    return TriangularSolve(x, systems.together(op, A, b)[0])


# -- their public form ------------------------------------------------------------------------------

det = renamed(products.det, "det", input="A")
inverse = renamed(takes_out(systems.inv), "inverse", input="A")
logdet = products.logdet
matrix_exp = also_named(products.matrix_exp, input="A")
matrix_power = renamed(takes_out(products.matrix_power), "matrix_power", input="A")
norm = takes_out(norms.legacy_norm)
slogdet = renamed(products.slogdet, "slogdet", input="A")

chain_matmul = takes_out(products.chain_matmul)
cholesky = takes_out(cholesky)
cholesky_inverse = also_named(takes_out(cholesky_inverse), input="L")
cholesky_solve = also_named(takes_out(cholesky_solve), input="B", input2="L")
geqrf = takes_out(factors.geqrf)
lu = takes_out(lu)
lu_solve = also_named(takes_out(lu_solve), input="b")
lu_unpack = takes_out(factors.lu_unpack)
orgqr = also_named(
    renamed(takes_out(products.householder_product), "orgqr", input="A"), input2="tau"
)
ormqr = also_named(takes_out(products.ormqr), input2="tau", input3="other")
qr = takes_out(qr)
svd = takes_out(svd)
triangular_solve = also_named(takes_out(triangular_solve), input="b")
