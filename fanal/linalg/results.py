"""What the functions return that give several tensors; names of fields are PyTorch's."""

from __future__ import annotations

from typing import Any, NamedTuple


class CholeskyEx(NamedTuple):
    """The factor, and 0 or the order of the first leading minor that is not positive."""

    L: Any
    info: Any


class QR(NamedTuple):
    """Orthonormal columns and the upper triangle."""

    Q: Any
    R: Any


class Eigh(NamedTuple):
    """Eigenvalues in ascending order, eigenvectors as columns."""

    eigenvalues: Any
    eigenvectors: Any


class SVD(NamedTuple):
    """Left vectors as columns, singular values in descending order, right vectors as rows."""

    U: Any
    S: Any
    Vh: Any


class LegacySVD(NamedTuple):
    """As `SVD`, but with the right vectors as columns."""

    U: Any
    S: Any
    V: Any


class LUFactor(NamedTuple):
    """Both factors in one matrix, and the row exchanges, numbered from 1."""

    LU: Any
    pivots: Any


class LUFactorEx(NamedTuple):
    """As `LUFactor`, with 0 or the number of the first zero pivot."""

    LU: Any
    pivots: Any
    info: Any


class LU(NamedTuple):
    """Permutation, unit lower triangle, upper triangle: A = P L U."""

    P: Any
    L: Any
    U: Any


class SolveEx(NamedTuple):
    """The solution, and 0 or the number of the first zero pivot."""

    result: Any
    info: Any


class InvEx(NamedTuple):
    """The inverse, and 0 or the number of the first zero pivot."""

    inverse: Any
    info: Any


class Lstsq(NamedTuple):
    """The solution, sums of squared residuals, ranks, singular values (empty if not computed)."""

    solution: Any
    residuals: Any
    rank: Any
    singular_values: Any


class SlogDet(NamedTuple):
    """Sign of the determinant, and the logarithm of its magnitude."""

    sign: Any
    logabsdet: Any


class Geqrf(NamedTuple):
    """Householder's form of QR: R and the reflectors, and their factors."""

    a: Any
    tau: Any


class TriangularSolve(NamedTuple):
    """The solution and the coefficients."""

    solution: Any
    cloned_coefficient: Any
