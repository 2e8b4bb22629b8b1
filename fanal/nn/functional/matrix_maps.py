"""Maps from free matrices to orthogonal ones, as differentiable composites.

The exponential of a skew matrix is the third one: `fanal.linalg.matrix_exp`.
"""

from __future__ import annotations

from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.linalg import solve
from fanal.nn.functional.composite import composite
from fanal.ops.create import iota_p
from fanal.ops.layout import pad_p
from fanal.ops.matrix.householder import first_columns
from fanal.ops.matrix.parts import diagonal, lower
from fanal.ops.pointwise import eq, trunc
from fanal.ops.promotion import cast
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


@composite
def from_householder(x: Any) -> Any:
    """The orthogonal matrix whose reflections stand below X's diagonal, signs on it."""
    a = lower(x, -1)
    tau = 2.0 / (sum_op(a * a, a.ndim - 2) + 1.0)
    signs = trunc(diagonal(x))
    q = first_columns("householder_product", a, tau)
    return q * reshaped(signs, (*signs.shape[:-1], 1, signs.shape[-1]))


@composite
def cayley(a: Any) -> Any:
    """(I - A/2)⁻¹ (I + A/2), orthogonal for a skew-symmetric A."""
    eye = identity(a)
    return solve(eye - a * 0.5, eye + a * 0.5)
