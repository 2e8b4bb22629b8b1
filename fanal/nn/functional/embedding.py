"""Look-up of rows of a table, alone and summed in bags."""

from __future__ import annotations

import math
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused
from fanal.core.errors import message
from fanal.nn.functional.composite import composite
from fanal.nn.functional.distance import norm
from fanal.ops.create import iota_p
from fanal.ops.index import gather_p, scatter_p, take_along
from fanal.ops.layout import expand_to
from fanal.ops.pointwise import bitwise_and, detach, eq, floor_divide, lt, maximum, ne, where
from fanal.ops.promotion import cast, constant
from fanal.ops.reductions import sum as sum_op
from fanal.ops.shape import reshaped
from fanal.tensor import inplace
from fanal.tensor.lazy import is_known
from fanal.tensor.tensor import Tensor


@fused
def one_hot_of(tensor: Any, num_classes: int) -> Any:
    """1 at the place of each class in a new last dimension."""
    shape = (*tensor.shape, num_classes)
    place = bind(iota_p, shape=shape, dim=tensor.ndim, dtype=dtypes.int64)
    wide = expand_to(reshaped(cast(tensor, dtypes.int64), (*tensor.shape, 1)), shape)
    return cast(eq(place, wide), dtypes.int64)


def one_hot(tensor: Any, num_classes: int = -1) -> Any:
    """int64 vectors with 1 at the place of each class: (…) → (…, num_classes).

    num_classes -1: one more than the largest class.
    """
    if tensor.dtype.kind != "i":
        raise RuntimeError(message("one_hot", "is only applicable to index tensors", tensor.dtype))
    count = math.prod(tensor.shape)
    if isinstance(tensor, Tensor) and count and (num_classes == -1 or is_known(tensor)):
        if int(tensor.min()) < 0:
            raise RuntimeError("Class values must be non-negative.")
        largest = int(tensor.max())
        if num_classes == -1:
            num_classes = largest + 1
        elif largest >= num_classes:
            raise RuntimeError("Class values must be smaller than num_classes.")
    if num_classes <= 0:
        raise RuntimeError(
            message("one_hot", "num_classes should be positive", num_classes, "1 or more")
        )
    return one_hot_of(tensor, num_classes)


def _frequency(index: Any, rows: int, dtype: Any) -> Any:
    """How often each index occurs among all of them, in the indices' shape."""
    flat = reshaped(index, (math.prod(index.shape),))
    zeros = constant(0, dtype, (rows,))
    counts = bind(scatter_p, zeros, constant(1, dtype, flat.shape), flat, dims=(0,), mode="add")
    return bind(gather_p, counts, index, dims=(0,))


def _looked_up(weight: Any, index: Any, padding: int | None, by_frequency: bool) -> Any:
    """weight[index]; the gradient of padding is none, or that of each row is divided by how often
    it was read."""
    rows = bind(gather_p, weight, index, dims=(0,))
    if padding is not None:
        pad = expand_to(reshaped(eq(index, padding), (*index.shape, 1)), rows.shape)
        rows = where(pad, detach(rows), rows)
    if by_frequency:
        times = reshaped(_frequency(index, weight.shape[0], weight.dtype), (*index.shape, 1))
        share = rows / times
        rows = share + detach(rows - share)
    return rows


@fused
def _embedding(input: Any, weight: Any, padding: int | None, by_frequency: bool) -> Any:
    return _looked_up(weight, cast(input, dtypes.int64), padding, by_frequency)


@fused
def _renormalized(weight: Any, input: Any, max_norm: float, norm_type: float) -> Any:
    """The table with the rows that are read scaled to a norm of at most `max_norm`."""
    index = reshaped(cast(input, dtypes.int64), (math.prod(input.shape),))
    rows = bind(gather_p, weight, index, dims=(0,))
    length = norm(rows, norm_type, (1,), True)
    scaled = where(length > max_norm, rows * (max_norm / (length + 1e-7)), rows)
    return bind(scatter_p, weight, scaled, index, dims=(0,), mode="set")


def _padding_index(name: str, padding_idx: int | None, rows: int) -> int | None:
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise AssertionError("Padding_idx must be within num_embeddings")
    return padding_idx % rows


def _limit_norms(weight: Any, input: Any, max_norm: float | None, norm_type: float) -> None:
    if max_norm is not None:
        from fanal.autograd.mode import no_grad

        with no_grad():
            statics = (float(max_norm), float(norm_type))
            inplace.apply(_renormalized.fused, weight, (input, *statics), {})


def _check_indices(name: str, input: Any) -> None:
    if input.dtype.kind not in "iu":
        raise RuntimeError(
            message(name, "indices must be integers", repr(input.dtype), "int64 or int32")
        )


