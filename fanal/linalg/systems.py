"""Linear systems and inverses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fanal.core.dispatch import bind, fused, is_tracing
from fanal.core.errors import message
from fanal.graph.ir import Value
from fanal.linalg.results import InvEx, Lstsq, SolveEx
from fanal.ops.host import check_matrices, check_matrix_dtype, check_square
from fanal.ops.layout import expand_to
from fanal.ops.matrix.least_squares import lstsq_p
from fanal.ops.matrix.lu import lu_p, order_of_rows, permuted_rows
from fanal.ops.matrix.parts import identity, product, transposed
from fanal.ops.matrix.solve import solve_p
from fanal.ops.matrix.triangular import solve_lower, solve_upper
from fanal.ops.primitive import normalize_dim
from fanal.ops.promotion import broadcast_shapes
from fanal.ops.reductions import sum as sum_
from fanal.ops.shape import permuted, reshaped
from fanal.ops.sort import sort_p
from fanal.tensor.lazy import is_known


def together(op: str, a: Value, b: Value) -> tuple[Value, Value]:
    """Two operands with their batch dimensions broadcast."""
    batch = broadcast_shapes(a.shape[:-2], b.shape[:-2], op=op)
    return expand_to(a, (*batch, *a.shape[-2:])), expand_to(b, (*batch, *b.shape[-2:]))


def check_fit(op: str, a: Value, b: Value, left: bool) -> None:
    if a.shape[-1] != b.shape[-2 if left else -1]:
        raise RuntimeError(
            message(
                op, f"shapes don't fit the equation {'A X = B' if left else 'X A = B'}",
                f"A {tuple(a.shape)} and B {tuple(b.shape)}",
                f"B with {a.shape[-1]} {'rows' if left else 'columns'}",
            )
        )


def is_vector(a: Value, b: Value) -> bool:
    """Whether b is one right side a matrix: 1-d, or of A's shape without its last dimension."""
    return b.ndim == 1 or (b.ndim == a.ndim - 1 and b.shape == a.shape[:-1])


def _solve(op: str, a: Value, b: Value, left: bool, check: bool) -> tuple[Value, Value]:
    check_square(op, a)
    check_matrix_dtype(op, b)
    vector = is_vector(a, b)
    if vector:
        if not left:
            raise RuntimeError(message(op, "left=False needs matrices as right sides", b.shape))
        b = reshaped(b, (*b.shape, 1))
    check_matrices(op, a, b)
    check_fit(op, a, b, left)
    system, right = (a, b) if left else (transposed(a), transposed(b))
    system, right = together(op, system, right)
    x = bind(solve_p, system, right, check=op if check else "")
    x = x if left else transposed(x)
    return (reshaped(x, x.shape[:-1]) if vector else x), a


@fused
def solve(A: Any, B: Any, *, left: bool = True) -> Any:
    """X with A X = B (or X A = B): A (…, n, n), B (…, n, k) or (…, n), batches broadcast.

    Raises LinAlgError, naming the batch element and the pivot, where A is singular.
    """
    return _solve("linalg.solve", A, B, left, True)[0]


@fused
def solve_ex(A: Any, B: Any, *, left: bool = True, check_errors: bool = False) -> Any:
    """`solve` that tells in `info` which pivot is zero (the result is NaN) instead of raising."""
    x, a = _solve("linalg.solve_ex", A, B, left, check_errors)
    return SolveEx(x, bind(lu_p, a, pivot=True, check="")[2])


