"""The exponential of a matrix: Taylor polynomial with scaling and squaring, in the matrix's dtype.

A is halved s times until its 1-norm is at most θ, where the polynomial is exact to the last place of
the dtype, and the result is squared s times (Higham, Functions of Matrices, 10.3). A graph has a
fixed number of squarings; a matrix that was halved fewer times sits the first ones out.

Derivative in direction E: the upper right block of exp([[A, E], [0, A]]); its adjoint is that for Aᵀ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.core.dtypes import DType
from fanal.graph.ir import Value
from fanal.ops.composed import composed
from fanal.ops.host import MATRIX_DTYPES
from fanal.ops.layout import concat_p, zeros_like_type
from fanal.ops.matrix.parts import columns, identity, over_matrix, product, rows, transposed
from fanal.ops.pointwise import abs as absolute
from fanal.ops.pointwise import ceil, exp2, floor, log2, lt, maximum, where
from fanal.ops.primitive import Primitive
from fanal.ops.promotion import cast
from fanal.ops.reduce import reduce_max_p, reduce_sum_p

# θ, and the polynomial's degree m as step · blocks. The truncation error of the derivative, θᵐ / m!
# at most, is below half a unit in the last place; a larger θ needs fewer squarings, which double errors.
THETA = {dtypes.float32: 2.25, dtypes.float64: 1.25}
DEGREE = {dtypes.float32: (4, 4), dtypes.float64: (4, 5)}


def squarings_in_a_graph(dtype: DType) -> int:
    """How often to square where the number can't depend on the values.

    The exponential's relative condition is at least the norm, so beyond 2 to the number of digits
    no digit of a result would be right; what tends to 0 or to infinity still does.
    """
    return 24 if dtype is dtypes.float32 else 53


def halvings(a: Value) -> Value:
    """How often each matrix (…, n, n) is halved: int64, 0 for what isn't finite."""
    sums = bind(reduce_sum_p, absolute(a), dims=(a.ndim - 2,))
    norm = bind(reduce_max_p, sums, dims=(a.ndim - 2,))
    known = where(lt(norm, math.inf), norm, 0.0)
    return cast(maximum(ceil(log2(known / THETA[a.dtype])), 0.0), dtypes.int64)


def _taylor(a: Value) -> Value:
    """Σ Aᵏ / k! up to the dtype's degree, by Paterson's and Stockmeyer's scheme."""
    step, blocks = DEGREE[a.dtype]
    powers = [identity(a.shape[-1], a.dtype, a.shape[:-2]), a]
    while len(powers) <= step:
        powers.append(product(powers[len(powers) // 2], powers[(len(powers) + 1) // 2]))
    total = powers[step] * (1 / math.factorial(step * blocks))
    for block in range(blocks - 1, -1, -1):
        if block < blocks - 1:
            total = product(powers[step], total)
        total = total + _combined(powers[:step], step * block)
    return total


def _combined(powers: Sequence[Value], first: int) -> Value:
    terms = [x * (1 / math.factorial(first + i)) for i, x in enumerate(powers)]
    out = terms[0]
    for term in terms[1:]:
        out = out + term
    return out


def _exponential(a: Value, count: Value, *, squarings: int) -> Value:
    # In two factors, since 2^-s itself may be below the smallest number.
    half = floor(cast(count, a.dtype) * 0.5)
    rest = cast(count, a.dtype) - half
    scaled = a * over_matrix(exp2(-half), a) * over_matrix(exp2(-rest), a)
    total = _taylor(scaled)
    unit = identity(a.shape[-1], a.dtype, a.shape[:-2])
    for step in range(squarings):
        active = over_matrix(count >= squarings - step, a)
        total = product(total, where(active, total, unit))
    return total


def _derivative(a: Value, direction: Value, count: Value, squarings: int) -> Value:
    n = a.shape[-1]
    above = bind(concat_p, a, direction, dim=a.ndim - 1)
    below = bind(concat_p, zeros_like_type(a), a, dim=a.ndim - 1)
    block = bind(concat_p, above, below, dim=a.ndim - 2)
    # The derivative is linear in the direction: only A's norm decides how often to halve.
    whole = bind(matrix_exp_p, block, count, squarings=squarings)
    return columns(rows(whole, 0, n), n, 2 * n)


def _jvp(t: Any, inputs: Any, outputs: Any, *, squarings: int) -> Any:
    return _derivative(inputs[0], t[0], inputs[1], squarings)


def _transpose(ct: Value, inputs: Any, linear: Any, *, squarings: int) -> Any:
    return [_derivative(transposed(inputs[0]), ct, inputs[1], squarings), None]


matrix_exp_p: Primitive = composed(
    "matrix_exp", _exponential, MATRIX_DTYPES, jvp=_jvp, transpose=_transpose,
    doc=(
        "Σ Aᵏ / k! of square matrices, given how often to halve each; `squarings` is the largest of "
        "these numbers."
    ),
)  # fmt: skip
