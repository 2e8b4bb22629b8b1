"""Functions of the top-level namespace that are not simply an operation."""

from __future__ import annotations

from typing import Any

from fanal.ops import pointwise, reductions
from fanal.tensor.tensor import Tensor


def is_tensor(obj: Any) -> bool:
    """Whether an object is a tensor."""
    return isinstance(obj, Tensor)


def numel(input: Tensor) -> int:
    """Number of elements."""
    return input._layout.numel


def max(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The largest element; along a dimension, values and indices; or the larger of two tensors."""
    return input.max(dim, keepdim) if other is None else pointwise.maximum(input, other)


def min(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The smallest element; along a dimension, values and indices; or the smaller of two tensors."""
    return input.min(dim, keepdim) if other is None else pointwise.minimum(input, other)


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and elements."""
    if tuple(input.shape) != tuple(other.shape):
        return False
    return bool(reductions.all(pointwise.eq(input, other)))


def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> bool:
    """Whether |input - other| ≤ atol + rtol·|other| everywhere."""
    a, b = input.detach(), other.detach()
    near = pointwise.le(pointwise.abs(a - b), pointwise.abs(b) * rtol + atol)
    near = near | pointwise.eq(a, b)
    if equal_nan:
        near = near | (pointwise.ne(a, a) & pointwise.ne(b, b))
    return bool(reductions.all(near))