def embedding(
    input: Any, weight: Any, padding_idx: int | None = None, max_norm: float | None = None,
    norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Any:  # fmt: skip
    """Rows weight[input]: indices (…) and a table (V, D) → (…, D).

    `padding_idx`: that row has no gradient. `max_norm`: rows that are read are scaled to it first,
    in place. `sparse` is accepted; gradients are dense.
    """
    _check_indices("embedding", input)
    if weight.ndim != 2:
        raise RuntimeError(message("embedding", "'weight' must be 2-D", tuple(weight.shape)))
    padding = _padding_index("embedding", padding_idx, weight.shape[0])
    _limit_norms(weight, input, max_norm, norm_type)
    return _embedding(input, weight, padding, scale_grad_by_freq)


# -- bags ----------------------------------------------------------------------------------------------


def _bag_numbers(offsets: Any, count: int, bags: int) -> Any:
    """The bag of each of `count` indices, from where each bag begins."""
    shape = (count, bags)
    place = bind(iota_p, shape=shape, dim=0, dtype=dtypes.int64)
    starts = expand_to(reshaped(cast(offsets, dtypes.int64), (1, bags)), shape)
    return sum_op(cast(starts <= place, dtypes.int64), 1) - 1


def _largest(rows: Any, kept: Any, bag: Any, bags: int) -> Any:
    """The largest element of each bag and column, 0 for bags without rows; the gradient goes to the
    first of equal ones."""
    count, width = rows.shape
    wide = expand_to(reshaped(bag, (count, 1)), (count, width))
    open_rows = where(kept, detach(rows), -math.inf)
    low = constant(-math.inf, rows.dtype, (bags, width))
    peak = bind(scatter_p, low, open_rows, bag, dims=(0,), mode="max")
    hit = bitwise_and(eq(take_along(peak, wide, 0), open_rows), kept)
    place = bind(iota_p, shape=(count, width), dim=0, dtype=dtypes.int64)
    none = constant(count, dtypes.int64, (bags, width))
    places = where(hit, place, count)
    first = bind(scatter_p, none, places, bag, dims=(0,), mode="min")
    found = lt(first, count)
    return where(found, take_along(rows, where(found, first, 0), 0), 0.0)


@composite
def _embedding_bag(
    input: Any, weight: Any, offsets: Any, samples: Any, mode: str, bags: int,
    padding: int | None, by_frequency: bool,
) -> Any:  # fmt: skip
    count = math.prod(input.shape)
    index = reshaped(cast(input, dtypes.int64), (count,))
    if count == 0:
        return constant(0, weight.dtype, (bags, weight.shape[1]))
    if offsets is None:
        place = bind(iota_p, shape=(count,), dim=0, dtype=dtypes.int64)
        bag = floor_divide(place, count // bags)
    else:
        bag = _bag_numbers(offsets, count, bags)
    rows = _looked_up(weight, index, None, by_frequency)
    kept = ne(index, -1 if padding is None else padding)
    wide = expand_to(reshaped(kept, (count, 1)), rows.shape)
    if mode == "max":
        return _largest(rows, wide, bag, bags)
    rows = where(wide, rows, 0.0)
    if samples is not None:
        rows = rows * reshaped(samples, (count, 1))
    zeros = constant(0, rows.dtype, (bags, rows.shape[1]))
    total = bind(scatter_p, zeros, rows, bag, dims=(0,), mode="add")
    if mode == "sum":
        return total
    none = constant(0, rows.dtype, (bags,))
    sizes = bind(scatter_p, none, cast(kept, rows.dtype), bag, dims=(0,), mode="add")
    return total / reshaped(maximum(sizes, 1.0), (bags, 1))


def embedding_bag(
    input: Any, weight: Any, offsets: Any = None, max_norm: float | None = None,
    norm_type: float = 2, scale_grad_by_freq: bool = False, mode: str = "mean",
    sparse: bool = False, per_sample_weights: Any = None, include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:  # fmt: skip
    """Sums, means or maxima of the rows of bags: (B, S) indices, or (N,) with offsets → (B, D).

    offsets: where each bag begins. per_sample_weights: factors of the rows, with mode "sum".
    """
    _check_indices("embedding_bag", input)
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if per_sample_weights is not None:
        if mode != "sum":
            raise NotImplementedError(
                "embedding_bag: per_sample_weights was not None. per_sample_weights is only "
                f"supported for mode='sum' (got mode='{mode}')."
            )
        if tuple(per_sample_weights.shape) != tuple(input.shape):
            raise ValueError(
                message(
                    "embedding_bag", "per_sample_weights has another shape than the input",
                    tuple(per_sample_weights.shape), str(tuple(input.shape)),
                )
            )
    if mode == "max" and scale_grad_by_freq:
        raise ValueError("max mode does not support scaling the gradient by the frequency")
    bags = _count_bags(input, offsets, include_last_offset)
    if offsets is not None:
        offsets = offsets[:bags]
    padding = _padding_index("embedding_bag", padding_idx, weight.shape[0])
    _limit_norms(weight, input, max_norm, norm_type)
    return _embedding_bag(
        input, weight, offsets, per_sample_weights, mode, bags, padding, scale_grad_by_freq
    )


def _count_bags(input: Any, offsets: Any, include_last: bool) -> int:
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError("if input is 2D, then offsets has to be None, as input is treated is "
                             f"a mini-batch of fixed length sequences. However, found offsets of type {type(offsets)}")  # fmt: skip
        return int(input.shape[0])
    if input.ndim != 1:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}")
    if offsets is None:
        raise ValueError("offsets has to be a 1D Tensor but got None")
    if offsets.ndim != 1:
        raise ValueError("offsets has to be a 1D Tensor")
    if isinstance(offsets, Tensor) and offsets.shape[0]:
        if int(offsets[0]) != 0:
            raise ValueError("offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0.")  # fmt: skip
        if int(offsets[-1]) > input.shape[0]:
            raise ValueError(f"offsets[-1] can not be greater than input's length {input.shape[0]}")
    return int(offsets.shape[0]) - include_last
