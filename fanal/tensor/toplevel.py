"""Functions of the top-level namespace that are not simply an operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.core.errors import message
from fanal.ops import comparing, pointwise, reductions, shape
from fanal.tensor.outputs import numpy_names
from fanal.tensor.tensor import Tensor


def _extreme(name: str, whole: Any, along: Any, pairwise: Any, doc: str) -> Any:
    def function(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
        second = dim if isinstance(dim, Tensor) else other
        if not isinstance(input, Tensor):
            raise TypeError(message(name, "not a tensor", type(input).__name__, "a Tensor"))
        if second is not None:
            return pairwise(input, second)
        if dim is not None:
            return along(input, dim, keepdim)
        if 0 in input.shape:
            raise RuntimeError(
                message(name, "no value for a tensor without elements", tuple(input.shape), hint="a dim")
            )
        return whole(input)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return numpy_names(function)


max = _extreme(
    "max", reductions.amax, reductions.max_dim, pointwise.maximum,
    "The largest element; along a dimension, values and indices; or the larger of two tensors.",
)  # fmt: skip
min = _extreme(
    "min", reductions.amin, reductions.min_dim, pointwise.minimum,
    "The smallest element; along a dimension, values and indices; or the smaller of two tensors.",
)  # fmt: skip


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and elements."""
    if input._layout.shape != other._layout.shape:
        return False
    return bool(reductions.all(pointwise.eq(input.detach(), other.detach())))


def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> bool:
    """Whether |input - other| ≤ atol + rtol·|other| everywhere; see `isclose`."""
    near = comparing.isclose(input.detach(), other.detach(), rtol, atol, equal_nan)
    return bool(reductions.all(near))


def narrow(input: Any, dim: int, start: Any, length: int) -> Any:
    """`length` slices of a dimension from `start` (a number or an integer tensor of one): a view."""
    if isinstance(start, Tensor):
        if start.ndim or start.dtype.kind not in "iu":
            raise RuntimeError(
                message("narrow", "start is not a 0-d integer tensor", f"{start.dtype!r} {start.shape}")
            )
        start = start.item()
    return shape.narrow(input, dim, start, length)


def split_with_sizes(input: Any, split_sizes: Sequence[int], dim: int = 0) -> tuple[Any, ...]:
    """Pieces of given lengths along a dimension (views)."""
    found: tuple[Any, ...] = shape.split(input, tuple(split_sizes), dim)
    return found


def unsafe_chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """The same as `chunk`."""
    found: tuple[Any, ...] = shape.chunk(input, chunks, dim)
    return found


def unsafe_split(tensor: Any, split_size: Any, dim: int = 0) -> tuple[Any, ...]:
    """The same as `split`."""
    found: tuple[Any, ...] = shape.split(tensor, split_size, dim)
    return found
