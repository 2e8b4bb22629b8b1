"""Views that only strides can express: `as_strided`, `diagonal`; and what replaces a part of them.

These views don't come from a chain of primitives, so each says itself how a gradient returns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused, is_tracing
from fanal.core.errors import Limit, message
from fanal.core.symbols import size as size_of
from fanal.ops import diagonals
from fanal.ops.create import iota_p
from fanal.ops.index import scatter_p
from fanal.ops.promotion import constant
from fanal.ops.shape import reshaped
from fanal.tensor.layout import layout
from fanal.tensor.lazy import offset_in_storage
from fanal.tensor.tensor import Tensor
from fanal.tensor.views import View, take

Shape = tuple[int, ...]


def diagonal(input: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The diagonal of two dimensions as a last dimension: a view.

    offset > 0: above the main diagonal, < 0: below. Raises IndexError for a dimension that is not
    there.
    """
    if is_tracing() or not isinstance(input, Tensor):
        return diagonals.diagonal_copy(input, offset, dim1, dim2)
    source = input._layout
    a, b, row, column, n = diagonals.diagonal_place("diagonal", source.shape, offset, dim1, dim2)
    rest = [d for d in range(input.ndim) if d not in (a, b)]
    shape = (*(source.shape[d] for d in rest), n)
    strides = (*(source.strides[d] for d in rest), source.strides[a] + source.strides[b])
    start = row * source.strides[a] + column * source.strides[b] if n else 0
    full = source.shape

    def pull(grad: Tensor) -> Tensor:
        return diagonal_backward(grad, full, offset, a, b)

    def again(x: Tensor) -> Tensor:
        found: Tensor = diagonal(x, offset, a, b)
        return found

    return take(input, View(layout(source.dtype, shape, strides), start, "diagonal", again, pull))


@fused
def diagonal_backward(grad: Any, shape: Shape, offset: int, a: int, b: int) -> Any:
    """Zeros of a shape with a gradient on the diagonal."""
    zeros = constant(0, grad.dtype, shape)
    return diagonals.diagonal_scatter(zeros, grad, offset, a, b)


def diag(input: Any, diagonal: int = 0) -> Any:
    """A vector as the diagonal of a matrix; of a matrix, its diagonal (a view)."""
    if input.ndim == 1:
        return diagonals.diag_of_vector(input, diagonal)
    if input.ndim != 2:
        raise RuntimeError(message("diag", "not a vector or matrix", tuple(input.shape)))
    return _diagonal(input, diagonal)


_diagonal = diagonal


def as_strided(
    input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """A view of the tensor's storage with any shape and strides (in elements) that stay inside.

    Its gradient is defined for tensors that lie in row-major order. Raises RuntimeError where the
    view would leave the storage.
    """
    shape, strides = tuple(map(size_of, size)), tuple(map(size_of, stride))
    if len(shape) != len(strides):
        raise RuntimeError(message("as_strided", "one stride a dimension is needed", (shape, strides)))
    if any(n < 0 for n in (*shape, *strides)):
        raise RuntimeError(message("as_strided", "a negative size or stride", (shape, strides)))
    item = input.dtype.itemsize
    here = offset_in_storage(input) // item
    start = here if storage_offset is None else int(storage_offset)
    reach = start + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1
    if start < 0 or (0 not in shape and reach * item > input._storage.nbytes):
        raise RuntimeError(
            message(
                "as_strided", "the view leaves the storage",
                f"{reach} elements from {shape}, {strides}, offset {start}",
                f"at most {input._storage.nbytes // item}",
            )
        )
    source = input._layout

    def pull(grad: Tensor) -> Tensor:
        if not source.contiguous:
            raise Limit(
                message("as_strided", "no gradient of a view of a tensor that is not contiguous",
                        hint="contiguous() first")
            )
        return strided_backward(grad, source.shape, strides, start - here)

    def again(x: Tensor) -> Tensor:
        offset = offset_in_storage(x) // x.dtype.itemsize
        return as_strided(x, shape, strides, offset + start - here)

    to = layout(source.dtype, shape, strides)
    return take(input, View(to, start - here, "as_strided", again, pull))


@fused
def strided_backward(grad: Any, shape: Shape, strides: Shape, start: int) -> Any:
    """Zeros of a shape with the elements of a strided view's gradient added in their places."""
    place = constant(start, dtypes.int64, grad.shape)
    for d, step in enumerate(strides):
        place = place + bind(iota_p, shape=grad.shape, dim=d, dtype=dtypes.int64) * step
    count = math.prod(grad.shape)
    zeros = constant(0, grad.dtype, (math.prod(shape),))
    out = bind(
        scatter_p, zeros, reshaped(grad, (count,)), reshaped(place, (count,)), dims=(0,), mode="add"
    )
    return reshaped(out, shape)


def as_strided_scatter(
    input: Tensor, src: Tensor, size: Sequence[int], stride: Sequence[int],
    storage_offset: int | None = None,
) -> Tensor:  # fmt: skip
    """A copy of input in which the strided view (see `as_strided`) is replaced by src."""
    out = input.clone()
    as_strided(out, size, stride, storage_offset).copy_(src)
    return out


