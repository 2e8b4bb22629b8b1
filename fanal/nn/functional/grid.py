"""Sampling an image at computed places: `grid_sample`, and the grids of affine maps."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.core.errors import message
from fanal.core.symbols import real
from fanal.core.symbols import size as size_of
from fanal.nn.functional.composite import composite
from fanal.nn.functional.resample import cubic_weights
from fanal.ops.arithmetic import round_p
from fanal.ops.create import iota_p
from fanal.ops.index import gather_p
from fanal.ops.layout import expand_to, move_axis, slice_dim
from fanal.ops.linear import matmul
from fanal.ops.pointwise import abs as absolute
from fanal.ops.pointwise import bitwise_and, detach, floor, fmod, where
from fanal.ops.promotion import cast, constant
from fanal.ops.shape import cat, reshaped, transpose

PADDINGS = ("zeros", "border", "reflection")


def _unnormalized(x: Any, n: int, align: bool) -> Any:
    """From [-1, 1] to element numbers: -1 is the first one's centre (or its outer edge)."""
    if align:
        return (x + 1.0) * ((n - 1) / 2)
    return ((x + 1.0) * real(n) - 1.0) / 2.0


def _clipped(x: Any, n: int) -> Any:
    return where(x <= 0, 0.0, where(x >= n - 1, float(n - 1), x))


def _reflected(x: Any, twice_low: int, twice_high: int) -> Any:
    """x reflected at low and high until it lies between them."""
    if twice_low == twice_high:
        return x * 0.0
    low, span = twice_low / 2, (twice_high - twice_low) / 2
    away = absolute(x - low)
    extra = fmod(away, span)
    flips = detach(floor(away / span))
    even = fmod(flips, 2.0) < 0.5
    return where(even, extra + low, span - extra + low)


def _placed(x: Any, n: int, padding: str, align: bool) -> Any:
    """A coordinate moved into the image, by the rule for what lies outside."""
    if padding == "border":
        return _clipped(x, n)
    if padding == "reflection":
        bounds = (0, 2 * (n - 1)) if align else (-1, 2 * n - 1)
        return _clipped(_reflected(x, *bounds), n)
    return x


def _read(x: Any, places: list[Any]) -> Any:
    """x (N, C, spatial…) at integral coordinates (N, outs…) each: (N, C, outs…), 0 outside."""
    n = len(places)
    inside: Any = None
    indices = []
    for place, extent in zip(places, x.shape[2:], strict=True):
        fits = bitwise_and(place >= 0, place <= extent - 1)
        inside = fits if inside is None else bitwise_and(inside, fits)
        indices.append((place, fits))
    whole = [cast(where(inside, p, 0.0), dtypes.int64) for p, _ in indices]
    shape = tuple(whole[0].shape)
    rows = bind(iota_p, shape=shape, dim=0, dtype=dtypes.int64)
    found = bind(gather_p, x, rows, *whole, dims=(0, *range(2, 2 + n)))
    wide = expand_to(reshaped(inside, (*shape, 1)), tuple(found.shape))
    return move_axis(where(wide, found, 0.0), found.ndim - 1, 1)


def _weighted(x: Any, places: list[Any], weight: Any) -> Any:
    value = _read(x, places)
    return value * reshaped(weight, (weight.shape[0], 1, *weight.shape[1:]))


def _linear(x: Any, coordinates: list[Any]) -> Any:
    lows = [detach(floor(c)) for c in coordinates]
    total = None
    for corner in itertools.product((0, 1), repeat=len(coordinates)):
        weight, places = None, []
        for side, c, low in zip(corner, coordinates, lows, strict=True):
            share = c - low if side else low + 1.0 - c
            weight = share if weight is None else weight * share
            places.append(low + float(side))
        part = _weighted(x, places, weight)
        total = part if total is None else total + part
    return total


def _cubic(x: Any, coordinates: list[Any], padding: str, align: bool) -> Any:
    lows = [detach(floor(c)) for c in coordinates]
    weights = [cubic_weights(c - low) for c, low in zip(coordinates, lows, strict=True)]
    total = None
    for taps in itertools.product(range(4), repeat=2):
        places = [
            _placed(low + float(tap - 1), n, padding, align)
            for tap, low, n in zip(taps, lows, x.shape[2:], strict=True)
        ]
        part = _weighted(x, places, weights[0][taps[0]] * weights[1][taps[1]])
        total = part if total is None else total + part
    return total


