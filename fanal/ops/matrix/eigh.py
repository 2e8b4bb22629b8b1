"""Eigenvalues and eigenvectors of symmetric matrices, reading the lower triangle."""

from __future__ import annotations

from typing import Any

import numpy as np

from fanal.core.dispatch import bind
from fanal.core.errors import LinAlgError, message
from fanal.graph.ir import Type, Value
from fanal.ops.host import host_primitive
from fanal.ops.layout import expand_to, reshape_p
from fanal.ops.matrix.parts import (
    columns_scaled,
    diagonal,
    identity,
    product,
    symmetric_part,
    transposed,
)


def _eigh(a: Any) -> Any:
    try:
        w, v = np.linalg.eigh(a)
    except np.linalg.LinAlgError as error:
        raise _no_convergence("linalg.eigh", error) from None
    return w, v


def _no_convergence(op: str, error: Exception) -> LinAlgError:
    text = str(error).rstrip(".").lower()
    return LinAlgError(message(op, f"the algorithm failed: {text}", hint="checking for NaN and inf"))


def _eigvalsh(a: Any) -> Any:
    try:
        return np.linalg.eigvalsh(a)
    except np.linalg.LinAlgError as error:
        raise _no_convergence("linalg.eigvalsh", error) from None


def differences(w: Value) -> Value:
    """1 / (w_j - w_i) off the diagonal, 0 on it."""
    shape = (*w.shape, w.shape[-1])
    row = expand_to(bind(reshape_p, w, shape=(*w.shape, 1)), shape)
    column = expand_to(bind(reshape_p, w, shape=(*w.shape[:-1], 1, w.shape[-1])), shape)
    unit = expand_to(identity(w.shape[-1], w.dtype), shape)
    return (1 - unit) / (column - row + unit)


def _eigh_jvp(t: Any, inputs: Any, outputs: Any) -> Any:
    # With M = Vᵀ dA V: dw = diag(M), dV = V (M ∘ 1/(w_j - w_i)); equal eigenvalues give infinities.
    w, v = outputs
    m = product(transposed(v), symmetric_part(t[0]), v)
    return diagonal(m), product(v, m * differences(w))


def _infer(a: Value) -> list[Type]:
    return [Type(a.dtype, a.shape[:-1]), a.type]


eigh_p = host_primitive(
    "eigh", _eigh, _infer, multiple=True, jvp=_eigh_jvp,
    doc=(
        "Eigenvalues in ascending order and orthonormal eigenvectors (columns). The lower triangle "
        "is read; derivatives are those of symmetric matrices."
    ),
)  # fmt: skip


def _eigvalsh_jvp(t: Any, inputs: Any, outputs: Any) -> Any:
    _, v = bind(eigh_p, inputs[0])
    return diagonal(product(transposed(v), symmetric_part(t[0]), v))


def _eigvalsh_transpose(ct: Value, inputs: Any, linear: Any) -> Any:
    _, v = bind(eigh_p, inputs[0])
    return [product(columns_scaled(v, ct), transposed(v))]


eigvalsh_p = host_primitive(
    "eigvalsh", _eigvalsh, lambda a: [Type(a.dtype, a.shape[:-1])], jvp=_eigvalsh_jvp,
    transpose=_eigvalsh_transpose, doc="Eigenvalues of symmetric matrices in ascending order.",
)  # fmt: skip
