"""Places in sorted sequences by bisection, membership, and counts in bins."""

from __future__ import annotations

import math
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused
from fanal.core.errors import message
from fanal.graph.ir import Value
from fanal.ops.index import gather_p, scatter_p, take_along
from fanal.ops.layout import expand_to
from fanal.ops.pointwise import bitwise_not, eq, ge, gt, le, minimum, where
from fanal.ops.promotion import cast, constant, result_type
from fanal.ops.reduce import reduce_any_p
from fanal.ops.shape import reshaped
from fanal.ops.sort import sort_p

# Below so many candidates, comparing with each is faster than sorting them.
FEW = 32


def bisected(read: Any, count: int, value: Value, right: bool) -> Value:
    """How many of `count` sorted elements come before each value (with `right`: or are equal).

    `read(index)` gives elements. Powers of two are added while they stay before the value, so the
    number of steps depends on `count` only. NaN comes after everything.
    """
    place = constant(0, dtypes.int64, value.shape)
    step = 1 << max(count.bit_length() - 1, 0)
    while step and count:
        candidate = place + step
        element = read(minimum(candidate, count) - 1)
        stop = gt(element, value) if right else ge(element, value)
        go = le(candidate, count) & bitwise_not(stop)
        place = where(go, candidate, place)
        step //= 2
    return place


@fused(scalars=("input",))
def _searchsorted(
    sorted_sequence: Any, input: Any, out_int32: bool, right: bool, sorter: Any
) -> Any:
    dtype = result_type(sorted_sequence, input)
    shape = input.shape if isinstance(input, Value) else ()
    value, sequence = cast(input, dtype), cast(sorted_sequence, dtype)
    if sequence.ndim == 0 or (sequence.ndim > 1 and sequence.shape[:-1] != shape[:-1]):
        raise RuntimeError(
            message(
                "searchsorted", "the sequences do not fit the values",
                f"{sequence.shape} and {shape}", "a vector, or equal shapes but for the last extent",
            )
        )
    if sorter is not None and sorter.shape != sequence.shape:
        raise RuntimeError(message("searchsorted", "the sorter's shape differs", sorter.shape))
    axis = sequence.ndim - 1

    def read(index: Value) -> Value:
        if sequence.ndim == 1:
            at = index if sorter is None else bind(gather_p, sorter, index, dims=(0,))
            return bind(gather_p, sequence, at, dims=(0,))
        at = index if sorter is None else take_along(sorter, index, axis)
        return take_along(sequence, at, axis)

    place = bisected(read, sequence.shape[-1], value, right)
    return cast(place, dtypes.int32) if out_int32 else place


def searchsorted(
    sorted_sequence: Any, input: Any, *, out_int32: bool = False, right: bool = False,
    side: str | None = None, sorter: Any = None,
) -> Any:  # fmt: skip
    """Where values would be inserted to keep the last dimension of a sequence sorted.

    side "left" (right=False): before equal elements; "right": behind them. `sorter`: indices that
    sort the sequence.
    """
    if side not in (None, "left", "right") or (side == "left" and right):
        raise RuntimeError(
            message("searchsorted", "side and right disagree or are unknown", (side, right),
                    "'left' or 'right'")
        )
    return _searchsorted(sorted_sequence, input, out_int32, right or side == "right", sorter)


def bucketize(
    input: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False
) -> Any:
    """Which bucket each value falls into, between sorted boundaries.

    right=False: bucket i holds boundaries[i-1] < v ≤ boundaries[i]; right=True: ≤ and <.
    """
    if boundaries.ndim != 1:
        raise RuntimeError(message("bucketize", "boundaries are not a vector", tuple(boundaries.shape)))
    return _searchsorted(boundaries, input, out_int32, right, None)


@fused(scalars=("elements", "test_elements"))
def isin(
    elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False
) -> Any:
    """Which elements occur among the test elements (with `invert`: do not)."""
    dtype = result_type(elements, test_elements)
    x, tests = cast(elements, dtype), cast(test_elements, dtype)
    n, count = math.prod(x.shape), math.prod(tests.shape)
    flat, tests = reshaped(x, (n,)), reshaped(tests, (count,))
    if count == 0:
        found = constant(False, dtypes.bool_, (n,))
    elif count <= FEW:
        same = eq(reshaped(flat, (n, 1)), reshaped(tests, (1, count)))
        found = bind(reduce_any_p, same, dims=(1,))
    else:
        ordered = bind(sort_p, tests, dim=0, descending=False)[0]

        def read(index: Value) -> Value:
            return bind(gather_p, ordered, index, dims=(0,))

        place = minimum(bisected(read, count, flat, False), count - 1)
        found = eq(read(place), flat)
    found = reshaped(found, x.shape)
    return bitwise_not(found) if invert else found


@fused
def counted(index: Any, weights: Any, size: int) -> Any:
    """Sums of weights (or counts) of `size` bins; index -1 counts nowhere."""
    if weights is None:
        weights = constant(1, dtypes.int64, index.shape)
    # What counts nowhere goes to a spare bin at the end.
    place = where(index < 0, size, index)
    empty = constant(0, weights.dtype, (size + 1,))
    n = math.prod(index.shape)
    flat = reshaped(place, (n,))
    updates = reshaped(weights, (n,))
    out = bind(scatter_p, empty, updates, flat, dims=(0,), mode="add") if n else empty
    from fanal.ops.layout import slice_dim

    return slice_dim(out, 0, 0, size)


@fused(scalars=("low", "high"))
def even_bins(input: Any, bins: int, low: Any, high: Any) -> Any:
    """The bin of each element among equal ones from low to high; -1 outside."""
    wide = dtypes.float64 if input.dtype is dtypes.float64 else dtypes.float32
    x, first, last = cast(input, wide), cast(low, wide), cast(high, wide)
    scaled = (x - expand_to(first, x.shape)) * float(bins) / (last - first)
    inside = ge(x, first) & le(x, last)
    place = minimum(cast(where(inside, scaled, 0.0), dtypes.int64), bins - 1)
    return where(inside, place, -1)


@fused
def edged_bins(input: Any, edges: Any) -> Any:
    """The bin of each element between sorted edges (the last one closed); -1 outside."""
    count = edges.shape[0]

    def read(index: Value) -> Value:
        return bind(gather_p, edges, index, dims=(0,))

    ends = constant(0, dtypes.int64, input.shape)
    first, last = read(ends), read(ends + (count - 1))
    inside = ge(input, first) & le(input, last)
    place = minimum(bisected(read, count, input, True) - 1, count - 2)
    return where(inside, place, -1)
