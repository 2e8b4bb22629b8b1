"""The pseudo-inverse and least squares, by singular values, for matrices of any rank."""

from __future__ import annotations

from typing import Any

import numpy as np

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.core.errors import LinAlgError, message
from fanal.graph.ir import Type, Value
from fanal.ops.composed import composed, in_double
from fanal.ops.host import MATRIX_DTYPES, host_primitive
from fanal.ops.layout import expand_to, reshape_p
from fanal.ops.matrix.eigh import eigh_p
from fanal.ops.matrix.parts import (
    columns_scaled,
    diagonal,
    lower,
    product,
    symmetric_part,
    transposed,
)
from fanal.ops.matrix.svd import svd_p
from fanal.ops.pointwise import abs as absolute
from fanal.ops.pointwise import maximum, where
from fanal.ops.promotion import constant
from fanal.ops.reduce import reduce_max_p


def _pinv(a: Value, atol: Value, rtol: Value, *, hermitian: bool) -> Value:
    if hermitian:
        s, u = bind(eigh_p, a)
        v = u
    else:
        u, s, vh = bind(svd_p, a, full=False)
        v = transposed(vh)
    size = absolute(s)
    cutoff = maximum(atol, rtol * bind(reduce_max_p, size, dims=(s.ndim - 1,)))
    kept = size > expand_to(bind(reshape_p, cutoff, shape=(*cutoff.shape, 1)), s.shape)
    inverse = where(kept, 1 / where(kept, s, 1.0), 0.0)
    return product(columns_scaled(v, inverse), transposed(u))


def _pinv_jvp(t: Any, inputs: Any, outputs: Any, *, hermitian: bool) -> Any:
    # Golub and Pereyra (1973), for constant rank:
    # dP = -P dA P + P Pᵀ dAᵀ (1 - A P) + (1 - P A) dAᵀ Pᵀ P.
    if t[0] is None:
        return None
    a, p = inputs[0], outputs[0]
    da = symmetric_part(t[0]) if hermitian else t[0]
    a = _symmetric(a) if hermitian else a
    pt, dat = transposed(p), transposed(da)
    left = product(p, pt, dat)
    right = product(dat, pt, p)
    return left - product(left, a, p) + right - product(p, a, right) - product(p, da, p)


def _symmetric(a: Value) -> Value:
    """The symmetric matrix that the lower triangle stands for."""
    return lower(a) + transposed(lower(a, -1))


pinv_p = composed(
    "pinv", in_double(_pinv), MATRIX_DTYPES, jvp=_pinv_jvp,
    doc=(
        "Moore-Penrose inverse; singular values up to max(atol, rtol · largest) count as 0. "
        "Not differentiable in the tolerances."
    ),
)  # fmt: skip


def _lstsq(a: Any, b: Any, *, rcond: float) -> Any:
    *batch, m, n = a.shape
    x = np.zeros((*batch, n, b.shape[-1]))
    rank = np.zeros(tuple(batch), np.int64)
    values = np.zeros((*batch, min(m, n)))
    for index in np.ndindex(*batch):
        try:
            x[index], _, rank[index], values[index] = np.linalg.lstsq(a[index], b[index], rcond)
        except np.linalg.LinAlgError:
            raise LinAlgError(
                message("linalg.lstsq", "the algorithm did not converge",
                        hint="checking for NaN and inf")
            ) from None  # fmt: skip
    return x, rank, values


def _lstsq_infer(a: Value, b: Value, *, rcond: float) -> list[Type]:
    *batch, m, n = a.shape
    if b.shape[:-1] != a.shape[:-1] or a.dtype is not b.dtype:
        raise ValueError(message("lstsq", "operands don't fit", f"{a.type}, {b.type}"))
    return [
        Type(a.dtype, (*batch, n, b.shape[-1])),
        Type(dtypes.int64, tuple(batch)),
        Type(a.dtype, (*batch, min(m, n))),
    ]


def _lstsq_jvp(t: Any, inputs: Any, outputs: Any, *, rcond: float) -> Any:
    # The derivative of P b, with P b = x put in: dx = P (db - dA x) + P Pᵀ dAᵀ (b - A x)
    # + (1 - P A) dAᵀ Pᵀ x.
    a, b = inputs
    x, values = outputs[0], None
    p = pseudo_inverse(a, rcond)
    total = None if t[1] is None else product(p, t[1])
    if t[0] is not None:
        dat = transposed(t[0])
        residual = b - product(a, x)
        turned = product(dat, transposed(p), x)
        moved = product(p, transposed(p), dat, residual) - product(p, t[0], x)
        moved = moved + turned - product(p, a, turned)
        total = moved if total is None else total + moved
        u, _, vh = bind(svd_p, a, full=False)
        values = diagonal(product(transposed(u), t[0], transposed(vh)))
    return total, None, values


def pseudo_inverse(a: Value, rtol: float) -> Value:
    """pinv with a relative tolerance alone."""
    batch = a.shape[:-2]
    none, relative = constant(0, a.dtype, batch), constant(rtol, a.dtype, batch)
    return bind(pinv_p, a, none, relative, hermitian=False)


lstsq_p = host_primitive(
    "lstsq", _lstsq, _lstsq_infer, multiple=True, jvp=_lstsq_jvp,
    doc=(
        "The x of least norm that minimises |a·x - b|, the rank of a, and its singular values; those "
        "up to rcond · largest count as 0."
    ),
)  # fmt: skip
