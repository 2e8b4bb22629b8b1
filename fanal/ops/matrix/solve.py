"""General systems: x with a·x = b, by LAPACK's gesv."""

from __future__ import annotations

from typing import Any

import numpy as np

from fanal.core.dispatch import bind
from fanal.core.errors import message
from fanal.graph.ir import Type, Value
from fanal.ops.host import host_primitive, singular
from fanal.ops.matrix.lu import factor
from fanal.ops.matrix.parts import product, transposed


def _solve(a: Any, b: Any, *, check: str) -> Any:
    try:
        return np.linalg.solve(a, b)
    except np.linalg.LinAlgError:
        return _one_by_one(a, b, check)


def _one_by_one(a: Any, b: Any, check: str) -> Any:
    """Solutions of those that have one; NaN for a singular matrix, or the error that names it."""
    out = np.full(b.shape, np.nan)
    for index in np.ndindex(a.shape[:-2]):
        try:
            out[index] = np.linalg.solve(a[index], b[index])
        except np.linalg.LinAlgError:
            if check:
                info = factor(a[index], pivot=True, check="")[2]
                raise singular(check, a, index, int(info)) from None
    return out


def _infer(a: Value, b: Value, *, check: str) -> list[Type]:
    if a.shape[:-1] != b.shape[:-1] or a.shape[-1] != a.shape[-2] or a.dtype is not b.dtype:
        raise ValueError(message("solve", "operands don't fit", f"{a.type}, {b.type}"))
    return [b.type]


def _jvp(t: Any, inputs: Any, outputs: Any, *, check: str) -> Any:
    # dx = a⁻¹ (db - da x)
    right = t[1]
    if t[0] is not None:
        moved = -product(t[0], outputs[0])
        right = moved if right is None else right + moved
    return bind(solve_p, inputs[0], right, check=check)


def _transpose(ct: Value, inputs: Any, linear: Any, *, check: str) -> Any:
    a, b = inputs
    back = bind(solve_p, transposed(a), ct, check=check)
    first = None
    if linear[0]:
        x = bind(solve_p, a, b, check=check)  # found again, not recomputed
        first = -product(back, transposed(x))
    return [first, back if linear[1] else None]


solve_p = host_primitive(
    "solve", _solve, _infer, jvp=_jvp, transpose=_transpose,
    doc=(
        "x with a·x = b. `check` names the operation on whose behalf a singular matrix is an error; "
        "if it is empty, such a matrix gives NaN."
    ),
)  # fmt: skip
