"""Products of Householder's reflections 1 - τ v vᵀ, without multiplying them one by one."""

from __future__ import annotations

from fanal.core.dispatch import bind
from fanal.core.errors import message
from fanal.graph.ir import Value
from fanal.ops.host import check_matrices, check_matrix_dtype
from fanal.ops.layout import concat_p, expand_to, zeros_like_type
from fanal.ops.matrix.parts import (
    columns,
    identity,
    lower,
    on_diagonal,
    product,
    rows_scaled,
    transposed,
    upper,
)
from fanal.ops.matrix.triangular import solve_upper


def reflectors(op: str, a: Value, tau: Value) -> tuple[Value, Value]:
    """V and T of Q = 1 - V T Vᵀ, the product of the reflections 1 - τ v vᵀ.

    Compact WY form (Schreiber and Van Loan, 1989), with T = (1 + diag(τ) S)⁻¹ diag(τ) for the strict
    upper triangle S of Vᵀ V: no division by τ, which may be 0.
    """
    check_matrices(op, a)
    check_matrix_dtype(op, tau)
    m, n = a.shape[-2:]
    k = tau.shape[-1] if tau.ndim else 0
    if n > m or k > n or tau.shape[:-1] != a.shape[:-2]:
        raise RuntimeError(
            message(op, "shapes don't fit", f"{tuple(a.shape)} and tau {tuple(tau.shape)}",
                    "at least as many rows as columns, at most one tau a column")
        )  # fmt: skip
    v = lower(columns(a, 0, k), -1)
    unit = identity(k, a.dtype)
    if m > k:
        unit = bind(concat_p, unit, zeros_like_type(unit, (m - k, k)), dim=0)
    v = v + expand_to(unit, v.shape)
    inside = rows_scaled(tau, upper(product(transposed(v), v), 1))
    return v, solve_upper(inside, on_diagonal(tau), True)


def first_columns(op: str, a: Value, tau: Value) -> Value:
    """The first n columns of Q for a (…, m, n): 1 - V T Vᵀ without forming the others."""
    v, t = reflectors(op, a, tau)
    m, n = a.shape[-2:]
    head = columns(identity(m, a.dtype), 0, n)
    return expand_to(head, a.shape) - product(v, t, columns(transposed(v), 0, n))
