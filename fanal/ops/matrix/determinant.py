"""Determinants, from LU factors, with derivatives that also hold at singular matrices.

d det(A) = ⟨C, dA⟩ with the matrix C of cofactors, which is det(A) A⁻ᵀ for a regular A. It is a
polynomial in A, so where A is singular a matrix beside it has nearly the same. The derivative of C is
computed from singular values, by products that leave two out: nothing is divided by.
"""

from __future__ import annotations

import math
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.graph.ir import Value
from fanal.ops.arithmetic import sign_p
from fanal.ops.composed import composed, in_double
from fanal.ops.create import iota_p
from fanal.ops.cumulative import exclusive_product
from fanal.ops.host import MATRIX_DTYPES
from fanal.ops.layout import expand_to, reshape_p
from fanal.ops.matrix.lu import lu_p, order_of_rows, permuted_rows
from fanal.ops.matrix.parts import (
    columns_scaled,
    diagonal,
    identity,
    inner,
    on_diagonal,
    over_matrix,
    product,
    transposed,
)
from fanal.ops.matrix.solve import solve_p
from fanal.ops.matrix.svd import svd_p
from fanal.ops.matrix.triangular import solve_lower, solve_upper
from fanal.ops.pointwise import abs as absolute
from fanal.ops.pointwise import cos, eq, ne, where
from fanal.ops.primitive import Primitive
from fanal.ops.promotion import cast, constant
from fanal.ops.reduce import reduce_max_p, reduce_prod_p, reduce_sum_p
from fanal.ops.transcendental import log_p


def _last(primitive: Primitive, x: Value) -> Value:
    """A reduction of the last dimension."""
    out: Value = bind(primitive, x, dims=(x.ndim - 1,))
    return out


def _eliminated(a: Value) -> tuple[Value, Value]:
    """The diagonal of U, and the sign of the permutation, of PA = LU."""
    packed, pivots, _ = bind(lu_p, a, pivot=True, check="")
    place = bind(iota_p, shape=pivots.shape, dim=pivots.ndim - 1, dtype=dtypes.int32)
    exchanges = _last(reduce_sum_p, cast(ne(pivots, place + 1), dtypes.int32))
    return diagonal(packed), cast(1 - 2 * (exchanges & 1), a.dtype)


def _det(a: Value) -> Value:
    pivots, sign = _eliminated(a)
    return sign * _last(reduce_prod_p, pivots)


det_p: Primitive = composed(
    "det", in_double(_det), MATRIX_DTYPES,
    jvp=lambda t, inputs, outputs: inner(bind(cofactors_p, inputs[0], outputs[0]), t[0]),
    transpose=lambda ct, inputs, linear: [
        over_matrix(ct, inputs[0]) * bind(cofactors_p, inputs[0], bind(det_p, inputs[0]))
    ],
    doc="Determinant of square matrices; 1 for one without elements.",
)  # fmt: skip


# How far beside a singular matrix, relative to its largest element. The pivot that was zero is then
# mostly rounding error, which cancels: det(A) has it as a factor, A⁻¹ as a divisor.
BESIDE = 2.0**-48


def _cofactors(a: Value, det: Value) -> Value:
    n = a.shape[-1]
    if n == 0:
        return a
    step = bind(reduce_max_p, absolute(a), dims=(a.ndim - 2, a.ndim - 1)) * BESIDE + 1e-150
    regular = where(over_matrix(eq(det, 0.0), a), a + over_matrix(step, a) * _generic(a), a)
    packed, pivots, _ = bind(lu_p, regular, pivot=True, check="")
    head, sign = _eliminated(regular)
    missing = where(eq(head, 0.0), bind(reshape_p, step, shape=(*step.shape, 1)), 0.0)
    packed, head = packed + on_diagonal(missing), head + missing
    permutation = permuted_rows(identity(n, a.dtype, a.shape[:-2]), order_of_rows(pivots, n))
    inverse = solve_upper(packed, solve_lower(packed, permutation, True))
    return transposed(inverse) * over_matrix(sign * _last(reduce_prod_p, head), a)


def _generic(a: Value) -> Value:
    """Matrices like a that no structure of a's is likely to fit: cos(φ·i·j) with an irrational φ."""
    i, j = (
        cast(bind(iota_p, shape=a.shape, dim=a.ndim - k, dtype=dtypes.int64) + 1, a.dtype)
        for k in (2, 1)
    )
    return cos(i * j * ((1 + math.sqrt(5)) / 2))


