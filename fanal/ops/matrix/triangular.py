"""Triangular systems, with the solver's derivative.

SciPy's BLAS solves them if it is there. Otherwise blocks of rows are solved one after another: the
inverse of the block on the diagonal, times what earlier blocks leave of the right side.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fanal.core.dispatch import bind
from fanal.core.errors import message
from fanal.graph.ir import Type, Value
from fanal.ops.host import host_primitive
from fanal.ops.matrix import lapack
from fanal.ops.matrix.parts import lower, product, transposed, upper

BLOCK = 32


def solved(a: Any, b: Any, *, upper: bool, unit: bool) -> Any:
    """x with a·x = b for arrays (…, n, n) and (…, n, k), reading one triangle of a only.

    Zeros on the diagonal give infinities and NaN, as in BLAS's trsm.
    """
    found = lapack.routines()
    if found is not None and b.size:
        return lapack.substitute(found.trsm, a, b, upper, unit)
    return substitute(a, b, upper=upper, unit=unit)


def substitute(a: Any, b: Any, *, upper: bool, unit: bool) -> Any:
    """`solved` by NumPy's matrix product and the inverses of blocks."""
    if upper:  # the same system with rows and columns reversed is a lower one
        return substitute(a[..., ::-1, ::-1], b[..., ::-1, :], upper=False, unit=unit)[..., ::-1, :]
    # Copies of one memory order, so that the products below don't depend on the caller's strides.
    a, x = np.ascontiguousarray(a), np.array(b, np.float64, order="C")
    n = a.shape[-1]
    with np.errstate(all="ignore"):
        for start in range(0, n, BLOCK):
            stop = min(start + BLOCK, n)
            if start:
                x[..., start:stop, :] -= np.matmul(a[..., start:stop, :start], x[..., :start, :])
            block = a[..., start:stop, start:stop]
            x[..., start:stop, :] = _small(np.tril(block), x[..., start:stop, :], unit)
    return x


def _small(block: Any, b: Any, unit: bool) -> Any:
    """A lower system of up to BLOCK rows."""
    n = block.shape[-1]
    head = np.ones((*block.shape[:-2], n)) if unit else np.diagonal(block, 0, -2, -1)
    # Rows are divided by their pivots first. Where one is zero, rows are solved one by one.
    regular = np.isfinite(block).all((-2, -1)) & (head != 0).all(-1)
    scaled = np.where(regular[..., None, None], block / head[..., None], 0.0)
    scaled[..., np.arange(n), np.arange(n)] = 1.0
    out = np.matmul(np.linalg.inv(scaled), b / head[..., None])
    for index in np.argwhere(~regular):
        out[tuple(index)] = _row_by_row(block[tuple(index)], b[tuple(index)], head[tuple(index)])
    return out


def _row_by_row(block: Any, b: Any, head: Any) -> Any:
    x = b.copy()
    for i in range(len(x)):
        x[i] = (x[i] - block[i, :i] @ x[:i]) / head[i]
    return x


def _infer(a: Value, b: Value, *, upper: bool, unit: bool) -> list[Type]:
    if a.shape[:-1] != b.shape[:-1] or a.shape[-1] != a.shape[-2] or a.dtype is not b.dtype:
        raise ValueError(message("triangular_solve", "operands don't fit", f"{a.type}, {b.type}"))
    return [b.type]


def _triangle(x: Value, upper_: bool, unit: bool) -> Value:
    return upper(x, int(unit)) if upper_ else lower(x, -int(unit))


def _jvp(t: Any, inputs: Any, outputs: Any, *, upper: bool, unit: bool) -> Any:
    a, right = inputs[0], t[1]
    if t[0] is not None:
        moved = -product(_triangle(t[0], upper, unit), outputs[0])
        right = moved if right is None else right + moved
    return bind(triangular_solve_p, a, right, upper=upper, unit=unit)


def _transpose(ct: Value, inputs: Any, linear: Any, *, upper: bool, unit: bool) -> Any:
    a, b = inputs
    back = bind(triangular_solve_p, transposed(a), ct, upper=not upper, unit=unit)
    first = None
    if linear[0]:
        x = bind(triangular_solve_p, a, b, upper=upper, unit=unit)  # found again, not recomputed
        first = -_triangle(product(back, transposed(x)), upper, unit)
    return [first, back if linear[1] else None]


triangular_solve_p = host_primitive(
    "triangular_solve", solved, _infer, jvp=_jvp, transpose=_transpose,
    doc="x with a·x = b for a triangle of a (with `unit`, ones on its diagonal).",
)  # fmt: skip


def solve_lower(a: Value, b: Value, unit: bool = False) -> Value:
    """L⁻¹ b, reading the lower triangle of a."""
    return bind(triangular_solve_p, a, b, upper=False, unit=unit)


def solve_upper(a: Value, b: Value, unit: bool = False) -> Value:
    """U⁻¹ b, reading the upper triangle of a."""
    return bind(triangular_solve_p, a, b, upper=True, unit=unit)


def right_solve_lower(a: Value, b: Value, unit: bool = False) -> Value:
    """b L⁻¹."""
    return transposed(solve_upper(transposed(a), transposed(b), unit))


def right_solve_upper(a: Value, b: Value, unit: bool = False) -> Value:
    """b U⁻¹."""
    return transposed(solve_lower(transposed(a), transposed(b), unit))
