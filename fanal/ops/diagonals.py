"""Triangles and diagonals: masks by the position of an element, all of them linear."""

from __future__ import annotations

from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused
from fanal.core.errors import message
from fanal.core.symbols import slice_bounds
from fanal.graph.ir import Value
from fanal.ops.create import iota_p
from fanal.ops.index import gather_p
from fanal.ops.layout import expand_to, pad_p
from fanal.ops.pointwise import eq, ge, le, where
from fanal.ops.primitive import normalize_dim
from fanal.ops.reductions import sum as sum_
from fanal.ops.shape import permuted, reshaped


def position(shape: tuple[int, ...], dim: int) -> Value:
    """Each element's index in a dimension."""
    return bind(iota_p, shape=shape, dim=dim, dtype=dtypes.int64)


def _triangle(name: str, x: Value, diagonal: int, compare: Any) -> Value:
    if x.ndim < 2:
        raise RuntimeError(message(name, "fewer than two dimensions", x.shape, "matrices"))
    rows, columns = position(x.shape, x.ndim - 2), position(x.shape, x.ndim - 1)
    return where(compare(columns - rows, diagonal), x, 0 if x.dtype.kind != "b" else False)


@fused
def tril(input: Any, diagonal: int = 0) -> Any:
    """Matrices with zeros above a diagonal (0: the main one, positive: above it)."""
    return _triangle("tril", input, diagonal, le)


@fused
def triu(input: Any, diagonal: int = 0) -> Any:
    """Matrices with zeros below a diagonal (0: the main one, positive: above it)."""
    return _triangle("triu", input, diagonal, ge)


def diagonal_place(
    name: str, shape: tuple[int, ...], offset: int, dim1: int, dim2: int
) -> tuple[int, int, int, int, int]:
    """The two dimensions, the first row and column, and the length of a diagonal."""
    ndim = len(shape)
    a, b = (normalize_dim(name, d, ndim) for d in (dim1, dim2))
    if a == b:
        raise RuntimeError(message(name, "the two dimensions are the same", (dim1, dim2)))
    row, column = max(-offset, 0), max(offset, 0)
    return a, b, row, column, max(min(shape[a] - row, shape[b] - column), 0)


