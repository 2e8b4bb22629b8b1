"""Counting elements: by value, in equal bins, between edges.

How many bins there are may depend on the data, so their number is read to Python; the counts come
from native programs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fanal.core import dtypes
from fanal.core.errors import message
from fanal.ops import rearranging, searching
from fanal.ops.results import Histogram
from fanal.ops.shape import reshape
from fanal.tensor import creation
from fanal.tensor.tensor import Tensor


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each of 0, 1, 2, … occurs in a vector of integers (or the sum of its weights)."""
    if input.ndim != 1 or input.dtype.kind not in "iu":
        kind = NotImplementedError if input.dtype.kind == "f" else RuntimeError
        raise kind(
            message("bincount", "not a vector of integers", f"{input.dtype!r} {tuple(input.shape)}")
        )
    if minlength < 0:
        raise RuntimeError(message("bincount", "minlength is negative", minlength))
    if weights is not None and tuple(weights.shape) != tuple(input.shape):
        raise RuntimeError(message("bincount", "one weight an element is needed", tuple(weights.shape)))
    if weights is not None and weights.dtype not in (dtypes.float32, dtypes.float64):
        weights = weights.to(dtypes.float64)
    size = minlength
    if input._layout.numel:
        low, high = (int(v.item()) for v in (input.min(), input.max()))
        if low < 0:
            raise RuntimeError(message("bincount", "a negative number", low, "0 or more"))
        size = max(size, high + 1)
    found: Tensor = searching.counted(input.detach().to(dtypes.int64), weights, size)
    return found


def _limits(
    name: str, input: Tensor, low: float, high: float, beyond: float = 0.5
) -> tuple[float, float]:
    """The range of bins: as given, or the data's; an empty one is made wider on both sides."""
    if name != "histc" and low == high == 0 and not input._layout.numel:
        return 0.0, 1.0
    if low == high == 0 and input._layout.numel:
        low, high = float(input.min().item()), float(input.max().item())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(message(name, "the range is not finite", (low, high)))
    if low > high:
        raise RuntimeError(message(name, "the range is empty", (low, high), "max above min"))
    return (low - beyond, high + beyond) if low == high else (low, high)


def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements fall into each of equal bins from min to max (of the data, if both are 0)."""
    if bins <= 0:
        raise RuntimeError(message("histc", "not a positive number of bins", bins))
    x = input.detach()
    low, high = _limits("histc", x, float(min), float(max), 1.0)
    counts = searching.counted(searching.even_bins(x, bins, low, high), None, bins)
    found: Tensor = counts.to(input.dtype)
    return found


def histogram(
    input: Tensor, bins: Any, *, range: Sequence[float] | None = None, weight: Tensor | None = None,
    density: bool = False,
) -> Any:  # fmt: skip
    """Counts (or sums of weights) in bins, and the bins' edges.

    `bins`: a number of equal ones, or a tensor of sorted edges. With `density` the integral is 1.
    """
    if input.dtype not in (dtypes.float32, dtypes.float64):
        raise RuntimeError(message("histogram", "only for float32 and float64", repr(input.dtype)))
    x = reshape(input.detach(), (-1,))
    if isinstance(bins, Tensor):
        edges = bins
    else:
        low, high = _limits("histogram", x, *(range or (0.0, 0.0)))
        edges = creation.linspace(low, high, bins + 1, dtype=x.dtype)
    if edges.ndim != 1 or edges.shape[0] < 2 or edges.dtype is not x.dtype:
        raise RuntimeError(
            message("histogram", "edges are not a vector of the input's dtype", tuple(edges.shape))
        )
    weights = None if weight is None else reshape(weight.to(x.dtype), (-1,))
    hist = searching.counted(searching.edged_bins(x, edges), weights, edges.shape[0] - 1)
    hist = hist.to(x.dtype)
    if density:
        hist = hist / hist.sum() / (edges[1:] - edges[:-1])
    return Histogram(hist, edges)


def histogramdd(
    input: Tensor, bins: Any, *, range: Sequence[float] | None = None, weight: Tensor | None = None,
    density: bool = False,
) -> Any:  # fmt: skip
    """Counts of points (…, n) in n-dimensional bins, and the edges of each dimension."""
    n = input.shape[-1]
    points = reshape(input.detach(), (-1, n))
    given = [bins] * n if isinstance(bins, int) else list(bins)
    if len(given) != n:
        raise RuntimeError(
            message("histogramdd", "one number of bins a dimension is needed", len(given), str(n))
        )
    edges = []
    for d, b in enumerate(given):
        if isinstance(b, Tensor):
            edges.append(b)
            continue
        ends = (0.0, 0.0) if range is None else (range[2 * d], range[2 * d + 1])
        low, high = _limits("histogramdd", points[:, d], *ends)
        edges.append(creation.linspace(low, high, b + 1, dtype=points.dtype))
    sizes = [e.shape[0] - 1 for e in edges]
    place, outside = creation.zeros(points.shape[0], dtype=dtypes.int64), None
    for d, e in enumerate(edges):
        index = searching.edged_bins(points[:, d], e)
        wild = index < 0
        outside = wild if outside is None else outside | wild
        place = place * sizes[d] + index
    place = rearranging.masked_fill(place, outside, -1)
    weights = None if weight is None else reshape(weight.to(points.dtype), (-1,))
    hist = reshape(searching.counted(place, weights, math.prod(sizes)).to(points.dtype), tuple(sizes))
    if density:
        hist = hist / hist.sum()
        for d, e in enumerate(edges):
            widths = e[1:] - e[:-1]
            hist = hist / reshape(widths, tuple(-1 if i == d else 1 for i, _ in enumerate(edges)))
    return Histogram(hist, tuple(edges))


class HistogramOfMany(Histogram):
    """Counts, and a tuple of edges."""
