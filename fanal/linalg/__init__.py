"""Linear algebra, as `torch.linalg`: factorisations, systems, eigenvalues, norms.

Matrices are the last two dimensions, everything before them is a batch. float32 and float64. LAPACK
(through NumPy, and SciPy if it is there) factors and solves, in float64 for both; everything else is
composed of that and native operations. A matrix that has no factor or inverse raises `LinAlgError`,
naming the batch element; the functions in `_ex` tell so in `info` instead.
"""

from fanal.core.errors import LinAlgError
from fanal.linalg import legacy
from fanal.linalg.factors import lu_unpack
from fanal.linalg.namespace import (
    cholesky,
    cholesky_ex,
    cond,
    cross,
    det,
    diagonal,
    eigh,
    eigvalsh,
    householder_product,
    inv,
    inv_ex,
    lstsq,
    lu,
    lu_factor,
    lu_factor_ex,
    lu_solve,
    matrix_exp,
    matrix_norm,
    matrix_power,
    matrix_rank,
    multi_dot,
    norm,
    pinv,
    qr,
    slogdet,
    solve,
    solve_ex,
    solve_triangular,
    svd,
    svdvals,
    tensorinv,
    tensorsolve,
    vecdot,
    vector_norm,
)
from fanal.linalg.products import logdet, matmul, vander
from fanal.linalg.spectral import eig, eigvals
from fanal.tensor.methods import attach

attach({
    "cholesky": legacy.cholesky, "cholesky_inverse": legacy.cholesky_inverse,
    "cholesky_solve": legacy.cholesky_solve, "det": legacy.det, "geqrf": legacy.geqrf,
    "inverse": legacy.inverse, "logdet": logdet, "lu": legacy.lu, "lu_solve": legacy.lu_solve,
    "matrix_exp": legacy.matrix_exp, "matrix_power": legacy.matrix_power, "norm": legacy.norm,
    "orgqr": legacy.orgqr, "ormqr": legacy.ormqr, "pinverse": legacy.pinverse, "qr": legacy.qr,
    "slogdet": legacy.slogdet, "svd": legacy.svd, "triangular_solve": legacy.triangular_solve,
})  # fmt: skip

__all__ = [
    "LinAlgError", "cholesky", "cholesky_ex", "cond", "cross", "det", "diagonal", "eig", "eigh",
    "eigvals", "eigvalsh", "householder_product", "inv", "inv_ex", "lstsq", "lu", "lu_factor",
    "lu_factor_ex", "lu_solve", "matmul", "matrix_exp", "matrix_norm", "matrix_power",
    "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet", "solve", "solve_ex",
    "solve_triangular", "svd", "svdvals", "tensorinv", "tensorsolve", "vander", "vecdot",
    "vector_norm",
]  # fmt: skip
