"""Joining tensors (hstack and its like), cutting them apart, at least so many dimensions, blocks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from fanal.core.dispatch import fused
from fanal.core.errors import message
from fanal.graph.ir import Value
from fanal.ops.layout import slice_dim
from fanal.ops.primitive import normalize_dim
from fanal.ops.promotion import cast, result_type
from fanal.ops.shape import cat, constant_pad, reshaped

Tensors = Sequence[Any]


def _at_least(x: Value, rank: int) -> Value:
    shape = x.shape
    if len(shape) >= rank:
        return x
    if rank == 1:
        return reshaped(x, (1,))
    if rank == 2:
        return reshaped(x, (1, 1) if not shape else (1, *shape))
    n = len(shape)
    return reshaped(x, (1, 1, 1) if n == 0 else (1, *shape, 1) if n == 1 else (*shape, 1))


@fused(view=True)
def _one_at_least(input: Any, rank: int) -> Any:
    return _at_least(input, rank)


def _raised(tensors: tuple[Any, ...], rank: int) -> Any:
    if len(tensors) == 1 and not isinstance(tensors[0], tuple | list):
        return _one_at_least(tensors[0], rank)
    given = tensors[0] if len(tensors) == 1 else tensors
    return tuple(_one_at_least(t, rank) for t in given)


def atleast_1d(*tensors: Any) -> Any:
    """Views with one dimension or more: () → (1,)."""
    return _raised(tensors, 1)


def atleast_2d(*tensors: Any) -> Any:
    """Views with two dimensions or more: (n,) → (1, n)."""
    return _raised(tensors, 2)


def atleast_3d(*tensors: Any) -> Any:
    """Views with three dimensions or more: (n,) → (1, n, 1), (n, m) → (n, m, 1)."""
    return _raised(tensors, 3)


def _given(name: str, tensors: Tensors) -> list[Any]:
    parts = list(tensors)
    if not parts:
        raise RuntimeError(message(name, "no tensors", None, "at least one"))
    return parts


@fused
def hstack(tensors: Tensors) -> Any:
    """Tensors side by side: along the second dimension, vectors along the first."""
    parts = [_at_least(t, 1) for t in _given("hstack", tensors)]
    return cat(parts, 0 if parts[0].ndim == 1 else 1)


@fused
def vstack(tensors: Tensors) -> Any:
    """Tensors below one another; vectors count as rows."""
    return cat([_at_least(t, 2) for t in _given("vstack", tensors)], 0)


@fused
def dstack(tensors: Tensors) -> Any:
    """Tensors behind one another, along the third dimension."""
    return cat([_at_least(t, 3) for t in _given("dstack", tensors)], 2)


@fused
def column_stack(tensors: Tensors) -> Any:
    """Tensors side by side; vectors count as columns."""
    parts = _given("column_stack", tensors)
    columns = [reshaped(t, (*t.shape, 1) if t.ndim else (1, 1)) if t.ndim < 2 else t for t in parts]
    return cat(columns, 1)


@fused(view=True)
def _cut(input: Any, stops: tuple[int, ...], dim: int) -> Any:
    n = input.shape[dim]
    pieces, start = [], 0
    for stop in (*stops, n):
        # As Python slices: numbers from the end, and beyond it.
        end = min(max(stop + n if stop < 0 else stop, 0), n)
        pieces.append(slice_dim(input, dim, min(start, n), max(end, min(start, n))))
        start = end
    return tuple(pieces)


def tensor_split(
    input: Any, indices_or_sections: Any, dim: int = 0, *, indices: Any = None, sections: Any = None
) -> tuple[Any, ...]:
    """Views: so many pieces of nearly equal length, or pieces that end before given indices."""
    where = next(x for x in (indices, sections, indices_or_sections) if x is not None)
    if hasattr(where, "tolist"):
        where = where.tolist()
    if input.ndim == 0:
        raise RuntimeError(message("tensor_split", "a 0-d tensor can't be split"))
    d = normalize_dim("tensor_split", dim, input.ndim)
    if isinstance(where, int):
        if where <= 0:
            raise RuntimeError(message("tensor_split", "not a positive number of pieces", where))
        size, longer = divmod(input.shape[d], where)
        lengths = [size + 1] * longer + [size] * (where - longer)
        where = tuple(itertools.accumulate(lengths))[:-1]
    found: tuple[Any, ...] = _cut(input, tuple(int(i) for i in where), d)
    return found


def _split_along(name: str, input: Any, where: Any, dim: int, least: int) -> tuple[Any, ...]:
    if isinstance(where, str):
        raise TypeError(message(name, "not a number or indices", repr(where)))
    if input.ndim < least:
        raise RuntimeError(message(name, "too few dimensions", tuple(input.shape), f"{least} or more"))
    if isinstance(where, int) and (where <= 0 or input.shape[dim] % where):
        raise RuntimeError(
            message(name, "pieces of equal length are not possible", where,
                    f"a divisor of {input.shape[dim]}", "tensor_split()")
        )
    return tensor_split(input, where, dim)


def hsplit(input: Any, indices_or_sections: Any) -> tuple[Any, ...]:
    """Pieces along the second dimension (of vectors: the first), of equal length or at indices."""
    dim = 0 if input.ndim == 1 else 1
    return _split_along("hsplit", input, indices_or_sections, dim, 1)


def vsplit(input: Any, indices_or_sections: Any) -> tuple[Any, ...]:
    """Pieces along the first dimension of a matrix, of equal length or at indices."""
    return _split_along("vsplit", input, indices_or_sections, 0, 2)


def dsplit(input: Any, indices_or_sections: Any) -> tuple[Any, ...]:
    """Pieces along the third dimension, of equal length or at indices."""
    return _split_along("dsplit", input, indices_or_sections, 2, 3)


@fused
def block_diag_of(tensors: Tensors) -> Any:
    """Matrices along the diagonal of one matrix, zeros elsewhere."""
    dtype = result_type(*tensors)
    for t in tensors:
        if t.ndim > 2:
            raise RuntimeError(message("block_diag", "more than two dimensions", t.shape, "matrices"))
    blocks = [_at_least(cast(t, dtype), 2) for t in tensors]
    width = sum(b.shape[1] for b in blocks)
    rows, left = [], 0
    for b in blocks:
        rows.append(constant_pad(b, (left, width - left - b.shape[1])))
        left += b.shape[1]
    return cat(rows, 0)


def block_diag(*tensors: Any) -> Any:
    """Matrices (vectors are rows, numbers 1 × 1) along the diagonal of one matrix."""
    return block_diag_of(tensors)


__all__ = [n for n in list(globals()) if n[0] != "_" and n not in ("Any", "Value", "constant")]
