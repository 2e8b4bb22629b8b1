"""The image that windows are read from: where it lies, or a copy with its padding.

A copy is made where a window reaches beyond the image, or where the image's layout or dtype has no
axis that vectors could run along. It keeps the layout's order: channels-last stays channels-last.
"""

from __future__ import annotations

from collections.abc import Sequence

from fanal.backends.native.contract.element import is_stored_as
from fanal.backends.native.contract.pad import Axis, add_pad
from fanal.backends.native.contract.plan import COMPUTE_DTYPES
from fanal.backends.native.contract.shape import Shape
from fanal.backends.native.contract.windows import Phase
from fanal.backends.native.program import Access, ProgramBuilder
from fanal.core.errors import Limit


def padded_image(
    p: ProgramBuilder,
    s: Shape,
    x: Access,
    axes: Sequence[Sequence[Phase]],
    pixel_lanes: bool,
    deal: int = 1,
) -> tuple[Access, list[int]]:
    """An access that holds all windows, and the place of element 0 along every spatial axis.

    With `deal`, rows are dealt out (see `pad.py`) and the last stride is that between every
    deal-th element; the image must not be channels-last.
    """
    spatial = len(axes)
    low, high = margins(x, axes)
    if deal > 1:
        return _channels_first(p, s, x, low, high, deal), low
    channels_last = x.strides[1] == 1 and x.shape[1] > 1
    readable = is_stored_as(x.dtype, s.scalar) if not pixel_lanes else True
    vectors = not pixel_lanes or x.strides[-1] == 1 or channels_last or x.shape[-1] == 1
    if not any(low) and not any(high) and readable and vectors:
        return x, [0] * spatial
    if channels_last:
        copy = _channels_last(p, s, x, low, high)
        if copy is not None:
            return copy, low
    return _channels_first(p, s, x, low, high), low


def image_of_pixels(
    p: ProgramBuilder, s: Shape, x: Access, axes: Sequence[Sequence[Phase]]
) -> tuple[Access, list[int]]:
    """As `padded_image`, but with the channels of a pixel as neighbours, in compute type."""
    if x.strides[1] == 1:
        return padded_image(p, s, x, axes, pixel_lanes=False)
    low, high = margins(x, axes)
    depth, height, width = _spatial_axes(x, low, high)
    laid = _pixels_first(p, s, x, [axis.padded for axis in (depth, height, width)][3 - len(low) :])
    planes = (x.shape[0], x.strides[0]), (1, 0)
    add_pad(p, s, x, laid, planes, (depth, height, width), (x.shape[1], x.strides[1]))
    return laid, low


def margins(x: Access, axes: Sequence[Sequence[Phase]]) -> tuple[list[int], list[int]]:
    """Padding that the windows need before and after the image, along every spatial axis.

    No axes: the image by itself, without windows.
    """
    spatial = len(x.shape) - 2
    if not 1 <= spatial <= 3:
        raise Limit(f"[conv] {spatial} spatial dims: the native backend has 1, 2 and 3.")
    if not axes:
        return [0] * spatial, [0] * spatial
    low, high = [], []
    for extent, phases in zip(x.shape[2:], axes, strict=True):
        bounds = [phase.bounds for phase in phases if phase.taps]
        low.append(max([0, *(-first for first, _ in bounds)]))
        high.append(max([0, *(last - (extent - 1) for _, last in bounds)]))
    return low, high


def _pixels_first(p: ProgramBuilder, s: Shape, x: Access, spatial: Sequence[int]) -> Access:
    """Room for a channels-last copy, seen as (images, channels, *spatial)."""
    laid = p.temp_like(COMPUTE_DTYPES[s.scalar], (x.shape[0], *spatial, x.shape[1]))
    strides = (laid.strides[0], 1, *laid.strides[1:-1])
    return Access(laid.buffer, laid.dtype, (x.shape[0], x.shape[1], *spatial), strides)


def _spatial_axes(x: Access, low: Sequence[int], high: Sequence[int]) -> list[Axis]:
    axes = [
        Axis(low[i], x.shape[2 + i], high[i], x.strides[2 + i]) for i in range(len(x.shape) - 2)
    ]
    return [Axis(0, 1, 0, 0)] * (3 - len(axes)) + axes


def _channels_first(
    p: ProgramBuilder,
    s: Shape,
    x: Access,
    low: Sequence[int],
    high: Sequence[int],
    deal: int = 1,
) -> Access:
    axes = _spatial_axes(x, low, high)
    spatial = [axis.padded for axis in axes][3 - len(low) :]
    shape = (*x.shape[:2], *spatial[:-1], -(-spatial[-1] // deal) * deal)
    copy = p.temp_like(COMPUTE_DTYPES[s.scalar], shape)
    planes = (x.shape[0], x.strides[0]), (x.shape[1], x.strides[1])
    add_pad(p, s, x, copy, planes, (axes[0], axes[1], axes[2]), deal=deal)
    return copy


def _channels_last(
    p: ProgramBuilder, s: Shape, x: Access, low: Sequence[int], high: Sequence[int]
) -> Access | None:
    """The copy [n][…][width][channels], or None where pixels do not follow one another."""
    channels = x.shape[1]
    if x.strides[-1] != channels and x.shape[-1] > 1:
        return None
    depth, height, width = _spatial_axes(x, low, high)
    row = Axis(width.low * channels, width.extent * channels, width.high * channels, 1)
    spatial = [axis.padded for axis in (depth, height, width)][3 - len(low) :]
    laid = _pixels_first(p, s, x, spatial)
    planes = (x.shape[0], x.strides[0]), (1, 0)
    add_pad(p, s, x, laid, planes, (depth, height, row))
    return laid
