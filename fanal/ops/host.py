"""Host primitives: operations whose meaning is a NumPy function (LAPACK behind it), on any backend.

Their list is closed: Cholesky, QR, SVD, symmetric eigenvalues, LU, general and triangular systems,
least squares. What is made of them is a composite, or composed (`fanal.ops.composed`). The NumPy
function is both the reference and what the native backend calls between two native steps. It
computes in float64 whatever the dtype, one matrix of a batch after another, so a result depends on
its own matrix only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.core.errors import Limit, LinAlgError, message
from fanal.graph.ir import Type, Value
from fanal.ops.layout import in_front
from fanal.ops.primitive import Primitive

MATRIX_DTYPES = (dtypes.float32, dtypes.float64)


def host_primitive(
    name: str, function: Callable[..., Any], infer: Callable[..., list[Type]], **fields: Any
) -> Primitive:
    """Register a host primitive. All operands have the same batch dimensions in front."""

    def wide(*arrays: Any, **attributes: Any) -> Any:
        # In one memory order, so that no result depends on the caller's strides.
        given = [np.asarray(a, np.float64, "C") if a.dtype.kind == "f" else a for a in arrays]
        return function(*given, **attributes)

    def batch(inputs: Any, axes: Any, size: int, **attributes: Any) -> Any:
        moved = [in_front(x, a, size) for x, a in zip(inputs, axes, strict=True)]
        out = bind(primitive, *moved, **attributes)
        return out, (0,) * len(out) if isinstance(out, tuple) else 0

    fields.setdefault("dtypes", MATRIX_DTYPES)
    primitive = Primitive(
        name=name, kind="host", infer=infer, reference=functools.wraps(function)(wide),
        batch=batch, smooth=False, **fields,
    )  # fmt: skip
    return primitive


def check_matrices(op: str, *values: Value) -> None:
    """RuntimeError unless all are matrices (or batches of them) of one dtype, float32 or float64."""
    for x in values:
        check_matrix_dtype(op, x)
        if x.ndim < 2:
            raise RuntimeError(
                message(op, "not a matrix", tuple(x.shape), "at least 2 dimensions")
            )
        if x.dtype is not values[0].dtype:
            raise RuntimeError(
                message(
                    op, "operands have different dtypes", f"{values[0].dtype!r} and {x.dtype!r}",
                    "one dtype", "casting one with .to(...)",
                )
            )


def check_matrix_dtype(op: str, x: Value) -> None:
    """RuntimeError for numbers that are not floating; Limit for 16-bit floats (as in PyTorch)."""
    if x.dtype in MATRIX_DTYPES:
        return
    error: type[Exception] = Limit if x.dtype.kind == "f" else RuntimeError
    raise error(
        message(op, "not defined for this dtype", repr(x.dtype), "float32 or float64", ".float()")
    )


def check_square(op: str, x: Value) -> None:
    """RuntimeError unless x is a square matrix or a batch of them."""
    check_matrices(op, x)
    if x.shape[-1] != x.shape[-2]:
        raise RuntimeError(
            message(op, "the matrix is not square", tuple(x.shape), "equal last two extents")
        )


def member_name(shape: Sequence[int], index: tuple[int, ...]) -> str:
    """How messages name one matrix of a batch: nothing for a single one."""
    if not shape:
        return ""
    return f" (batch element {index[0] if len(index) == 1 else index})"


def singular(op: str, a: Any, index: tuple[int, ...], minor: int) -> LinAlgError:
    """The error for a matrix whose elimination meets a zero pivot; `minor` counts from 1."""
    where = f": pivot {minor} is zero" if minor else ""
    return LinAlgError(
        message(
            op, f"the matrix{member_name(a.shape[:-2], index)} is singular{where}",
            hint="lstsq() or pinv(), which take matrices of any rank",
        )
    )
