"""Pooling to a given result size: windows of unequal lengths, and random ones.

Window o of a dimension covers ⌊o n / m⌋ … ⌈(o + 1) n / m⌉. Where the sizes divide, that is ordinary
pooling; else each window is read by index, at its full length, the last element repeated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused
from fanal.core.errors import message
from fanal.nn.functional.composite import composite
from fanal.nn.functional.pooling import named
from fanal.nn.functional.window import Ints, check_input, numbers
from fanal.ops.create import iota_p
from fanal.ops.index import gather_p, take_along
from fanal.ops.layout import expand_to, slice_dim
from fanal.ops.pointwise import floor_divide, minimum, trunc, where
from fanal.ops.promotion import cast
from fanal.ops.reduce import argmax_p, reduce_sum_p
from fanal.ops.reductions import mean as mean_op
from fanal.ops.shape import permuted, reshaped
from fanal.random.sampling import rand


def _sizes(name: str, output_size: Any, input: Any, n: int) -> Ints:
    """The result's extents; None in a sequence keeps the input's."""
    if n > 1 and not isinstance(output_size, int) and input.ndim <= n:
        raise ValueError(
            message(name, f"Input dimension should be at least {n + 1}", tuple(input.shape))
        )
    check_input(name, input, n)
    out = _given_sizes(name, output_size, tuple(input.shape[-n:]))
    if any(o < 0 for o in out):
        raise RuntimeError(message(name, "a negative output_size", out, "0 or more"))
    return out


def _given_sizes(name: str, output_size: Any, spatial: Ints) -> Ints:
    n = len(spatial)
    if isinstance(output_size, int):
        return (output_size,) * n
    given = tuple(output_size)
    if len(given) == 1 and n == 1:
        return numbers(given, n, name, "output_size")
    if len(given) != n:
        raise RuntimeError(message(name, f"output_size must have {n} numbers", given))
    return tuple(m if o is None else int(o) for o, m in zip(given, spatial, strict=True))


def longest(n: int, m: int) -> int:
    """The length of the longest of m windows over n elements."""
    return max(-(-(o + 1) * n // m) - o * n // m for o in range(m)) if m else 1


def _bounds(n: int, m: int) -> tuple[Any, Any]:
    """Where each window begins, and its length: int64 vectors."""
    o = bind(iota_p, shape=(m,), dim=0, dtype=dtypes.int64)
    start = floor_divide(o * n, m)
    end = floor_divide(o * n + (n + m - 1), m)
    return start, end - start


def _grid(parts: list[tuple[Any, Any, int]]) -> list[Any]:
    """Index tensors of shape (outs…, lengths…) from (starts, lengths, longest) of each dimension."""
    n = len(parts)
    shape = (*(s.shape[0] for s, _, _ in parts), *(most for _, _, most in parts))
    found = []
    for d, (start, length, _) in enumerate(parts):
        view = tuple(start.shape[0] if i == d else 1 for i in range(2 * n))
        offset = bind(iota_p, shape=shape, dim=n + d, dtype=dtypes.int64)
        last = expand_to(reshaped(length - 1, view), shape)
        found.append(expand_to(reshaped(start, view), shape) + minimum(offset, last))
    return found


def _read(x: Any, parts: list[tuple[Any, Any, int]]) -> tuple[Any, list[Any]]:
    """Windows of the last dimensions as (outs…, elements, lead…), and the indices of the elements."""
    n = len(parts)
    grid = _grid(parts)
    first = x.ndim - n
    dims = tuple(range(first, x.ndim))
    found = bind(gather_p, x, *grid, dims=dims)
    outs = tuple(grid[0].shape[:n])
    size = math.prod(grid[0].shape[n:])
    flat = [reshaped(i, (*outs, size)) for i in grid]
    return reshaped(found, (*outs, size, *x.shape[:first])), flat


def _behind(y: Any, n: int) -> Any:
    """The first n dimensions moved behind the others."""
    return permuted(y, (*range(n, y.ndim), *range(n)))


def _blocks(x: Any, out: Ints) -> tuple[Any, Ints]:
    """The last dimensions, which `out` divides, split into (outs…, block…), and the block's dims."""
    n = len(out)
    first = x.ndim - n
    sizes = [m // o for m, o in zip(x.shape[first:], out, strict=True)]
    pairs = [v for o, k in zip(out, sizes, strict=True) for v in (o, k)]
    x = reshaped(x, (*x.shape[:first], *pairs))
    order = [*range(first), *(first + 2 * i for i in range(n)), *(first + 2 * i + 1 for i in range(n))]
    x = permuted(x, order)
    return x, tuple(range(first + n, first + 2 * n))


@composite
def _adaptive_avg(input: Any, out: Ints) -> Any:
    n = len(out)
    spatial = tuple(input.shape[-n:])
    if all(o and m % o == 0 for m, o in zip(spatial, out, strict=True)):
        blocks, dims = _blocks(input, out)
        return mean_op(blocks, dims)
    parts = [(*_bounds(m, o), longest(m, o)) for m, o in zip(spatial, out, strict=True)]
    found, _ = _read(input, parts)
    counted = _inside(parts)
    wide = expand_to(
        reshaped(counted, (*counted.shape, *(1,) * (found.ndim - n - 1))), tuple(found.shape)
    )
    total = bind(reduce_sum_p, where(wide, found, 0.0), dims=(n,))
    for d, (_, length, _) in enumerate(parts):
        view = tuple(out[d] if i == d else 1 for i in range(total.ndim))
        total = total / reshaped(cast(length, total.dtype), view)
    return _behind(total, n)


def _inside(parts: list[tuple[Any, Any, int]]) -> Any:
    """Which elements of the windows of `_read` count (the others repeat the last one)."""
    n = len(parts)
    shape = (*(s.shape[0] for s, _, _ in parts), *(most for _, _, most in parts))
    found: Any = None
    for d, (_, length, _) in enumerate(parts):
        offset = bind(iota_p, shape=shape, dim=n + d, dtype=dtypes.int64)
        view = tuple(length.shape[0] if i == d else 1 for i in range(2 * n))
        inside = offset < expand_to(reshaped(length, view), shape)
        found = inside if found is None else found & inside
    return reshaped(found, (*shape[:n], math.prod(shape[n:])))


def _max_of(x: Any, parts: list[tuple[Any, Any, int]], with_indices: bool) -> Any:
    """The first largest element of each window, and its flat index among the last dimensions."""
    n = len(parts)
    spatial = tuple(x.shape[-n:])
    found, indices = _read(x, parts)
    best = bind(argmax_p, found, dim=n)
    at = reshaped(best, (*best.shape[:n], 1, *best.shape[n:]))
    values = _behind(reshaped(take_along(found, at, n), tuple(best.shape)), n)
    if not with_indices:
        return values
    flat: Any = None
    step = 1
    for i, m in zip(reversed(indices), reversed(spatial), strict=True):
        flat = i * step if flat is None else flat + i * step
        step *= m
    lead = tuple(x.shape[:-n])
    wide = expand_to(reshaped(flat, (*flat.shape, *(1,) * len(lead))), (*flat.shape, *lead))
    places = reshaped(take_along(wide, at, n), tuple(best.shape))
    return values, _behind(places, n)


@fused
def _adaptive_max(input: Any, out: Ints, with_indices: bool) -> Any:
    spatial = tuple(input.shape[-len(out) :])
    parts = [(*_bounds(m, o), longest(m, o)) for m, o in zip(spatial, out, strict=True)]
    return _max_of(input, parts, with_indices)


def adaptive_avg_pool(n: int) -> Any:
    """adaptive_avg_pool{n}d."""
    name = f"adaptive_avg_pool{n}d"

    def pool(input: Any, output_size: Any) -> Any:
        return _adaptive_avg(input, _sizes(name, output_size, input, n))

    return named(pool, name, "Means over as many windows as the result has elements.")


def adaptive_max_pool(n: int) -> tuple[Any, Any]:
    """adaptive_max_pool{n}d and its form that always returns indices."""
    name = f"adaptive_max_pool{n}d"

    def pool(input: Any, output_size: Any, return_indices: bool = False) -> Any:
        out = _sizes(name, output_size, input, n)
        return _adaptive_max(input, out, return_indices)

    def with_indices(input: Any, output_size: Any, return_indices: bool = False) -> Any:
        return pool(input, output_size, True)

    doc = "Maxima over as many windows as the result has elements; also their flat indices."
    return named(pool, name, doc), named(with_indices, f"{name}_with_indices", doc)


adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = (
    adaptive_avg_pool(n) for n in (1, 2, 3)
)
adaptive_max_pool1d, adaptive_max_pool1d_with_indices = adaptive_max_pool(1)
adaptive_max_pool2d, adaptive_max_pool2d_with_indices = adaptive_max_pool(2)
adaptive_max_pool3d, adaptive_max_pool3d_with_indices = adaptive_max_pool(3)


# -- fractional ------------------------------------------------------------------------------------------------


def _starts(sample: Any, n: int, m: int, k: int) -> Any:
    """Where m windows of k elements begin, for each sample in [0, 1): (…) → (…, m).

    ⌊(o + u) α⌋ - ⌊u α⌋ with α = (n - k) / (m - 1), the last one at n - k. Graham, 2014.
    """
    shape = (*sample.shape, m)
    o = bind(iota_p, shape=shape, dim=sample.ndim, dtype=sample.dtype)
    u = expand_to(reshaped(sample, (*sample.shape, 1)), shape)
    alpha = (n - k) / (m - 1) if m > 1 else 0.0
    starts = cast(trunc((o + u) * alpha) - trunc(u * alpha), dtypes.int64)
    number = bind(iota_p, shape=shape, dim=sample.ndim, dtype=dtypes.int64)
    return where(number >= m - 1, n - k, starts)


@fused
def _fractional(input: Any, samples: Any, kernel: Ints, out: Ints, order: Ints) -> Any:
    n = len(out)
    rows, channels = input.shape[:2]
    shape = (rows, channels, *out, *kernel)
    flat: Any = None
    places, step = [], 1
    for d in range(n):
        u = reshaped(_column(samples, order[d]), (rows, channels))
        start = _starts(u, input.shape[2 + d], out[d], kernel[d])
        view = (rows, channels, *(out[d] if i == d else 1 for i in range(2 * n)))
        offset = bind(iota_p, shape=shape, dim=2 + n + d, dtype=dtypes.int64)
        places.append(expand_to(reshaped(start, view), shape) + offset)
    lead = [bind(iota_p, shape=shape, dim=d, dtype=dtypes.int64) for d in (0, 1)]
    size = math.prod(kernel)
    found = bind(gather_p, input, *lead, *places, dims=tuple(range(2 + n)))
    found = reshaped(found, (rows, channels, *out, size))
    best = bind(argmax_p, found, dim=2 + n)
    at = reshaped(best, (*best.shape, 1))
    for place, m in zip(reversed(places), reversed(input.shape[2:]), strict=True):
        flat = place * step if flat is None else flat + place * step
        step *= m
    index = take_along(reshaped(flat, tuple(found.shape)), at, 2 + n)
    return reshaped(take_along(found, at, 2 + n), tuple(best.shape)), reshaped(
        index, tuple(best.shape)
    )


def _column(samples: Any, i: int) -> Any:
    return slice_dim(samples, samples.ndim - 1, i, i + 1)


def fractional_max_pool(n: int) -> tuple[Any, Any]:
    """fractional_max_pool{n}d and its form that always returns indices."""
    name = f"fractional_max_pool{n}d"
    # In two dimensions PyTorch's samples are for the width first.
    order = (1, 0) if n == 2 else (0, 1, 2)

    def with_indices(
        input: Any, kernel_size: Any, output_size: Any = None, output_ratio: Any = None,
        return_indices: bool = False, _random_samples: Any = None,
    ) -> Any:  # fmt: skip
        if output_size is None and output_ratio is None:
            raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
        check_input(name, input, n)
        spatial = tuple(input.shape[-n:])
        if output_size is None:
            ratios = output_ratio if isinstance(output_ratio, Sequence) else (output_ratio,) * n
            output_size = tuple(int(m * r) for m, r in zip(spatial, ratios, strict=True))
        kernel = numbers(kernel_size, n, name, "kernel_size")
        out = numbers(output_size, n, name, "output_size")
        if any(o + k - 1 > m for o, k, m in zip(out, kernel, spatial, strict=True)):
            raise RuntimeError(
                message(
                    name, "kernel and output are too large for the input",
                    f"kernel {kernel}, output {out}, input {spatial}",
                )
            )
        single = input.ndim == n + 1
        x = input[None] if single else input
        if _random_samples is None:
            dtype = input.dtype if input.dtype.bits > 16 else dtypes.float32
            _random_samples = rand(x.shape[0], x.shape[1], n, dtype=dtype)
        elif _random_samples.shape[0] > x.shape[0]:
            _random_samples = _random_samples[: x.shape[0]]
        values, indices = _fractional(x, _random_samples, kernel, out, order)
        return (values[0], indices[0]) if single else (values, indices)

    def pool(
        input: Any, kernel_size: Any, output_size: Any = None, output_ratio: Any = None,
        return_indices: bool = False, _random_samples: Any = None,
    ) -> Any:  # fmt: skip
        found = with_indices(
            input, kernel_size, output_size, output_ratio, True, _random_samples
        )
        return found if return_indices else found[0]

    doc = (
        "Maxima over windows at random steps, so that the sizes' ratio may be a fraction; the "
        "result's size is `output_size`, or `output_ratio` of the input's."
    )
    return named(pool, name, doc), named(with_indices, f"{name}_with_indices", doc)


fractional_max_pool2d, fractional_max_pool2d_with_indices = fractional_max_pool(2)
fractional_max_pool3d, fractional_max_pool3d_with_indices = fractional_max_pool(3)
