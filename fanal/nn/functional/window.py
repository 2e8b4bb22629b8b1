"""Sliding windows over the last dimensions: what pooling and unfold have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from fanal.core.dispatch import bind
from fanal.core.errors import message
from fanal.ops.layout import pad_p, slice_dim
from fanal.ops.shape import reshaped
from fanal.ops.windows import windows_p

Ints = tuple[int, ...]


class Window(NamedTuple):
    """Kernel, stride, padding and dilation of each spatial dimension."""

    kernel: Ints
    stride: Ints
    padding: Ints
    dilation: Ints


def numbers(value: Any, n: int, name: str, what: str) -> Ints:
    """One integer for each of n dimensions, from one or from n of them."""
    if isinstance(value, int):
        return (value,) * n
    if isinstance(value, Sequence) or hasattr(value, "__iter__"):
        found = tuple(int(v) for v in value)
        if len(found) == n:
            return found
        if len(found) == 1:
            return found * n
    raise RuntimeError(
        message(name, f"{what} must be one integer or {n}", repr(value), f"an int or {n} of them")
    )


def window_of(
    name: str, n: int, kernel: Any, stride: Any, padding: Any, dilation: Any = 1
) -> Window:
    """A window from a pooling function's arguments; stride None (or empty) means the kernel."""
    sizes = numbers(kernel, n, name, "kernel_size")
    empty = stride is None or (not isinstance(stride, int) and len(stride) == 0)
    steps = sizes if empty else numbers(stride, n, name, "stride")
    found = Window(
        sizes, steps, numbers(padding, n, name, "padding"), numbers(dilation, n, name, "dilation")
    )
    if any(v <= 0 for v in (*found.kernel, *found.stride, *found.dilation)):
        raise RuntimeError(
            message(name, "kernel size, stride and dilation must be greater than zero", found)
        )
    return found


def check_padding(name: str, window: Window) -> None:
    """RuntimeError unless each padding is at most half of the kernel."""
    for p, k, d in zip(window.padding, window.kernel, window.dilation, strict=True):
        if p < 0 or 2 * p > (k - 1) * d + 1:
            raise RuntimeError(
                message(
                    name, "pad should be at most half of effective kernel size",
                    f"pad={p}, kernel_size={k} and dilation={d}",
                )
            )


def check_input(name: str, x: Any, n: int) -> None:
    """RuntimeError unless x is (C, …) or (N, C, …) with n spatial dimensions, none empty."""
    if x.ndim not in (n + 1, n + 2) or 0 in x.shape[1 if x.ndim == n + 2 else 0 :]:
        raise RuntimeError(
            message(
                name, f"Expected {n + 1}D or {n + 2}D input with non-zero dimensions",
                tuple(x.shape),
            )
        )


def out_extent(n: int, k: int, s: int, p: int, d: int, ceil_mode: bool) -> int:
    """How many windows fit; with `ceil_mode` the last one may reach beyond the end."""
    span = n + 2 * p - d * (k - 1) - 1
    out = (-(-span // s) if ceil_mode else span // s) + 1
    # The last window must begin inside of the input or the left padding.
    return out - 1 if ceil_mode and (out - 1) * s >= n + p else out


def out_extents(name: str, spatial: Ints, window: Window, ceil_mode: bool) -> Ints:
    """Extents of a pooling's result; RuntimeError where it would be empty."""
    out = tuple(
        out_extent(n, k, s, p, d, ceil_mode)
        for n, k, s, p, d in zip(spatial, *window, strict=True)
    )
    if any(o < 1 for o in out):
        raise RuntimeError(
            message(
                name, "Output size is too small",
                f"input {spatial}, kernel {window.kernel}, result {out}",
            )
        )
    return out


def padded_for(x: Any, window: Window, out: Ints, value: Any) -> Any:
    """x with `value` around its last dimensions, so that exactly `out` windows fit."""
    first = x.ndim - len(out)
    high = tuple(
        (o - 1) * s + d * (k - 1) + 1 - n - p
        for o, n, k, s, p, d in zip(out, x.shape[first:], *window, strict=True)
    )
    none = (0,) * first
    zero = (0,) * x.ndim
    if not any(window.padding) and not any(high):
        return x
    return bind(
        pad_p, x, low=none + window.padding, high=none + high, interior=zero, value=value
    )


def windows_of(x: Any, window: Window, out: Ints, value: Any) -> Any:
    """Windows of the last dimensions, as (…, out extents…, elements of a window)."""
    n = len(out)
    x = padded_for(x, window, out, value)
    first = x.ndim - n
    view = bind(
        windows_p, x, first=first, size=window.kernel, stride=window.stride,
        dilation=window.dilation,
    )  # fmt: skip
    size = 1
    for k in window.kernel:
        size *= k
    return reshaped(view, (*view.shape[: first + n], size))


def slices_along(x: Any, d: int, k: int, s: int, dilation: int, out: int) -> list[Any]:
    """For each of the k places in a window along dimension d: the elements that stand there."""
    return [
        slice_dim(x, d, i * dilation, i * dilation + (out - 1) * s + 1, s) for i in range(k)
    ]
