"""QR: A = Q R with orthonormal columns of Q, and Householder's form of it."""

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


def _qr(a: Any, *, complete: bool) -> Any:
    q, r = np.linalg.qr(a, mode="complete" if complete else "reduced")
    return q, r


def _infer(a: Value, *, complete: bool) -> list[Type]:
    *batch, m, n = a.shape
    k = m if complete else min(m, n)
    return [Type(a.dtype, (*batch, m, k)), Type(a.dtype, (*batch, k, n))]


def _jvp(t: Any, inputs: Any, outputs: Any, *, complete: bool) -> Any:
    # Walter, Lehmann and Lamour (2012): with X = Qᵀ dA R⁻¹ and the skew Ω = lower(X) - lower(X)ᵀ,
    # dQ = Q Ω + (dA R⁻¹ - Q X) and dR = (X - Ω) R. Of a wide matrix the leading square gives dQ.
    q, r = outputs
    m, n = inputs[0].shape[-2:]
    if complete and m > n:
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
    doc="Q and R of A = Q R; with `complete` Q is square. Signs are LAPACK's.",
)  # fmt: skip


def _geqrf(a: Any) -> Any:
    h, tau = np.linalg.qr(a, mode="raw")
    return np.swapaxes(h, -1, -2), tau


def _geqrf_infer(a: Value) -> list[Type]:
    *batch, m, n = a.shape
    return [a.type, Type(a.dtype, (*batch, min(m, n)))]


geqrf_p = host_primitive(
    "geqrf", _geqrf, _geqrf_infer, multiple=True,
    doc="Householder's form: R above the diagonal, reflectors v below it, their factors τ.",
)  # fmt: skip
