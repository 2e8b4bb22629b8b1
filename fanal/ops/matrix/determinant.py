"""Determinants, with a derivative that also holds at singular matrices.

d det(A) = ⟨C, dA⟩ with the matrix C of cofactors. C is computed from singular values by products that
leave one out, so nothing is divided by; its own derivative leaves two out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fanal.core.dispatch import bind
from fanal.graph.ir import Type, Value
from fanal.ops.host import host_primitive
from fanal.ops.layout import expand_to, reshape_p
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
from fanal.ops.primitive import Primitive
from fanal.ops.reduce import reduce_sum_p


def _scalar(a: Value) -> list[Type]:
    return [Type(a.dtype, a.shape[:-2])]


det_p = host_primitive(
    "det", np.linalg.det, _scalar,
    jvp=lambda t, inputs, outputs: inner(bind(cofactors_p, inputs[0]), t[0]),
    transpose=lambda ct, inputs, linear: [
        over_matrix(ct, inputs[0]) * bind(cofactors_p, inputs[0])
    ],
    doc="Determinant of square matrices; 1 for one without elements.",
)  # fmt: skip


def _signed_svd(a: Any) -> tuple[Any, Any, Any, Any]:
    """U, S, Vᵀ and det(U)·det(V) (which is 1 or -1); NaN where a matrix isn't finite."""
    finite = np.isfinite(a).all((-1, -2), keepdims=True)
    u, s, vh = np.linalg.svd(np.where(finite, a, 0.0))
    sign = np.where(finite[..., 0, 0], np.rint(np.linalg.det(u) * np.linalg.det(vh)), np.nan)
    return u, s, vh, sign


def _without(s: Any) -> Any:
    """Products of all singular values but one."""
    ones = np.ones_like(s[..., :1])
    before = np.cumprod(np.concatenate([ones, s[..., :-1]], -1), -1)
    after = np.cumprod(np.concatenate([ones, s[..., :0:-1]], -1), -1)[..., ::-1]
    return before * after


def _cofactors(a: Any) -> Any:
    if a.shape[-1] == 0:
        return a
    u, s, vh, sign = _signed_svd(a)
    return np.matmul(u * (sign[..., None] * _without(s))[..., None, :], vh)


def _cofactors_jvp(t: Any, inputs: Any, outputs: Any) -> Any:
    # In the basis of singular vectors, with M = Uᵀ dA V and D the products without s_i and s_j
    # (signed), the tangent has -M_ji D_ij off the diagonal and Σ_j M_jj D_ij on it.
    a = inputs[0]
    u, _, vh = bind(svd_p, a, full=False)
    pairs = bind(pair_products_p, a)
    m = product(transposed(u), t[0], transposed(vh))
    turned = transposed(m) * pairs
    sums = bind(reduce_sum_p, columns_scaled(pairs, diagonal(m)), dims=(a.ndim - 1,))
    return product(u, on_diagonal(sums) - turned, vh)


cofactors_p: Primitive = host_primitive(
    "cofactors", _cofactors, lambda a: [a.type], jvp=_cofactors_jvp,
    doc="The matrix of cofactors: ∂ det(A) / ∂A, also where A is singular.",
)  # fmt: skip


def _pair_products(a: Any) -> Any:
    n = a.shape[-1]
    _, s, _, sign = _signed_svd(a)
    out = np.zeros(a.shape)
    for i in range(n):
        others = s.copy()
        others[..., i] = 1.0
        out[..., i, :] = sign[..., None] * _without(others)
    out[..., np.arange(n), np.arange(n)] = 0.0
    return out


def _pair_products_jvp(t: Any, inputs: Any, outputs: Any) -> Any:
    # D_ij = ± det / (s_i s_j), so its logarithmic derivative is a sum of those of singular values.
    pairs = outputs[0]
    u, s, vh = bind(svd_p, inputs[0], full=False)
    rate = diagonal(product(transposed(u), t[0], transposed(vh))) / s
    whole = over_matrix(bind(reduce_sum_p, rate, dims=(rate.ndim - 1,)), pairs)
    row = expand_to(bind(reshape_p, rate, shape=(*rate.shape, 1)), pairs.shape)
    return pairs * (whole - row - transposed(row))


pair_products_p = host_primitive(
    "pair_products", _pair_products, lambda a: [a.type], jvp=_pair_products_jvp,
    doc=(
        "Signed products of all singular values but two, 0 on the diagonal; as a function of A for "
        "the derivative of its cofactors (third derivatives of det need A to be regular)."
    ),
)  # fmt: skip


def _slogdet(a: Any) -> Any:
    sign, logarithm = np.linalg.slogdet(a)
    return sign, logarithm


def _slogdet_jvp(t: Any, inputs: Any, outputs: Any) -> Any:
    a = inputs[0]
    inverse = bind(solve_p, a, identity(a.shape[-1], a.dtype, a.shape[:-2]), check="")
    return None, inner(transposed(inverse), t[0])


slogdet_p = host_primitive(
    "slogdet", _slogdet, lambda a: _scalar(a) * 2, multiple=True, jvp=_slogdet_jvp,
    doc="Sign of the determinant (0 if singular) and the logarithm of its magnitude (-∞ then).",
)  # fmt: skip
