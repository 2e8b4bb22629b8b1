"""Pooling over sliding windows: maxima, means and p-norms.

A window is reduced one dimension after another, each as a chain over strided slices, which fuses
into one elementwise kernel (the gradient as well). Of equal maxima the first one in row-major order
counts, as in PyTorch: first the leftmost of each row, then the topmost row.
"""

from __future__ import annotations

import math
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused
from fanal.core.errors import message
from fanal.core.symbols import real
from fanal.nn.functional.composite import composite
from fanal.nn.functional.window import (
    Ints,
    Window,
    check_input,
    check_padding,
    out_extents,
    padded_for,
    slices_along,
    window_of,
)
from fanal.ops.create import iota_p
from fanal.ops.index import scatter_p
from fanal.ops.pointwise import abs as absolute
from fanal.ops.pointwise import bitwise_or, maximum, minimum, ne, pow_general, where
from fanal.ops.promotion import cast, constant
from fanal.ops.reductions import sum as sum_op
from fanal.ops.shape import reshaped


def _lowest(x: Any) -> Any:
    if x.dtype.kind == "f":
        return -math.inf
    return 0 if x.dtype.kind == "u" else -(2 ** (x.dtype.bits - 1))


def _beats(new: Any, best: Any) -> Any:
    """Whether an element takes the maximum's place; NaN does, and keeps it."""
    if new.dtype.kind != "f":
        return new > best
    return bitwise_or(new > best, ne(new, new))


def max_windows(x: Any, window: Window, out: Ints, with_indices: bool) -> tuple[Any, Any]:
    """Maxima over windows of the last dimensions, and their flat indices in x (or None)."""
    n = len(out)
    first = x.ndim - n
    index = _flat_index(x, n) if with_indices else None
    best = padded_for(x, window, out, _lowest(x))
    place: Any = padded_for(index, window, out, -1) if with_indices else None
    for i in reversed(range(n)):
        step = (first + i, window.kernel[i], window.stride[i], window.dilation[i], out[i])
        values = slices_along(best, *step)
        places = slices_along(place, *step) if with_indices else [None] * len(values)
        best, place = values[0], places[0]
        for value, where_from in zip(values[1:], places[1:], strict=True):
            take = _beats(value, best)
            if with_indices:
                # Padding, marked by -1, gives way even to -inf.
                take = bitwise_or(take, place < 0)
                place = where(take, where_from, place)
            best = where(take, value, best)
    return best, place


def _flat_index(x: Any, n: int) -> Any:
    """The number of each element among the last n dimensions."""
    total = None
    step = 1
    for d in reversed(range(x.ndim - n, x.ndim)):
        part = bind(iota_p, shape=tuple(x.shape), dim=d, dtype=dtypes.int64)
        part = part if step == 1 else part * step
        total = part if total is None else total + part
        step *= x.shape[d]
    return total


@fused
def _max_pool(input: Any, window: Window, ceil_mode: bool, with_indices: bool) -> Any:
    n = len(window.kernel)
    out = out_extents("max_pool", tuple(input.shape[-n:]), window, ceil_mode)
    values, indices = max_windows(input, window, out, with_indices)
    return (values, indices) if with_indices else values


def _spread(window: Window, out: Ints, spatial: Ints, include_pad: bool) -> list[Any]:
    """For each dimension the number of elements that each window counts: an int where it is the
    same for all, else a float64 vector."""
    found: list[Any] = []
    for o, n, k, s, p in zip(out, spatial, window.kernel, window.stride, window.padding, strict=True):
        inside = (o - 1) * s - p + k <= n + p
        if inside and (include_pad or p == 0):
            found.append(k)
            continue
        start = bind(iota_p, shape=(o,), dim=0, dtype=dtypes.int64) * s - p
        end = minimum(start + k, n + p)
        size = end - start if include_pad else minimum(end, n) - maximum(start, 0)
        found.append(cast(size, dtypes.float64))
    return found


