"""Cholesky: A = L Lᵀ, reading the lower triangle of A."""

from __future__ import annotations

from typing import Any

import numpy as np

from fanal.core import dtypes
from fanal.core.errors import LinAlgError, message
from fanal.graph.ir import Type, Value
from fanal.ops.host import host_primitive, member_name
from fanal.ops.matrix.parts import diagonal, lower, on_diagonal, product, symmetric_part, transposed
from fanal.ops.matrix.triangular import right_solve_upper, solve_lower


def _cholesky(a: Any, *, check: str) -> Any:
    info = np.zeros(a.shape[:-2], np.int32)
    try:
        return np.linalg.cholesky(a), info
    except np.linalg.LinAlgError:
        pass
    out = np.full(a.shape, np.nan)
    for index in np.ndindex(a.shape[:-2]):
        info[index] = minor = _first_bad_minor(a[index])
        if not minor:
            out[index] = np.linalg.cholesky(a[index])
        elif check:
            raise LinAlgError(
                message(
                    check, f"the matrix{member_name(a.shape[:-2], index)} is not positive-definite: "
                    f"its leading minor of order {minor} is not positive",
                    hint="adding a small multiple of the identity, or eigh()",
                )
            )  # fmt: skip
    return out, info


def _first_bad_minor(a: Any) -> int:
    """Order of the first leading minor that isn't positive, by bisection; 0 if all are."""
    low, high = 0, a.shape[-1] + 1  # minors up to `low` are positive, that of order `high` is not
    while high - low > 1:
        middle = (low + high) // 2
        try:
            np.linalg.cholesky(a[:middle, :middle])
            low = middle
        except np.linalg.LinAlgError:
            high = middle
    return high if high <= a.shape[-1] else 0


def _infer(a: Value, *, check: str) -> list[Type]:
    return [a.type, Type(dtypes.int32, a.shape[:-2])]


def _jvp(t: Any, inputs: Any, outputs: Any, *, check: str) -> Any:
    # dL = L Φ(L⁻¹ dA L⁻ᵀ), where Φ is the lower triangle with half of the diagonal.
    l = outputs[0]
    inside = right_solve_upper(transposed(l), solve_lower(l, symmetric_part(t[0])))
    half = lower(inside) - on_diagonal(diagonal(inside) * 0.5)
    return product(l, half), None


cholesky_p = host_primitive(
    "cholesky", _cholesky, _infer, multiple=True, jvp=_jvp,
    doc=(
        "L with A = L Lᵀ, and for each matrix 0 or the order of the first leading minor that is not "
        "positive (L is NaN then). The lower triangle is read; derivatives are those of symmetric A."
    ),
)  # fmt: skip
