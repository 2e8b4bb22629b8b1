"""`interpolate`: the spatial dimensions in another size."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from fanal.core import dtypes
from fanal.core.symbols import size as size_of
from fanal.nn.functional.adaptive_pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
)
from fanal.nn.functional.composite import composite
from fanal.nn.functional.resample import (
    antialiased,
    cubic_taps,
    linear_taps,
    nearest,
    resampled,
)
from fanal.ops.comparing import clamp
from fanal.ops.pointwise import floor
from fanal.ops.promotion import cast

Scales = tuple[float | None, ...]
_DIMS = {"linear": 3, "bilinear": 4, "bicubic": 4, "trilinear": 5, "lanczos": 4}


@composite
def _interpolate(
    input: Any, out: tuple[int, ...], scales: Scales, mode: str, align: bool, antialias: bool
) -> Any:
    # Whole numbers are computed in float32, and rounded after each dimension, as in PyTorch.
    pixels = input.dtype is dtypes.uint8 and mode not in ("nearest", "nearest-exact")
    x = cast(input, dtypes.float32) if pixels else input
    # The innermost dimension first, as PyTorch's separable kernels.
    for i in reversed(range(len(out))):
        d, m, scale = 2 + i, out[i], scales[i]
        n = x.shape[d]
        if mode in ("nearest", "nearest-exact"):
            x = nearest(x, d, m, scale, mode == "nearest-exact")
        elif antialias:
            x = antialiased(x, d, m, scale, align, mode)
        elif m != n or (scale is not None and scale != 1 and not align):
            taps = cubic_taps if mode == "bicubic" else linear_taps
            x = resampled(x, d, taps(n, m, scale, align, x.dtype))
        if pixels:
            x = clamp(floor(x + 0.5), 0.0, 255.0)
    return cast(x, dtypes.uint8) if pixels else x


def _sizes(
    input: Any, size: Any, scale_factor: Any, recompute: bool | None, mode: str
) -> tuple[tuple[int, ...], Scales]:
    """The result's extents, and the factors that positions are computed with (None: the sizes')."""
    n = input.ndim - 2
    if (size is None) == (scale_factor is None):
        what = "either size or scale_factor should be defined"
        if size is not None:
            what = "only one of size or scale_factor should be defined"
        raise ValueError(what)
    if recompute and size is not None:
        raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    given = size if size is not None else scale_factor
    name = "size" if size is not None else "scale_factor"
    values = tuple(given) if isinstance(given, Sequence) else (given,) * n
    if len(values) != n:
        raise ValueError(
            f"Input and {'output' if size is not None else name} must have the same number of "
            f"spatial dimensions, but got input with spatial dimensions of "
            f"{list(input.shape[2:])} and {name} of {given}. Please provide input tensor in "
            "(N, C, d1, d2, ...,dK) format."
        )
    if size is not None:
        if not all(hasattr(v, "__index__") for v in values):
            raise TypeError(
                "expected size to be one of int or Tuple[int] or Tuple[int, int] or Tuple[int, "
                f"int, int], but got size with types {[type(v) for v in values]}"
            )
        return tuple(map(size_of, values)), (None,) * n
    out = tuple(size_of(m * v) for m, v in zip(input.shape[2:], values, strict=True))
    kept = recompute or mode == "area"
    return out, (None,) * n if kept else tuple(float(v) for v in values)


def interpolate(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
    align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:  # fmt: skip
    """The spatial dimensions of (N, C, …) in another size, or scaled by a factor.

    mode: "nearest", "nearest-exact", "linear" (3-d), "bilinear", "bicubic", "lanczos" (4-d),
    "trilinear" (5-d), "area". `align_corners`: the corner elements' centres coincide, else their
    outer corners. `antialias`: a filter as wide as the result's elements, as in Pillow.
    """
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError(
                "align_corners option can only be set with the interpolating modes: linear | "
                "bilinear | bicubic | trilinear"
            )
    elif mode not in _DIMS or input.ndim not in (3, 4, 5):
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.ndim}D) for the "
            "modes: nearest | linear | bilinear | bicubic | trilinear | lanczos | area | "
            f"nearest-exact (got {mode})"
        )
    out, scales = _sizes(input, size, scale_factor, recompute_scale_factor, mode)
    if antialias and not (mode in ("bilinear", "bicubic", "lanczos") and input.ndim == 4):
        raise ValueError(
            "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires "
            "a 4-D tensor as input"
        )
    if mode in _DIMS and _DIMS[mode] != input.ndim:
        raise NotImplementedError(
            f"Got {input.ndim}D input, but {mode} mode needs {_DIMS[mode]}D input"
        )
    if mode == "lanczos" and (align_corners or not antialias):
        raise ValueError("Lanczos mode requires antialias=True and align_corners=False")
    if any(m < 1 for m in out):
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, but got input {tuple(input.shape)} "
            f"output {out}"
        )
    if mode == "area":
        pool = {3: adaptive_avg_pool1d, 4: adaptive_avg_pool2d, 5: adaptive_avg_pool3d}
        return pool[input.ndim](input, out)
    return _interpolate(input, out, scales, mode, bool(align_corners), antialias)


def upsample(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
    align_corners: bool | None = None,
) -> Any:  # fmt: skip
    """The old name of `interpolate`."""
    warnings.warn(
        "`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Any, size: Any = None, scale_factor: Any = None) -> Any:
    """`interpolate` with mode "nearest"."""
    warnings.warn(
        "`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Any, size: Any = None, scale_factor: Any = None) -> Any:
    """`interpolate` with mode "bilinear" and aligned corners."""
    warnings.warn(
        "`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)