@fused
def diagonal_copy(input: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The diagonal of two dimensions as a last dimension, in memory of its own."""
    a, b, row, column, n = diagonal_place("diagonal", input.shape, offset, dim1, dim2)
    k = position((n,), 0)
    out = bind(gather_p, input, k + row, k + column, dims=(a, b))
    return permuted(out, [*range(1, out.ndim), 0])


@fused
def diag_embed(input: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """The last dimension as the diagonal of two dimensions, zeros elsewhere."""
    ndim = input.ndim + 1
    a, b = (normalize_dim("diag_embed", d, ndim) for d in (dim1, dim2))
    if a == b:
        raise RuntimeError(message("diag_embed", "the two dimensions are the same", (dim1, dim2)))
    out = _on_diagonal(input, input.shape[-1] + abs(offset), input.shape[-1] + abs(offset), offset)
    order = [d for d in range(ndim) if d not in (a, b)]
    places = [0] * ndim
    for i, d in enumerate(order):
        places[d] = i
    places[a], places[b] = ndim - 2, ndim - 1
    return permuted(out, places)


def _on_diagonal(x: Value, rows: int, columns: int, offset: int) -> Value:
    """(…, n) → (…, rows, columns) with x on a diagonal and zeros elsewhere."""
    lead, n = x.shape[:-1], x.shape[-1]
    row = max(-offset, 0)
    low, high = [0] * x.ndim, [0] * x.ndim
    low[-1], high[-1] = row, rows - row - n
    zero = (0,) * x.ndim
    column = bind(pad_p, x, low=tuple(low), high=tuple(high), interior=zero, value=_zero(x))
    shape = (*lead, rows, columns)
    wide = expand_to(reshaped(column, (*lead, rows, 1)), shape)
    at = position(shape, len(lead) + 1) - position(shape, len(lead))
    return where(eq(at, offset), wide, _zero(x))


def _zero(x: Value) -> Any:
    return False if x.dtype.kind == "b" else 0.0 if x.dtype.kind == "f" else 0


@fused
def diag_of_vector(input: Any, diagonal: int = 0) -> Any:
    """A vector as the diagonal of a matrix."""
    return diag_embed(input, diagonal, 0, 1)


@fused
def diagflat(input: Any, offset: int = 0) -> Any:
    """All elements as the diagonal of a matrix."""
    import math

    return diag_embed(reshaped(input, (math.prod(input.shape),)), offset, 0, 1)


@fused
def trace(input: Any) -> Any:
    """Sum of a matrix's diagonal; integers as int64."""
    if input.ndim != 2:
        raise RuntimeError(message("trace", "not a matrix", input.shape, "two dimensions"))
    return sum_(diagonal_copy(input), 0)


# -- copies with a part replaced ------------------------------------------------------------------------


def _check_source(name: str, shape: tuple[int, ...], src: Value) -> None:
    if src.shape != shape:
        raise RuntimeError(message(name, "the source's shape differs from the part's", src.shape, str(shape)))


@fused
def diagonal_scatter(input: Any, src: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """A copy of input with its diagonal (see `diagonal`) replaced by src."""
    from fanal.ops.promotion import cast

    a, b, _, _, n = diagonal_place("diagonal_scatter", input.shape, offset, dim1, dim2)
    rest = tuple(e for d, e in enumerate(input.shape) if d not in (a, b))
    _check_source("diagonal_scatter", (*rest, n), src)
    if n == 0:
        return input
    wide = _on_diagonal(cast(src, input.dtype), input.shape[a], input.shape[b], offset)
    others = [d for d in range(input.ndim) if d not in (a, b)]
    places = [0] * input.ndim
    for i, d in enumerate([*others, a, b]):
        places[d] = i
    at = position(input.shape, b) - position(input.shape, a)
    return where(eq(at, offset), permuted(wide, places), input)


@fused
def select_scatter(input: Any, src: Any, dim: int, index: int) -> Any:
    """A copy of input with one index of a dimension replaced by src."""
    d = normalize_dim("select_scatter", dim, input.ndim)
    n = input.shape[d]
    if not -n <= index < n:
        raise IndexError(message("select_scatter", "index out of range", index, f"-{n}..{n - 1}"))
    _check_source("select_scatter", (*input.shape[:d], *input.shape[d + 1 :]), src)
    wide = expand_to(reshaped(src, (*src.shape[:d], 1, *src.shape[d:])), input.shape)
    return where(eq(position(input.shape, d), index % n), wide, input)


@fused
def slice_scatter(
    input: Any, src: Any, dim: int = 0, start: int | None = None, end: int | None = None,
    step: int = 1,
) -> Any:  # fmt: skip
    """A copy of input with the slice start:end:step of a dimension replaced by src."""
    d = normalize_dim("slice_scatter", dim, input.ndim)
    n = input.shape[d]
    if step < 1:
        raise RuntimeError(message("slice_scatter", "step must be positive", step))
    first, last, _ = slice_bounds(slice(start, end, step), n)
    count = max(0, -(-(last - first) // step))
    _check_source("slice_scatter", (*input.shape[:d], count, *input.shape[d + 1 :]), src)
    if count == 0:
        return input
    low, high, interior = ([0] * input.ndim for _ in range(3))
    low[d], interior[d] = first, step - 1
    high[d] = n - first - ((count - 1) * step + 1)
    wide = bind(
        pad_p, src, low=tuple(low), high=tuple(high), interior=tuple(interior), value=_zero(src)
    )
    at = position(input.shape, d)
    inside = ge(at, first) & le(at, first + (count - 1) * step) & eq((at - first) % step, 0)
    return where(inside, wide, input)
