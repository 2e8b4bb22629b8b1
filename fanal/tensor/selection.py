"""Functions whose result's size depends on the data: nonzero, masks, counts, repetitions.

The size is read to Python; everything else runs in native programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused, is_tracing
from fanal.core.errors import message
from fanal.ops import pointwise, rearranging, searching
from fanal.ops.cumulative import cumsum_p
from fanal.ops.gathering import index_select
from fanal.ops.products import chosen
from fanal.ops.promotion import broadcast_shapes, constant
from fanal.ops.shape import expand, reshape, stack
from fanal.tensor import creation, indexing, inplace
from fanal.tensor.tensor import Tensor


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Indices of the elements that are not zero, in row-major order: (count, ndim) int64.

    With `as_tuple`: one vector a dimension, as used in `x[...]`.
    """
    if input.ndim == 0:
        found = (nonzero_of(reshape(input, (1,)))[0],)
        return found if as_tuple else found[0].new_empty((found[0].numel(), 0))
    places = nonzero_of(input)
    return tuple(places) if as_tuple else stack(places, 1)


def nonzero_of(input: Tensor) -> tuple[Tensor, ...]:
    return indexing.nonzero_indices(input.detach())


def argwhere(input: Tensor) -> Tensor:
    """Indices of the elements that are not zero: (count, ndim)."""
    found: Tensor = nonzero(input)
    return found


def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """The first `size` rows of `nonzero`, filled up with `fill_value`."""
    found = nonzero(input)
    have = found.shape[0]
    if have >= size:
        return found[:size].clone()
    rest = creation.full((size - have, found.shape[1]), fill_value, dtype=dtypes.int64)
    from fanal.ops.shape import cat

    joined: Tensor = cat([found, rest], 0)
    return joined


def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """`input` where `condition` holds, else `other`, broadcast; of the condition alone, its
    nonzero indices."""
    if input is None and other is None:
        return nonzero(condition, as_tuple=True)
    if input is None or other is None:
        raise TypeError(message("where", "one of two operands is missing", None, "both or none"))
    if not isinstance(condition, Tensor) and not is_tracing():
        raise TypeError(
            message("where", "the condition is not a tensor", type(condition).__name__, "a Tensor")
        )
    return pointwise.where(condition, input, other)


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask holds, in row-major order; the two broadcast."""
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(message("masked_select", "the mask is not bool", repr(mask.dtype)))
    shape = broadcast_shapes(tuple(input.shape), tuple(mask.shape), op="masked_select")
    wide, chosen_ = expand(input, shape), expand(mask, shape)
    if not shape:
        wide, chosen_ = reshape(wide, (1,)), reshape(chosen_, (1,))
    places = nonzero_of(chosen_)
    found: Tensor = indexing.gather_at(wide, places, tuple(range(wide.ndim)), 0)
    return found


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of r elements of a vector, in order: (count, r)."""
    if input.ndim != 1 or r < 0:
        raise RuntimeError(
            message("combinations", "not a vector, or a negative r", (tuple(input.shape), r))
        )
    if r == 0:
        return input.new_empty(0)
    places = nonzero(chosen(input.shape[0], r, with_replacement))
    found: Tensor = reshape(index_select(input, 0, reshape(places, (-1,))), (-1, r))
    return found


def repeat_interleave(
    input: Any, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Any:
    """Elements (slices of a dimension) repeated one after another, each as often as `repeats` says.

    With one tensor of counts: the index of each count, so often.
    """
    if repeats is None:
        return _repeated_index(input)
    if isinstance(repeats, int):
        return rearranging.repeat_each(input, repeats, dim)
    if repeats._layout.numel == 1:
        return rearranging.repeat_each(input, int(repeats.item()), dim)
    if dim is None:
        input, dim = reshape(input, (-1,)), 0
    if repeats.ndim != 1 or repeats.shape[0] != input.shape[dim]:
        raise RuntimeError(
            message("repeat_interleave", "one count a slice is needed", tuple(repeats.shape),
                    f"({input.shape[dim]},)")
        )
    return index_select(input, dim, _repeated_index(repeats))


def _repeated_index(repeats: Tensor) -> Tensor:
    if repeats.ndim != 1 or repeats.dtype not in (dtypes.int32, dtypes.int64):
        raise RuntimeError(
            message("repeat_interleave", "counts are not a vector of int32 or int64", repeats.shape)
        )
    if repeats._layout.numel == 0:
        return creation.empty(0, dtype=repeats.dtype)
    ends, total, least = _ends(repeats)
    if least.item() < 0:
        raise RuntimeError(message("repeat_interleave", "a negative count", least.item()))
    places = creation.arange(int(total.item()))
    found = searching.searchsorted(ends, places, right=True)
    return found.to(repeats.dtype)


@fused
def _ends(repeats: Any) -> Any:
    from fanal.ops.layout import slice_dim
    from fanal.ops.promotion import cast
    from fanal.ops.reductions import amin
    from fanal.ops.shape import reshaped

    ends = bind(cumsum_p, cast(repeats, dtypes.int64), dim=0)
    n = repeats.shape[0]
    return ends, reshaped(slice_dim(ends, 0, n - 1, n), ()), amin(repeats)


# -- assignment by index tensors -------------------------------------------------------------------------


def index_put(input: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of input with values written (or added) at index tensors or masks, one a dimension."""
    items = tuple(slice(None) if i is None else i for i in indices)
    base, places, dims, place = indexing._plan(input, items)
    if not places:
        raise IndexError(message("index_put", "no indices", None, "at least one tensor"))
    if values.dtype is not input.dtype:
        raise RuntimeError(
            message("index_put", "dtypes differ", f"{input.dtype!r} and {values.dtype!r}")
        )
    how = "add" if accumulate else "set"
    found: Tensor = indexing.scatter_at(base, places, values, dims, place, how)
    return found


def index_put_(self: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool = False) -> Tensor:
    """Write (or add) values at index tensors or masks, one a dimension."""
    return inplace.assign(self, lambda x: index_put(x, indices, values, accumulate), "index_put")


@fused
def triangle(rows: int, columns: int, offset: int, lower: bool) -> Any:
    """Which elements of a matrix lie in a triangle."""
    from fanal.ops.diagonals import position

    shape = (rows, columns)
    ahead = position(shape, 1) - position(shape, 0)
    inside = ahead <= offset if lower else ahead >= offset
    return inside & constant(True, dtypes.bool_, shape)


def _triangle_indices(
    name: str, row: int, col: int, offset: int, dtype: Any, device: Any, lower: bool
) -> Tensor:
    if row < 0 or col < 0:
        raise RuntimeError(message(name, "a negative extent", (row, col)))
    kind = creation.check_options(dtype, device)
    found: Tensor = stack(nonzero_of(triangle(row, col, offset, lower)), 0)
    return found.to(kind)


def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = dtypes.int64, device: Any = None,
    layout: Any = None,
) -> Tensor:  # fmt: skip
    """Rows and columns of a lower triangle's elements, row by row: (2, count)."""
    return _triangle_indices("tril_indices", row, col, offset, dtype, device, True)


def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = dtypes.int64, device: Any = None,
    layout: Any = None,
) -> Tensor:  # fmt: skip
    """Rows and columns of an upper triangle's elements, row by row: (2, count)."""
    return _triangle_indices("triu_indices", row, col, offset, dtype, device, False)
