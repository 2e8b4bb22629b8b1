"""QR: A = Q R with orthonormal columns of Q, or Householder's form of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from fanal.core.dispatch import bind
from fanal.core.errors import Limit, message
from fanal.graph.ir import Type, Value
from fanal.ops.host import host_primitive
from fanal.ops.layout import concat_p
from fanal.ops.matrix.parts import columns, lower, product, transposed
from fanal.ops.matrix.triangular import right_solve_upper


def _qr(a: Any, *, mode: Any) -> Any:
    first, second = np.linalg.qr(a, mode=mode)
    return (np.swapaxes(first, -1, -2) if mode == "raw" else first), second


def _infer(a: Value, *, mode: str) -> list[Type]:
    *batch, m, n = a.shape
    if mode == "raw":
        return [a.type, Type(a.dtype, (*batch, min(m, n)))]
    k = m if mode == "complete" else min(m, n)
    return [Type(a.dtype, (*batch, m, k)), Type(a.dtype, (*batch, k, n))]


def _jvp(t: Any, inputs: Any, outputs: Any, *, mode: str) -> Any:
    # Walter, Lehmann and Lamour (2012): with X = Qᵀ dA R⁻¹ and the skew Ω = lower(X) - lower(X)ᵀ,
    # dQ = Q Ω + (dA R⁻¹ - Q X) and dR = (X - Ω) R. Of a wide matrix the leading square gives dQ.
    q, r = outputs
    m, n = inputs[0].shape[-2:]
    if mode == "raw":
        raise Limit(message("geqrf", "has no derivative", hint="linalg.qr()"))
    if mode == "complete" and m > n:
        raise Limit(
            message(
                "linalg.qr", "mode 'complete' has no derivative for more rows than columns",
                tuple(inputs[0].shape), hint="mode='reduced'",
            )
        )
    k = min(m, n)
    head = columns(r, 0, k)
    moved = right_solve_upper(head, columns(t[0], 0, k))
    x = product(transposed(q), moved)
    below = lower(x, -1)
    skew = below - transposed(below)
    dq = product(q, skew) + moved - product(q, x)
    dr = product(x - skew, head)
    if n > k:
        tail = columns(r, k, n)
        rest = product(transposed(q), columns(t[0], k, n)) - product(skew, tail)
        dr = bind(concat_p, dr, rest, dim=dr.ndim - 1)
    return dq, dr


qr_p = host_primitive(
    "qr", _qr, _infer, multiple=True, jvp=_jvp,
    doc=(
        "Q and R of A = Q R, Q square in mode 'complete'; in mode 'raw' Householder's form: R in the "
        "upper triangle, reflectors v below it, and their factors τ. Signs are LAPACK's."
    ),
)  # fmt: skip