def _cofactors_jvp(t: Any, inputs: Any, outputs: Any) -> Any:
    # In the basis of singular vectors, with M = Uᵀ dA V and D the products without s_i and s_j
    # (signed), the tangent has -M_ji D_ij off the diagonal and Σ_j M_jj D_ij on it.
    if t[0] is None:
        return None
    a = inputs[0]
    u, _, vh = bind(svd_p, a, full=False)
    pairs = bind(pair_products_p, a)
    m = product(transposed(u), t[0], transposed(vh))
    turned = transposed(m) * pairs
    sums = _last(reduce_sum_p, columns_scaled(pairs, diagonal(m)))
    return product(u, on_diagonal(sums) - turned, vh)


cofactors_p: Primitive = composed(
    "cofactors", in_double(_cofactors), MATRIX_DTYPES, jvp=_cofactors_jvp,
    doc=(
        "The matrix of cofactors, ∂ det(A) / ∂A, also where A is singular: which the determinant, the "
        "second operand, tells."
    ),
)  # fmt: skip


def _signed_svd(a: Value) -> tuple[Value, Value, Value, Value]:
    """U, S, Vᵀ and det(U)·det(V) (which is 1 or -1); NaN where a matrix isn't finite."""
    batch = a.shape[:-2]
    # 0 · x is 0 for finite x only; the decomposition refuses all others.
    broken = ne(bind(reduce_sum_p, a * 0.0, dims=(a.ndim - 2, a.ndim - 1)), 0.0)
    u, s, vh = bind(svd_p, where(over_matrix(broken, a), 0.0, a), full=False)
    sign = where(_det(u) * _det(vh) > 0.0, constant(1, a.dtype, batch), -1.0)
    return u, s, vh, where(broken, float("nan"), sign)


def _without(s: Value) -> Value:
    """Products of all elements of the last dimension but one."""
    dim = s.ndim - 1
    return exclusive_product(s, dim, False) * exclusive_product(s, dim, True)


def _pair_products(a: Value) -> Value:
    if a.shape[-1] == 0:
        return a
    _, s, _, sign = _signed_svd(a)
    row = expand_to(bind(reshape_p, s, shape=(*s.shape[:-1], 1, s.shape[-1])), a.shape)
    diagonal_ = expand_to(identity(s.shape[-1], dtypes.bool_), a.shape)
    # Row i holds all singular values with 1 in the place of s_i, and products without one of them.
    out = _without(where(diagonal_, 1.0, row)) * over_matrix(sign, a)
    return where(diagonal_, 0.0, out)


def _pair_products_jvp(t: Any, inputs: Any, outputs: Any) -> Any:
    # D_ij = ± det / (s_i s_j), so its logarithmic derivative is a sum of those of singular values.
    pairs = outputs[0]
    u, s, vh = bind(svd_p, inputs[0], full=False)
    rate = diagonal(product(transposed(u), t[0], transposed(vh))) / s
    whole = over_matrix(_last(reduce_sum_p, rate), pairs)
    row = expand_to(bind(reshape_p, rate, shape=(*rate.shape, 1)), pairs.shape)
    return pairs * (whole - row - transposed(row))


pair_products_p = composed(
    "pair_products", in_double(_pair_products), MATRIX_DTYPES, jvp=_pair_products_jvp,
    doc=(
        "Signed products of all singular values but two, 0 on the diagonal; as a function of A for "
        "the derivative of its cofactors (third derivatives of det need A to be regular)."
    ),
)  # fmt: skip


def _slogdet(a: Value) -> tuple[Value, Value]:
    pivots, sign = _eliminated(a)
    signs = _last(reduce_prod_p, bind(sign_p, pivots))
    return sign * signs, _last(reduce_sum_p, bind(log_p, absolute(pivots)))


def _slogdet_jvp(t: Any, inputs: Any, outputs: Any) -> Any:
    a = inputs[0]
    inverse = bind(solve_p, a, identity(a.shape[-1], a.dtype, a.shape[:-2]), check="")
    return None, inner(transposed(inverse), t[0])


slogdet_p: Primitive = composed(
    "slogdet", in_double(_slogdet), MATRIX_DTYPES, multiple=True, jvp=_slogdet_jvp,
    doc="Sign of the determinant (0 if singular) and the logarithm of its magnitude (-∞ then).",
)  # fmt: skip
