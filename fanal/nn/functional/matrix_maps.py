"""Maps from free matrices to orthogonal ones, as differentiable composites.

All but `cayley` are products and sums of matrices, so they run as native kernels; the exponential and
the product of reflections in `fanal.linalg` are host primitives, or contain one.
"""

from __future__ import annotations

from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.linalg import solve
from fanal.nn.functional.composite import composite
from fanal.ops.create import iota_p
from fanal.ops.layout import pad_p, slice_dim
from fanal.ops.linear import matmul
from fanal.ops.matrix.parts import diagonal, lower
from fanal.ops.pointwise import abs as absolute
from fanal.ops.pointwise import eq, trunc, where
from fanal.ops.promotion import cast
from fanal.ops.reductions import amax
from fanal.ops.reductions import sum as sum_op
from fanal.ops.shape import reshaped, transpose


def _places(x: Any, dim: int) -> Any:
    return bind(iota_p, shape=tuple(x.shape), dim=dim, dtype=dtypes.int64)


def identity(x: Any) -> Any:
    """Identity matrices of x's shape."""
    return cast(eq(_places(x, x.ndim - 2), _places(x, x.ndim - 1)), x.dtype)


@composite
def skew(x: Any) -> Any:
    """A - Aᵀ of the lower triangle A, widened to a square by zero columns."""
    n, k = x.shape[-2:]
    a = lower(x)
    if n != k:
        zero = (0,) * x.ndim
        high = (*zero[:-1], n - k)
        a = bind(pad_p, a, low=zero, high=high, interior=zero, value=0.0)
    return a - transpose(a, -2, -1)


# Scaled below 1/2, the Taylor series of this degree is exact to float64's last place.
DEGREE, SQUARINGS = 16, 10


@composite
def matrix_exp(a: Any) -> Any:
    """e^A by scaling and squaring: each matrix is divided by 2^s, s ≤ 10, until its norm is small.

    The number of squarings is fixed; a matrix that needs fewer is squared as often as it was halved.
    """
    last = a.ndim - 1
    size = amax(sum_op(absolute(a), last, True), last - 1, True)
    count, scaled = _halvings(a, size)
    eye = identity(a)
    total = eye
    for k in range(DEGREE, 0, -1):  # Horner's rule
        total = eye + matmul(scaled, total) / float(k)
    for step in range(SQUARINGS):
        total = where(count > step, matmul(total, total), total)
    return total


def _halvings(a: Any, size: Any) -> tuple[Any, Any]:
    count, factor = cast(size * 0.0, dtypes.int64), size * 0.0 + 1.0
    for step in range(SQUARINGS):
        large = size > 0.5 * 2.0**step
        count = where(large, step + 1, count)
        factor = where(large, 2.0 ** -(step + 1), factor)
    return count, a * factor


@composite
def householder_product(a: Any, tau: Any) -> Any:
    """The first columns of Π (I - τᵢ vᵢ vᵢᵀ): vᵢ column i of A below its diagonal, 1 on it."""
    k = a.shape[-1]
    last = a.ndim - 1
    v = lower(a, -1) + identity(a)
    q = identity(a)
    for i in range(k - 1, -1, -1):
        column = slice_dim(v, last, i, i + 1)
        t = slice_dim(reshaped(tau, (*tau.shape, 1)), last - 1, i, i + 1)
        q = q - column * t * matmul(transpose(column, -2, -1), q)
    return q


@composite
def from_householder(x: Any) -> Any:
    """The orthogonal matrix whose reflections stand below X's diagonal, signs on it."""
    a = lower(x, -1)
    tau = 2.0 / (sum_op(a * a, a.ndim - 2) + 1.0)
    signs = trunc(diagonal(x))
    return householder_product(a, tau) * reshaped(signs, (*signs.shape[:-1], 1, signs.shape[-1]))


@composite
def cayley(a: Any) -> Any:
    """(I - A/2)⁻¹ (I + A/2), orthogonal for a skew-symmetric A."""
    eye = identity(a)
    return solve(eye - a * 0.5, eye + a * 0.5)
