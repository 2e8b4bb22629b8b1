"""Strided windows of a value: what a view in memory is as operations on values, both ways.

A region of memory holds a value with a layout. A tensor elsewhere in it is a window: an offset and
other strides. `window_of` finds the operations that lead from the value to the window: permute and
reshape to the dimensions that the window walks, slice, reshape to the window's own dimensions, permute,
expand. `read` applies them, `put` applies their inverses to a window's new value.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

from fanal.ops.layout import expand_to
from fanal.ops.placing import part_of, put_slice
from fanal.ops.shape import permuted, reshaped
from fanal.tensor.layout import Layout

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """The steps from a region's value to a window's."""

    order: Shape  # the region's dimensions from the outermost to the innermost in memory
    refined: Shape  # their extents, split where the window's dimensions need it
    start: Shape
    count: Shape
    step: Shape
    turned: Shape  # the refined dimensions in the order of the window's strides
    moving: Shape  # the window's moving extents, largest stride first
    placed: Shape  # and their order in the window
    merged: Shape  # the window's shape before repetition
    shape: Shape

    def read(self, x: Any) -> Any:
        """The window of a region's value."""
        x = reshaped(permuted(x, self.order), self.refined)
        x = permuted(part_of(x, self.count, self.start, self.step), self.turned)
        x = permuted(reshaped(x, self.moving), self.placed)
        return expand_to(reshaped(x, self.merged), self.shape)

    def put(self, x: Any, v: Any) -> Any:
        """The region's value with this window replaced (which must not repeat elements)."""
        full = tuple(x.shape[d] for d in self.order)
        turned = tuple(self.count[d] for d in self.turned)
        v = reshaped(v, tuple(self.moving[d] for d in self.placed))
        v = reshaped(permuted(v, inverse(self.placed)), turned)
        v = permuted(v, inverse(self.turned))
        base = reshaped(permuted(x, self.order), self.refined)
        whole = put_slice(base, v, self.start, self.step)
        return permuted(reshaped(whole, full), inverse(self.order))


def inverse(order: Shape) -> Shape:
    """The permutation that undoes another."""
    back = [0] * len(order)
    for i, d in enumerate(order):
        back[d] = i
    return tuple(back)


@functools.lru_cache(maxsize=4096)
def window_of(region: Layout, offset: int, window: Layout) -> Window | None:
    """The window `offset` elements after the region's first element; None where no chain of views
    leads there."""
    if region.dtype is not window.dtype:
        return None
    if window.numel == 0 or region.numel == 0:
        return None
    order = tuple(sorted(range(region.ndim), key=lambda d: (-region.strides[d], d)))
    dims = [(region.shape[d], region.strides[d]) for d in order]
    if any(n > 1 and s <= 0 for n, s in dims) or not _nested(dims):
        return None
    axes = [d for d in range(window.ndim) if window.shape[d] > 1 and window.strides[d] != 0]
    if any(window.strides[d] < 0 for d in axes):
        return None
    axes.sort(key=lambda d: -window.strides[d])
    moving = [(window.shape[d], window.strides[d]) for d in axes]
    for runs in (_runs(moving), moving):
        refined = _refined(dims, sorted({t for _, t in runs}, reverse=True))
        found = _located(order, refined, offset, runs, axes, window)
        if found is not None:
            return found
    return None


def _runs(moving: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The dimensions, largest stride first, with those that continue one another joined."""
    runs: list[tuple[int, int]] = []
    for m, t in moving:
        if runs and runs[-1][1] == m * t:
            runs[-1] = (runs[-1][0] * m, t)
        else:
            runs.append((m, t))
    return runs


def _nested(dims: list[tuple[int, int]]) -> bool:
    """Whether no dimension reaches into the next outer one."""
    reach = 1
    for n, s in reversed(dims):
        if n > 1:
            if s < reach:
                return False
            reach = s * (n - 1) + reach
    return True


def _refined(dims: list[tuple[int, int]], strides: list[int]) -> list[tuple[int, int]]:
    """The dimensions, split at strides that fall inside of one and divide it."""
    out = list(dims)
    for t in strides:
        for i, (n, s) in enumerate(out):
            inside = n > 1 and s < t < s * n and t % s == 0 and n % (t // s) == 0
            finer = any(u < t and u % s == 0 and u >= s for u in strides)
            if inside and finer:
                out[i : i + 1] = [(n // (t // s), t), (t // s, s)]
                break
    return out


def _located(
    order: Shape, dims: list[tuple[int, int]], offset: int, runs: list[tuple[int, int]],
    axes: list[int], window: Layout,
) -> Window | None:  # fmt: skip
    start = []
    left = offset
    for n, s in dims:
        at = min(left // s, n - 1) if n > 1 else 0
        start.append(at)
        left -= at * s
    if left != 0 or offset < 0:
        return None
    count, step = [1] * len(dims), [1] * len(dims)
    owner: list[int] = []  # refined dimensions in the order of the runs
    for m, t in runs:
        found = _walked(dims, start, m, t)
        if found is None or any(i in owner for i, _, _ in found):
            return None
        for i, c, k in found:
            count[i], step[i] = c, k
            owner.append(i)
    rest = [i for i in range(len(dims)) if i not in owner]
    merged = tuple(
        1 if t == 0 and m > 1 else m for m, t in zip(window.shape, window.strides, strict=True)
    )
    if math.prod(merged) != math.prod(count):
        return None
    rank = {d: i for i, d in enumerate(axes)}
    return Window(
        order, tuple(n for n, _ in dims), tuple(start), tuple(count), tuple(step),
        (*rest, *owner), tuple(window.shape[d] for d in axes), tuple(rank[d] for d in sorted(axes)),
        merged, window.shape,
    )  # fmt: skip


def _walked(
    dims: list[tuple[int, int]], start: list[int], m: int, t: int
) -> list[tuple[int, int, int]] | None:
    """The dimensions, outermost first, that m steps of t walk over: (number, count, step)."""
    candidates = [i for i, (n, s) in enumerate(dims) if n > 1 and s <= t and t % s == 0]
    if not candidates:
        return None
    i = candidates[0]
    n, s = dims[i]
    k = t // s
    if start[i] + (m - 1) * k < n:
        return [(i, m, k)]
    # More than this dimension: all of it, and steps of the next outer one.
    if k != 1 or start[i] != 0 or m % n:
        return None
    outer = _walked([*dims[:i], (1, s), *dims[i + 1 :]], start, m // n, s * n)
    return None if outer is None else [*outer, (i, n, 1)]
