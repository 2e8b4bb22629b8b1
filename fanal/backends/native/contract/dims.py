"""The loops of a contraction: extents, and a stride of every operand along each.

A contraction is `out[batch, row, col] = Σ_inner a[batch, row, inner] · b[batch, inner, col]`, where
each of the four axes is a list of loops. Matmul, convolution and both of its gradients are such
contractions of strided (perhaps overlapping) windows; this module knows only integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# The step of an operand along a loop, in elements; or where it is at every index (from 0 at 0 on).
Steps = int | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Dim:
    """One loop: its extent, and for every operand the step in elements (0: it does not move)."""

    extent: int
    steps: tuple[Steps, ...]


def fixed(step: Steps) -> int:
    """A step that is the same at every index, as those of rows of a batch are."""
    assert not isinstance(step, tuple)
    return step


def merged(dims: Iterable[Dim]) -> tuple[Dim, ...]:
    """The same walk with fewer loops: extents of 1 dropped, neighbours that continue joined."""
    result: list[Dim] = []
    for dim in dims:
        if dim.extent == 1:
            continue
        if result:
            outer = result[-1]
            if all(_continues(o, i, dim.extent) for o, i in zip(outer.steps, dim.steps, strict=True)):
                result[-1] = Dim(outer.extent * dim.extent, dim.steps)
                continue
        result.append(dim)
    return tuple(result)


def _continues(outer: Steps, inner: Steps, extent: int) -> bool:
    listed = isinstance(outer, tuple) or isinstance(inner, tuple)
    return not listed and outer == extent * inner


def extent_of(dims: Sequence[Dim]) -> int:
    """The number of points that the loops walk over."""
    total = 1
    for dim in dims:
        total *= dim.extent
    return total


def walk_of(dims: Sequence[Dim], operand: int) -> tuple[tuple[int, Steps], ...]:
    """(extent, step) of every loop for one operand, with neighbours that continue joined."""
    single = merged(Dim(d.extent, (d.steps[operand],)) for d in dims)
    return tuple((d.extent, d.steps[0]) for d in single)


def needs_table(dims: Sequence[Dim], operand: int) -> bool:
    """Whether an operand's places along the loops are no multiples of one step."""
    walk = walk_of(dims, operand)
    return len(walk) > 1 or (len(walk) == 1 and isinstance(walk[0][1], tuple))


def innermost_unit(dims: Sequence[Dim], operand: int) -> bool:
    """Whether an operand's elements are neighbours along the fastest loop."""
    walk = walk_of(dims, operand)
    return not walk or walk[-1][1] == 1