@fused
def solve_triangular(
    A: Any, B: Any, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Any:
    """X with A X = B (or X A = B), reading one triangle of A: (…, n, n), (…, n, k).

    Zeros on the diagonal give infinities; with `unitriangular` it counts as ones.
    """
    op = "linalg.solve_triangular"
    check_square(op, A)
    check_matrices(op, A, B)
    check_fit(op, A, B, left)
    return triangular(op, A, B, upper, left, unitriangular)


def triangular(op: str, a: Value, b: Value, upper: bool, left: bool, unit: bool) -> Value:
    """solve_triangular without its checks."""
    a, b = together(op, a, b)
    if not left:
        return transposed(triangular(op, transposed(a), transposed(b), not upper, True, unit))
    return (solve_upper if upper else solve_lower)(a, b, unit)


@fused
def lu_solve(
    LU: Any, pivots: Any, B: Any, *, left: bool = True, adjoint: bool = False
) -> Any:
    """X with A X = B for A factored by `lu_factor` (`adjoint`: Aᵀ X = B; not `left`: X A = B)."""
    op = "linalg.lu_solve"
    check_square(op, LU)
    check_matrices(op, LU, B)
    check_fit(op, LU, B, left)
    if pivots.shape != LU.shape[:-1]:
        raise RuntimeError(
            message(op, "pivots don't fit the factors", pivots.shape, str(LU.shape[:-1]))
        )
    return solve_factored(op, LU, pivots, B, left, adjoint)


def solve_factored(
    op: str, packed: Value, pivots: Value, b: Value, left: bool, adjoint: bool
) -> Value:
    """lu_solve without its checks."""
    if not left:
        out = solve_factored(op, packed, pivots, transposed(b), True, not adjoint)
        return transposed(out)
    order = order_of_rows(pivots, packed.shape[-1])
    packed, b = together(op, packed, b)
    order = expand_to(order, b.shape[:-1])
    if not adjoint:
        return solve_upper(packed, solve_lower(packed, permuted_rows(b, order), True))
    turned = transposed(packed)
    y = solve_upper(turned, solve_lower(turned, b), True)
    _, back = bind(sort_p, order, dim=order.ndim - 1, descending=False)
    return permuted_rows(y, back)


@fused
def inv(A: Any) -> Any:
    """The inverse of square matrices (…, n, n); LinAlgError where one is singular."""
    return _inverse("linalg.inv", A, True)


@fused
def inv_ex(A: Any, *, check_errors: bool = False) -> Any:
    """`inv` that tells in `info` which pivot is zero (the result is NaN) instead of raising."""
    inverse = _inverse("linalg.inv_ex", A, check_errors)
    return InvEx(inverse, bind(lu_p, A, pivot=True, check="")[2])


def _inverse(op: str, a: Value, check: bool) -> Value:
    check_square(op, a)
    unit = identity(a.shape[-1], a.dtype, a.shape[:-2])
    out: Value = bind(solve_p, a, unit, check=op if check else "")
    return out


def lstsq(
    A: Any, B: Any, rcond: float | None = None, *, driver: str | None = None
) -> Any:
    """The X of least norm among those that minimise |A X - B|: A (…, m, n), B (…, m, k) or (…, m).

    Singular values up to rcond · largest (ε·max(m, n) by default) count as 0. All drivers compute the
    same, by singular values; they decide what comes beside the solution, as in PyTorch: "gelsd" and
    "gelss" singular values, rank and (for m > n and full rank) residuals, "gelsy" the rank,
    "gels" residuals. While a graph is traced all of it is given.
    """
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError(
            message("linalg.lstsq", "unknown driver", repr(driver), "gels, gelsy, gelsd or gelss")
        )
    solution, residuals, rank, values = _lstsq(A, B, rcond)
    if is_tracing() or not is_known(rank):  # what depends on the rank can't in a graph
        return Lstsq(solution, residuals, rank, values)
    driver = driver or "gelsy"
    none = values.new_empty((0,))
    m, n = A.shape[-2:]
    full = driver == "gels" or (driver != "gelsy" and bool((rank == n).all()))
    return Lstsq(
        solution,
        residuals if m > n and full else none,
        rank if driver != "gels" else rank.new_empty((0,)),
        values if driver in ("gelsd", "gelss") else none,
    )


@fused
def _lstsq(A: Any, B: Any, rcond: float | None) -> Any:
    op = "linalg.lstsq"
    check_matrices(op, A)
    check_matrix_dtype(op, B)
    vector = is_vector(A, B)
    b = reshaped(B, (*B.shape, 1)) if vector else B
    check_matrices(op, A, b)
    if A.shape[-2] != b.shape[-2]:
        raise RuntimeError(
            message(
                op, "A and B have different numbers of rows", f"{tuple(A.shape)}, {tuple(B.shape)}"
            )
        )
    cutoff = float(np.finfo(A.dtype.numpy).eps) * max(A.shape[-2:]) if rcond is None else rcond
    a, b = together(op, A, b)
    x, rank, values = bind(lstsq_p, a, b, rcond=float(cutoff))
    rest = product(a, x) - b
    residuals = sum_(rest * rest, -2)
    return (reshaped(x, x.shape[:-1]) if vector else x), residuals, rank, values


@fused
def tensorinv(A: Any, ind: int = 2) -> Any:
    """The inverse of A as a map from its last dimensions to its first `ind` ones."""
    op = "linalg.tensorinv"
    if ind <= 0:
        raise RuntimeError(message(op, "ind is not positive", ind))
    first, last = tuple(A.shape[:ind]), tuple(A.shape[ind:])
    if math.prod(first) != math.prod(last):
        raise RuntimeError(
            message(op, "not a square map", f"{tuple(A.shape)} with ind={ind}",
                    "equal products of the first and of the other extents")
        )  # fmt: skip
    n = math.prod(first)
    return reshaped(_inverse(op, reshaped(A, (n, n)), True), (*last, *first))


@fused
def tensorsolve(A: Any, B: Any, dims: Any = None) -> Any:
    """X with tensordot(A, X, X.ndim) = B: A (B's shape, X's shape); `dims` of A go to its end."""
    op = "linalg.tensorsolve"
    a = A
    if dims is not None:
        moved = [normalize_dim(op, d, A.ndim) for d in dims]
        a = permuted(A, [d for d in range(A.ndim) if d not in moved] + moved)
    shape = tuple(a.shape[B.ndim :])
    n, m = math.prod(B.shape), math.prod(shape)
    if n != m or math.prod(a.shape) != n * m:
        raise RuntimeError(
            message(op, "shapes don't fit", f"A {tuple(A.shape)} and B {tuple(B.shape)}",
                    "A with B's extents, then as many elements again")
        )  # fmt: skip
    x = _solve(op, reshaped(a, (n, n)), reshaped(B, (n, 1)), True, True)[0]
    return reshaped(x, shape)
