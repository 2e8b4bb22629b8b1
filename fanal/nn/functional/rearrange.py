"""Functions that move elements: blocks as columns and back, pixels into channels and back."""

from __future__ import annotations

import math
from typing import Any

from fanal.core.dispatch import bind, fused
from fanal.core.errors import message
from fanal.nn.functional.window import Window, numbers, out_extent, padded_for
from fanal.ops.layout import pad_p
from fanal.ops.shape import permuted, reshaped
from fanal.ops.windows import window_sum_p, windows_p


def _window(name: str, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Window:
    return Window(
        numbers(kernel, 2, name, "kernel_size"), numbers(stride, 2, name, "stride"),
        numbers(padding, 2, name, "padding"), numbers(dilation, 2, name, "dilation"),
    )  # fmt: skip


def _counts(name: str, spatial: tuple[int, ...], window: Window) -> tuple[int, ...]:
    counts = tuple(
        out_extent(n, k, s, p, d, False) for n, k, s, p, d in zip(spatial, *window, strict=True)
    )
    if any(c < 1 for c in counts):
        raise RuntimeError(
            message(
                name, "no block fits", f"spatial size {spatial}, kernel {window.kernel}, "
                f"dilation {window.dilation}, padding {window.padding}",
            )
        )
    return counts


@fused
def _unfold(input: Any, window: Window) -> Any:
    single = input.ndim == 3
    x = reshaped(input, (1, *input.shape)) if single else input
    counts = _counts("unfold", tuple(x.shape[2:]), window)
    x = padded_for(x, window, counts, 0)
    view = bind(
        windows_p, x, first=2, size=window.kernel, stride=window.stride, dilation=window.dilation
    )
    columns = permuted(view, (0, 1, 4, 5, 2, 3))
    shape = (x.shape[1] * math.prod(window.kernel), math.prod(counts))
    return reshaped(columns, shape if single else (x.shape[0], *shape))


def unfold(
    input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Any:
    """Sliding blocks as columns: (N, C, H, W) → (N, C · kernel elements, blocks)."""
    if input.ndim not in (3, 4):
        raise RuntimeError(
            message("unfold", "Expected 3D or 4D (batch mode) tensor", tuple(input.shape))
        )
    return _unfold(input, _window("unfold", kernel_size, dilation, padding, stride))


@fused
def _fold(input: Any, out: tuple[int, ...], window: Window) -> Any:
    single = input.ndim == 2
    x = reshaped(input, (1, *input.shape)) if single else input
    counts = _counts("fold", out, window)
    n, rows, blocks = x.shape
    channels, rest = divmod(rows, math.prod(window.kernel))
    if rest or blocks != math.prod(counts):
        raise RuntimeError(
            message(
                "fold", "Expected size of input's dimensions 1 and 2 to match the blocks",
                tuple(input.shape),
                f"a multiple of {math.prod(window.kernel)}, and {math.prod(counts)} blocks",
            )
        )
    x = reshaped(x, (n, channels, *window.kernel, *counts))
    padded = tuple(m + 2 * p for m, p in zip(out, window.padding, strict=True))
    total = bind(
        window_sum_p, permuted(x, (0, 1, 4, 5, 2, 3)), first=2, size=window.kernel,
        stride=window.stride, dilation=window.dilation, extents=padded,
    )  # fmt: skip
    if any(window.padding):
        crop = (0, 0, *(-p for p in window.padding))
        total = bind(pad_p, total, low=crop, high=crop, interior=(0,) * 4, value=0)
    return reshaped(total, tuple(total.shape[1:])) if single else total


def fold(
    input: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0,
    stride: Any = 1,
) -> Any:  # fmt: skip
    """Columns added up as sliding blocks: (N, C · kernel elements, blocks) → (N, C, H, W)."""
    if input.ndim not in (2, 3):
        raise RuntimeError(
            message("fold", "Expected 2D or 3D (batch mode) tensor", tuple(input.shape))
        )
    out = numbers(output_size, 2, "fold", "output_size")
    return _fold(input, out, _window("fold", kernel_size, dilation, padding, stride))


@fused
def pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    """(…, C r², H, W) → (…, C, H r, W r). Shi et al., 2016."""
    r = upscale_factor
    _check_pixels("pixel_shuffle", input, r)
    *lead, channels, h, w = input.shape
    if channels % (r * r):
        raise RuntimeError(
            message(
                "pixel_shuffle", "channels must be divisible by the square of upscale_factor",
                channels, f"a multiple of {r * r}",
            )
        )
    n = len(lead)
    x = reshaped(input, (*lead, channels // (r * r), r, r, h, w))
    x = permuted(x, (*range(n + 1), n + 3, n + 1, n + 4, n + 2))
    return reshaped(x, (*lead, channels // (r * r), h * r, w * r))


@fused
def pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    """(…, C, H r, W r) → (…, C r², H, W)."""
    r = downscale_factor
    _check_pixels("pixel_unshuffle", input, r)
    *lead, channels, h, w = input.shape
    if h % r or w % r:
        raise RuntimeError(
            message(
                "pixel_unshuffle", "height and width must be divisible by downscale_factor",
                (h, w), f"multiples of {r}",
            )
        )
    n = len(lead)
    x = reshaped(input, (*lead, channels, h // r, r, w // r, r))
    x = permuted(x, (*range(n + 1), n + 2, n + 4, n + 1, n + 3))
    return reshaped(x, (*lead, channels * r * r, h // r, w // r))


def _check_pixels(name: str, input: Any, factor: int) -> None:
    if input.ndim < 3:
        raise RuntimeError(
            message(name, "expects input to have at least 3 dimensions", tuple(input.shape))
        )
    if factor <= 0:
        raise RuntimeError(message(name, "expects a positive factor", factor))


@fused
def channel_shuffle(input: Any, groups: int) -> Any:
    """Channels dealt out to groups: (N, g c, …) → channel i c + j comes to j g + i. Zhang, 2017."""
    if input.ndim < 3:
        raise RuntimeError(
            message("channel_shuffle", "expects input with > 2 dims", tuple(input.shape))
        )
    if groups <= 0 or input.shape[1] % groups:
        raise RuntimeError(
            message(
                "channel_shuffle", "Number of channels must be divisible by groups",
                f"{input.shape[1]} channels, {groups} groups",
            )
        )
    n, channels, *rest = input.shape
    x = reshaped(input, (n, groups, channels // groups, *rest))
    return reshaped(permuted(x, (0, 2, 1, *range(3, x.ndim))), tuple(input.shape))


native_channel_shuffle = channel_shuffle
