"""SciPy's LAPACK and BLAS, for what NumPy has no routine: LU factors and triangular systems.

SciPy is optional and imported here only, when the first such operation runs. Without it, `lu` and
`triangular` have blocked algorithms of their own on top of NumPy's matrix product.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Routines(NamedTuple):
    """LAPACK's dgetrf and BLAS's dtrsm."""

    getrf: Callable[..., Any]
    trsm: Callable[..., Any]


@functools.cache
def routines() -> Routines | None:
    """The routines, or None without SciPy."""
    try:
        from scipy.linalg import blas, lapack
    except ImportError:
        return None
    return Routines(lapack.dgetrf, blas.dtrsm)


def factor(getrf: Callable[..., Any], a: Any) -> tuple[Any, Any, Any]:
    """(packed factors, pivots from 1, info) of arrays (…, m, n), float64, not empty."""
    *batch, m, n = a.shape
    # LAPACK's matrices are stored by columns: a copy by columns is factored in place.
    turned = np.array(np.swapaxes(a, -1, -2), np.float64, order="C")
    members = turned.reshape(-1, n, m)
    pivots = np.empty((len(members), min(m, n)), np.int32)
    info = np.empty(len(members), np.int32)
    for i, member in enumerate(members):
        _, pivots[i], info[i] = getrf(member.T, overwrite_a=1)
    pivots += 1
    packed = np.swapaxes(turned, -1, -2)
    return packed, pivots.reshape(*batch, -1), info.reshape(batch)


def substitute(trsm: Callable[..., Any], a: Any, b: Any, upper: bool, unit: bool) -> Any:
    """x with a·x = b for arrays (…, n, n) and (…, n, k), reading one triangle of a; not empty."""
    # By rows in memory is transposed by columns: xᵀ aᵀ = bᵀ needs no copy but the one that becomes x.
    x = np.array(b, np.float64, order="C")
    n, k = x.shape[-2:]
    for matrix, side in zip(a.reshape(-1, n, n), x.reshape(-1, n, k), strict=True):
        trsm(1.0, matrix.T, side.T, side=1, lower=int(upper), diag=int(unit), overwrite_b=1)
    return x
