"""Reading at computed places: PyTorch's gathering functions, made of the `gather` primitive."""

from __future__ import annotations

import math
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused
from fanal.core.errors import message
from fanal.core.symbols import size
from fanal.graph.ir import Value
from fanal.ops.index import gather_p, take_along
from fanal.ops.layout import expand_to
from fanal.ops.pointwise import lt, where
from fanal.ops.primitive import normalize_dim
from fanal.ops.promotion import broadcast_shapes, cast
from fanal.ops.shape import permuted, reshaped


def check_index(name: str, index: Value, allowed: str = "iu") -> Value:
    """The index as it is; raises RuntimeError for a dtype that is not an integer's."""
    if index.dtype.kind not in allowed:
        raise RuntimeError(
            message(name, "the index is not of integers", repr(index.dtype), "int64", ".long()")
        )
    return index if index.dtype is dtypes.int64 else cast(index, dtypes.int64)


def wrapped(index: Value, extent: int) -> Value:
    """Negative indices counted from the end."""
    return where(lt(index, 0), index + extent, index)


def check_along(name: str, x: Value, index: Value, dim: int) -> None:
    """Raise RuntimeError unless the index fits over `x` in all dimensions but `dim`."""
    fits = index.ndim == x.ndim and all(
        d == dim or n <= m for d, (n, m) in enumerate(zip(index.shape, x.shape, strict=True))
    )
    if not fits:
        raise RuntimeError(
            message(
                name, "the index does not fit", f"index {index.shape} for {x.shape}",
                f"as many dimensions, none longer except dimension {dim}",
            )
        )


@fused
def gather(input: Any, dim: int, index: Any, *, sparse_grad: bool = False) -> Any:
    """out[i][j] = input[index[i][j]][j] for dim 0, and so on.

    `index` has as many dimensions as `input`, and the result its shape. Raises IndexError for an
    index out of range (negative ones too).
    """
    d = normalize_dim("gather", dim, input.ndim)
    index = check_index("gather", index)
    if index.ndim == 0 or input.ndim == 0:
        x = input if input.ndim else reshaped(input, (1,))
        at = index if index.ndim else reshaped(index, (1,))
        return reshaped(take_along(x, at, 0), index.shape)
    if math.prod(index.shape):
        check_along("gather", input, index, d)
    return take_along(input, index, d)


@fused
def take_along_dim(input: Any, indices: Any, dim: int | None = None) -> Any:
    """`gather` with broadcasting; without `dim` both are flattened."""
    index = check_index("take_along_dim", indices)
    if dim is None:
        flat = reshaped(input, (math.prod(input.shape),))
        index = wrapped(reshaped(index, (math.prod(index.shape),)), flat.shape[0])
        return take_along(flat, index, 0)
    if input.ndim != index.ndim:
        raise RuntimeError(
            message("take_along_dim", "numbers of dimensions differ", f"{input.shape} and {index.shape}")
        )
    d = normalize_dim("take_along_dim", dim, input.ndim)
    others = [(*v.shape[:d], 1, *v.shape[d + 1 :]) for v in (input, index)]
    shape = broadcast_shapes(*others, op="take_along_dim")
    x, at = (
        expand_to(v, (*shape[:d], v.shape[d], *shape[d + 1 :])) for v in (input, index)
    )
    return take_along(x, wrapped(at, x.shape[d]), d)


@fused
def index_select(input: Any, dim: int, index: Any) -> Any:
    """Slices of a dimension at the indices (a vector or number)."""
    d = normalize_dim("index_select", dim, input.ndim)
    if index.ndim > 1:
        raise IndexError(message("index_select", "the index is not a vector", index.shape))
    at = reshaped(check_index("index_select", index), (math.prod(index.shape),))
    if input.ndim == 0:
        out = bind(gather_p, reshaped(input, (1,)), at, dims=(0,))
        return reshaped(out, ())
    out = bind(gather_p, input, at, dims=(d,))
    return permuted(out, [*range(1, d + 1), 0, *range(d + 1, input.ndim)])


@fused
def take(input: Any, index: Any) -> Any:
    """Elements of the flattened tensor, in the index's shape; negative indices from the end."""
    n = math.prod(input.shape)
    at = wrapped(check_index("take", index), n)
    return bind(gather_p, reshaped(input, (n,)), at, dims=(0,))


@fused
def unravel_indices(indices: Any, shape: tuple[int, ...]) -> Any:
    """Positions in a flattened tensor of a shape as one index tensor a dimension."""
    out, rest = [], cast(indices, dtypes.int64)
    for n in reversed(shape):
        out.append(rest % n)
        rest = rest // n
    return tuple(reversed(out))


def unravel_index(indices: Any, shape: Any) -> tuple[Any, ...]:
    """Positions in a flattened tensor of a shape as one index tensor a dimension."""
    extents = (shape,) if isinstance(shape, int) else tuple(map(size, shape))
    if indices.dtype.kind not in "iu":
        raise TypeError(message("unravel_index", "the indices are not integers", repr(indices.dtype)))
    if any(n < 0 for n in extents):
        raise ValueError(message("unravel_index", "a negative extent", extents))
    found: tuple[Any, ...] = tuple(unravel_indices(indices, extents))
    return found