def mean_windows(x: Any, window: Window, out: Ints, include_pad: bool, divisor: int | None) -> Any:
    """Means over windows of the last dimensions."""
    n = len(out)
    first = x.ndim - n
    total = padded_for(x, window, out, 0)
    for i in reversed(range(n)):
        parts = slices_along(
            total, first + i, window.kernel[i], window.stride[i], 1, out[i]
        )
        total = parts[0]
        for part in parts[1:]:
            total = total + part
    if divisor is not None:
        return total / float(divisor)
    sizes = _spread(window, out, tuple(x.shape[first:]), include_pad)
    whole = 1
    for i, size in enumerate(sizes):
        if isinstance(size, int):
            whole *= size
        else:
            shape = tuple(out[i] if d == first + i else 1 for d in range(x.ndim))
            total = total / reshaped(cast(size, x.dtype), shape)
    return total / real(whole) if whole != 1 else total


@composite
def _avg_pool(
    input: Any, window: Window, ceil_mode: bool, include_pad: bool, divisor: int | None
) -> Any:
    n = len(window.kernel)
    spatial = tuple(input.shape[-n:])
    out = out_extents("avg_pool", spatial, window, ceil_mode)
    if input.dtype.kind != "f":  # whole numbers are cut to whole numbers
        mean = mean_windows(cast(input, dtypes.float64), window, out, include_pad, divisor)
        return cast(mean, input.dtype)
    if out == (1,) * n and window.kernel == spatial and not any(window.padding):
        total = sum_op(input, tuple(range(input.ndim - n, input.ndim)), True)
        return total / real(math.prod(spatial) if divisor is None else divisor)
    return mean_windows(input, window, out, include_pad, divisor)


@composite
def _lp_pool(input: Any, norm_type: float, window: Window, ceil_mode: bool) -> Any:
    n = len(window.kernel)
    out = out_extents("lp_pool", tuple(input.shape[-n:]), window, ceil_mode)
    powers = input * input if norm_type == 2 else pow_general(input, norm_type)
    total = mean_windows(powers, window, out, True, None)
    # The gradient of a window of zeros is zero.
    zero = total <= 0
    safe = where(zero, 1.0, total * float(math.prod(window.kernel)))
    return where(zero, 0.0, pow_general(safe, 1.0 / norm_type))


def max_pool(n: int) -> tuple[Any, Any]:
    """max_pool{n}d and its form that always returns indices."""
    name = f"max_pool{n}d"

    def with_indices(
        input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
        ceil_mode: bool = False, return_indices: bool = False,
    ) -> Any:  # fmt: skip
        check_input(name, input, n)
        window = window_of(name, n, kernel_size, stride, padding, dilation)
        check_padding(name, window)
        return _max_pool(input, window, ceil_mode, True)

    def pool(
        input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
        ceil_mode: bool = False, return_indices: bool = False,
    ) -> Any:  # fmt: skip
        check_input(name, input, n)
        window = window_of(name, n, kernel_size, stride, padding, dilation)
        check_padding(name, window)
        return _max_pool(input, window, ceil_mode, return_indices)

    doc = (
        "Maxima over sliding windows of (N, C, …) or (C, …); `stride` is the kernel's size by "
        "default. With `return_indices` also the flat spatial index of each."
    )
    return named(pool, name, doc), named(with_indices, f"{name}_with_indices", doc)


