"""Linear algebra, as `torch.linalg`: factorisations, systems, eigenvalues, norms.

Matrices are the last two dimensions, everything before them is a batch. float32 and float64; LAPACK
(through NumPy) computes in float64 for both. A matrix that has no factor or inverse raises
`LinAlgError`, naming the batch element; the functions in `_ex` tell so in `info` instead.
"""

from fanal.core.errors import LinAlgError
from fanal.linalg import legacy
from fanal.linalg.factors import (
    cholesky,
    cholesky_ex,
    geqrf,
    lu,
    lu_factor,
    lu_factor_ex,
    lu_unpack,
    qr,
)
from fanal.linalg.norms import cond, legacy_norm, matrix_norm, norm, vector_norm
from fanal.linalg.products import (
    chain_matmul,
    cross,
    det,
    diagonal,
    householder_product,
    logdet,
    matmul,
    matrix_exp,
    matrix_power,
    multi_dot,
    ormqr,
    slogdet,
    vander,
    vecdot,
)
from fanal.linalg.spectral import (
    eig,
    eigh,
    eigvals,
    eigvalsh,
    matrix_rank,
    pinv,
    svd,
    svdvals,
)
from fanal.linalg.systems import (
    inv,
    inv_ex,
    lstsq,
    lu_solve,
    solve,
    solve_ex,
    solve_triangular,
    tensorinv,
    tensorsolve,
)
from fanal.tensor.methods import attach

attach({
    "cholesky": legacy.cholesky, "cholesky_inverse": legacy.cholesky_inverse,
    "cholesky_solve": legacy.cholesky_solve, "det": det, "geqrf": geqrf, "inverse": inv,
    "logdet": logdet, "lu": legacy.lu, "lu_solve": legacy.lu_solve, "matrix_exp": matrix_exp,
    "matrix_power": matrix_power, "norm": legacy_norm, "orgqr": householder_product, "ormqr": ormqr,
    "pinverse": legacy.pinverse, "qr": legacy.qr, "slogdet": slogdet, "svd": legacy.svd,
    "triangular_solve": legacy.triangular_solve,
})  # fmt: skip

__all__ = [
    "LinAlgError", "cholesky", "cholesky_ex", "cond", "cross", "det", "diagonal", "eig", "eigh",
    "eigvals", "eigvalsh", "householder_product", "inv", "inv_ex", "lstsq", "lu", "lu_factor",
    "lu_factor_ex", "lu_solve", "matmul", "matrix_exp", "matrix_norm", "matrix_power",
    "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet", "solve", "solve_ex",
    "solve_triangular", "svd", "svdvals", "tensorinv", "tensorsolve", "vander", "vecdot",
    "vector_norm",
]  # fmt: skip