@composite
def _grid_sample(input: Any, grid: Any, mode: str, padding: str, align: bool) -> Any:
    n = input.ndim - 2
    coordinates = []
    for i in range(n):
        # The grid's last dimension is (x, y, z): the innermost one first.
        c = slice_dim(grid, grid.ndim - 1, n - 1 - i, n - i)
        c = reshaped(c, tuple(grid.shape[:-1]))
        coordinates.append(_unnormalized(c, input.shape[2 + i], align))
    if mode == "bicubic":
        return _cubic(input, coordinates, padding, align)
    pairs = zip(coordinates, input.shape[2:], strict=True)
    coordinates = [_placed(c, extent, padding, align) for c, extent in pairs]
    if mode == "nearest":
        found = _read(input, [bind(round_p, detach(c)) for c in coordinates])
        # The gradient of the grid is zero, not missing.
        always = constant(True, dtypes.bool_, tuple(coordinates[0].shape))
        nothing = where(always, 0.0, coordinates[0])
        return found + reshaped(nothing, (nothing.shape[0], 1, *nothing.shape[1:]))
    return _linear(input, coordinates)


def grid_sample(
    input: Any, grid: Any, mode: str = "bilinear", padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Any:  # fmt: skip
    """The input at places of its own: (N, C, H, W) and grid (N, h, w, 2) → (N, C, h, w).

    The grid holds (x, y) (or (x, y, z) for five dimensions) in [-1, 1], the image's extent. mode:
    "bilinear", "nearest", "bicubic" (4-d). padding_mode: "zeros", "border", "reflection".
    """
    name = "grid_sample"
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            "nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', "
            f"but got: '{mode}'"
        )
    if padding_mode not in PADDINGS:
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or "
            f"'reflection', but got: '{padding_mode}'"
        )
    shapes = f"input {tuple(input.shape)}, grid {tuple(grid.shape)}"
    if input.ndim not in (4, 5) or grid.ndim != input.ndim or grid.shape[-1] != input.ndim - 2:
        raise RuntimeError(message(name, "shapes don't fit", shapes, "(N, C, H, W), (N, h, w, 2)"))
    if input.shape[0] != grid.shape[0]:
        raise RuntimeError(message(name, "expected grid and input to have same batch size", shapes))
    if mode == "bicubic" and input.ndim == 5:
        raise RuntimeError(message(name, "bicubic interpolation only supports 4D input", shapes))
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since "
            "1.3.0. Please specify align_corners=True if the old behavior is desired. See the "
            "documentation of grid_sample for details.",
            stacklevel=2,
        )
    return _grid_sample(input, grid, mode, padding_mode, bool(align_corners))


def _line(n: int, align: bool, dtype: Any) -> Any:
    """n places from -1 to 1: the elements' centres where the outer ones (or outer edges) are ±1."""
    if n == 1:
        return bind(iota_p, shape=(1,), dim=0, dtype=dtype)
    i = bind(iota_p, shape=(n,), dim=0, dtype=dtype)
    return i * (2.0 / (n - 1)) - 1.0 if align else (i * 2.0 + 1.0) / n - 1.0


@composite
def _affine_grid(theta: Any, spatial: tuple[int, ...], align: bool) -> Any:
    n = len(spatial)
    columns = []
    for i in reversed(range(n)):
        shape = tuple(m if d == i else 1 for d, m in enumerate(spatial))
        line = reshaped(_line(spatial[i], align, theta.dtype), shape)
        columns.append(reshaped(expand_to(line, spatial), (*spatial, 1)))
    ones = columns[0] * 0.0 + 1.0
    count = 1
    for m in spatial:
        count *= m
    base = reshaped(cat((*columns, ones), n), (1, count, n + 1))
    grid = matmul(base, transpose(theta, 1, 2))
    return reshaped(grid, (theta.shape[0], *spatial, n))


def affine_grid(theta: Any, size: Any, align_corners: bool | None = None) -> Any:
    """The grid of affine maps for `grid_sample`: theta (N, 2, 3), size (N, C, H, W) → (N, H, W, 2).

    Or theta (N, 3, 4), size (N, C, D, H, W) → (N, D, H, W, 3).
    """
    if theta.dtype.kind != "f":
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    shape = tuple(map(size_of, size))
    expected = {4: (2, 3), 5: (3, 4)}.get(len(shape))
    if expected is None:
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, "
            f"respectively. Got size {shape}."
        )
    if theta.ndim != 3 or tuple(theta.shape[1:]) != expected:
        raise ValueError(
            f"Expected a batch of {expected[0]}D affine matrices of shape Nx{expected[0]}x"
            f"{expected[1]} for size {shape}. Got {theta.shape}."
        )
    if min(shape) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {shape}")
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since "
            "1.3.0. Please specify align_corners=True if the old behavior is desired. See the "
            "documentation of grid_sample for details.",
            stacklevel=2,
        )
    return _affine_grid(theta, shape[2:], bool(align_corners))