def named(function: Any, name: str, doc: str) -> Any:
    """Give a function made in a loop its name and documentation."""
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def avg_pool(n: int) -> Any:
    """avg_pool{n}d."""
    name = f"avg_pool{n}d"

    def pool(
        input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
        ceil_mode: bool = False, count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Any:  # fmt: skip
        check_input(name, input, n)
        if divisor_override == 0:
            raise RuntimeError(message(name, "divisor must be not zero", 0))
        window = window_of(name, n, kernel_size, stride, padding)
        check_padding(name, window)
        return _avg_pool(input, window, ceil_mode, count_include_pad, divisor_override)

    return named(
        pool, name,
        "Means over sliding windows of (N, C, …) or (C, …). Padding counts as zeros, or not at all "
        "without `count_include_pad`; `divisor_override` divides instead of the window's size.",
    )  # fmt: skip


def lp_pool(n: int) -> Any:
    """lp_pool{n}d."""
    name = f"lp_pool{n}d"

    def pool(
        input: Any, norm_type: float, kernel_size: Any, stride: Any = None,
        ceil_mode: bool = False,
    ) -> Any:  # fmt: skip
        check_input(name, input, n)
        window = window_of(name, n, kernel_size, stride, 0)
        if abs(norm_type) == math.inf:
            size = absolute(input)
            if norm_type > 0:
                return _max_pool(size, window, ceil_mode, False)
            return -_max_pool(-size, window, ceil_mode, False)
        return _lp_pool(input, float(norm_type), window, ceil_mode)

    return named(pool, name, "(Σ x^p)^(1/p) over sliding windows of (N, C, …) or (C, …).")


max_pool1d, max_pool1d_with_indices = max_pool(1)
max_pool2d, max_pool2d_with_indices = max_pool(2)
max_pool3d, max_pool3d_with_indices = max_pool(3)
avg_pool1d, avg_pool2d, avg_pool3d = (avg_pool(n) for n in (1, 2, 3))
lp_pool1d, lp_pool2d, lp_pool3d = (lp_pool(n) for n in (1, 2, 3))


# -- unpooling ---------------------------------------------------------------------------------------------


@fused
def _unpool(input: Any, indices: Any, out: Ints) -> Any:
    n = len(out)
    lead = tuple(input.shape[: input.ndim - n])
    planes, count = math.prod(lead), math.prod(input.shape[input.ndim - n :])
    flat = reshaped(input, (planes, count))
    places = reshaped(cast(indices, dtypes.int64), (planes, count))
    rows = bind(iota_p, shape=(planes, count), dim=0, dtype=dtypes.int64)
    zeros = constant(0, input.dtype, (planes, math.prod(out)))
    # The gradient of an element is read back from its place, also where another was written last.
    filled = bind(scatter_p, zeros, flat, rows, places, dims=(0, 1), mode="set")
    return reshaped(filled, (*lead, *out))


def _unpool_extents(
    name: str, input: Any, window: Window, output_size: Any
) -> Ints:
    n = len(window.kernel)
    default = tuple(
        (m - 1) * s + k - 2 * p
        for m, k, s, p in zip(
            input.shape[-n:], window.kernel, window.stride, window.padding, strict=True
        )
    )
    if output_size is None:
        return default
    size = tuple(int(v) for v in output_size)
    size = size[2:] if len(size) == n + 2 else size
    if len(size) != n:
        raise ValueError(
            f"output_size should be a sequence containing {n} or {n + 2} elements, but it has a "
            f"length of '{len(size)}'"
        )
    for d, (m, around, s) in enumerate(zip(size, default, window.stride, strict=True)):
        if not around - s < m < around + s:
            raise ValueError(
                f'invalid output_size "{size}" (dim {d} must be between {around - s} and '
                f"{around + s})"
            )
    return size


def max_unpool(n: int) -> Any:
    """max_unpool{n}d."""
    name = f"max_unpool{n}d"

    def unpool(
        input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
        output_size: Any = None,
    ) -> Any:  # fmt: skip
        window = window_of(name, n, kernel_size, stride, padding)
        if tuple(input.shape) != tuple(indices.shape):
            raise RuntimeError(
                message(
                    name, "Expected shape of indices to be same as that of the input tensor",
                    f"{tuple(indices.shape)} and {tuple(input.shape)}",
                )
            )
        return _unpool(input, indices, _unpool_extents(name, input, window, output_size))

    return named(
        unpool, name, "Zeros with the elements at the places that a max pooling's indices name."
    )


max_unpool1d, max_unpool2d, max_unpool3d = (max_unpool(n) for n in (1, 2, 3))
