"""The exponential of a matrix: Padé approximation of degree 13 with scaling and squaring.

Higham, "The scaling and squaring method for the matrix exponential revisited" (2005). Derivative in
direction E: the upper right block of exp([[A, E], [0, A]]); its adjoint is that for Aᵀ.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fanal.core.dispatch import bind
from fanal.graph.ir import Value
from fanal.ops.host import host_primitive
from fanal.ops.layout import concat_p, zeros_like_type
from fanal.ops.matrix.parts import columns, rows, transposed

_COEFFICIENTS = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0,
    129060195264000.0, 10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0, 40840800.0,
    960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip
_THETA = 5.371920351148152  # below this 1-norm degree 13 is exact to double precision


def _exponential(a: Any) -> Any:
    out = np.empty_like(a)
    for index in np.ndindex(a.shape[:-2]):
        out[index] = _one(a[index])
    return out


def _one(a: Any) -> Any:
    norm = np.abs(a).sum(0).max(initial=0.0)
    if not np.isfinite(norm):
        return np.full(a.shape, np.nan)
    squarings = max(0, math.ceil(math.log2(norm / _THETA))) if norm > _THETA else 0
    a = a / 2.0**squarings
    c, unit = _COEFFICIENTS, np.eye(a.shape[0])
    a2 = a @ a
    a4 = a2 @ a2
    a6 = a4 @ a2
    odd = a @ (
        a6 @ (c[13] * a6 + c[11] * a4 + c[9] * a2) + c[7] * a6 + c[5] * a4 + c[3] * a2 + c[1] * unit
    )
    even = a6 @ (c[12] * a6 + c[10] * a4 + c[8] * a2)
    even = even + c[6] * a6 + c[4] * a4 + c[2] * a2 + c[0] * unit
    out = np.linalg.solve(even - odd, even + odd)
    with np.errstate(all="ignore"):
        for _ in range(squarings):
            out = out @ out
    return out


def _derivative(a: Value, direction: Value) -> Value:
    n = a.shape[-1]
    above = bind(concat_p, a, direction, dim=a.ndim - 1)
    below = bind(concat_p, zeros_like_type(a), a, dim=a.ndim - 1)
    whole = bind(matrix_exp_p, bind(concat_p, above, below, dim=a.ndim - 2))
    return columns(rows(whole, 0, n), n, 2 * n)


matrix_exp_p = host_primitive(
    "matrix_exp", _exponential, lambda a: [a.type],
    jvp=lambda t, inputs, outputs: _derivative(inputs[0], t[0]),
    transpose=lambda ct, inputs, linear: [_derivative(transposed(inputs[0]), ct)],
    doc="Σ Aᵏ / k! of square matrices.",
)  # fmt: skip
