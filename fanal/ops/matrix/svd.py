"""Singular values and vectors: A = U diag(S) Vᵀ."""

from __future__ import annotations

from typing import Any

import numpy as np

from fanal.core.dispatch import bind
from fanal.core.errors import LinAlgError, message
from fanal.graph.ir import Type, Value
from fanal.ops.host import host_primitive
from fanal.ops.layout import concat_p, expand_to, reshape_p, zeros_like_type
from fanal.ops.matrix.parts import (
    columns,
    columns_scaled,
    diagonal,
    identity,
    product,
    rows,
    rows_scaled,
    transposed,
)


def _failed(op: str) -> LinAlgError:
    return LinAlgError(
        message(op, "the algorithm did not converge: the matrix has values that aren't finite",
                hint="checking for NaN and inf")
    )  # fmt: skip


def _svd(a: Any, *, full: bool) -> Any:
    try:
        u, s, vh = np.linalg.svd(a, full_matrices=full)
    except np.linalg.LinAlgError:
        raise _failed("linalg.svd") from None
    return u, s, vh


def _svdvals(a: Any) -> Any:
    try:
        return np.linalg.svd(a, compute_uv=False)
    except np.linalg.LinAlgError:
        raise _failed("linalg.svdvals") from None


def _infer(a: Value, *, full: bool) -> list[Type]:
    *batch, m, n = a.shape
    k = min(m, n)
    return [
        Type(a.dtype, (*batch, m, m if full else k)),
        Type(a.dtype, (*batch, k)),
        Type(a.dtype, (*batch, n if full else k, n)),
    ]


def _inverse_differences(s: Value) -> Value:
    """1 / (s_j² - s_i²) off the diagonal, 0 on it."""
    shape = (*s.shape, s.shape[-1])
    row = expand_to(bind(reshape_p, s, shape=(*s.shape, 1)), shape)
    column = expand_to(bind(reshape_p, s, shape=(*s.shape[:-1], 1, s.shape[-1])), shape)
    unit = expand_to(identity(s.shape[-1], s.dtype), shape)
    return (1 - unit) / ((column - row) * (column + row) + unit)


def _jvp(t: Any, inputs: Any, outputs: Any, *, full: bool) -> Any:
    # With P = Uᵀ dA V and F_ij = 1/(s_j² - s_i²): dS = diag(P),
    # dU = U (F ∘ (P S + S Pᵀ)) + (1 - U Uᵀ) dA V S⁻¹ and likewise dV from dAᵀ. Columns that complete
    # U or V to a square matrix are not determined by A; they count as constants, as in PyTorch.
    da, (m, n) = t[0], inputs[0].shape[-2:]
    k = min(m, n)
    u, s = columns(outputs[0], 0, k), outputs[1]
    vh = rows(outputs[2], 0, k)
    v = transposed(vh)
    moved = product(da, v)
    p = product(transposed(u), moved)
    f = _inverse_differences(s)
    left = columns_scaled(p, s)
    du = product(u, f * (left + transposed(left)))
    right = rows_scaled(s, p)
    dv = product(v, f * (right + transposed(right)))
    if m > k:
        du = du + columns_scaled(moved - product(u, p), 1 / s)
    if n > k:
        back = product(transposed(da), u)
        dv = dv + columns_scaled(back - product(v, transposed(p)), 1 / s)
    dvh = transposed(dv)
    if full and m > k:
        rest = zeros_like_type(du, (*du.shape[:-1], m - k))
        du = bind(concat_p, du, rest, dim=du.ndim - 1)
    if full and n > k:
        rest = zeros_like_type(dvh, (*dvh.shape[:-2], n - k, n))
        dvh = bind(concat_p, dvh, rest, dim=dvh.ndim - 2)
    return du, diagonal(p), dvh


svd_p = host_primitive(
    "svd", _svd, _infer, multiple=True, jvp=_jvp,
    doc="U, S (descending) and Vᵀ; with `full` both U and V are square.",
)  # fmt: skip


def _vectors(a: Value) -> tuple[Value, Value]:
    u, _, vh = bind(svd_p, a, full=False)
    return u, vh


def _values_jvp(t: Any, inputs: Any, outputs: Any) -> Any:
    u, vh = _vectors(inputs[0])
    return diagonal(product(transposed(u), t[0], transposed(vh)))


def _values_transpose(ct: Value, inputs: Any, linear: Any) -> Any:
    u, vh = _vectors(inputs[0])
    return [product(columns_scaled(u, ct), vh)]


svdvals_p = host_primitive(
    "svdvals", _svdvals,
    lambda a: [Type(a.dtype, (*a.shape[:-2], min(a.shape[-2:])))],
    jvp=_values_jvp, transpose=_values_transpose, doc="Singular values in descending order.",
)  # fmt: skip
