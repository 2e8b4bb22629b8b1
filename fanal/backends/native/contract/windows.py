"""Where a convolution's windows lie: one axis at a time, phase by phase.

Along one axis, output o meets kernel tap t at position  o·stride − low + t·dilation  of the input
with `input_dilation − 1` zeros between its elements (a negative dilation walks backwards, as input
gradients do). Only positions divisible by the input dilation
hold elements; the others are not multiplied at all. Outputs that differ by `period` meet the same
taps, so an axis falls into `period` phases, each an ordinary strided correlation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Phase:
    """Outputs first, first + period, … (`count` of them) and the taps that they meet.

    Output number j meets tap number q (the kernel's tap `tap + q·tap_step`, of `taps`) at input
    element `start + j·step + q·reach`.
    """

    first: int
    period: int
    count: int
    tap: int
    tap_step: int
    taps: int
    start: int
    step: int
    reach: int

    @property
    def bounds(self) -> tuple[int, int]:
        """The first and last input element that any window touches (padding included)."""
        taps = (self.taps - 1) * self.reach
        last = self.start + (self.count - 1) * self.step
        return self.start + min(0, taps), last + max(0, taps)


# An axis that isn't there: one output that meets one element.
WHOLE = Phase(0, 1, 1, 0, 1, 1, 0, 1, 1)


def in_three(axes: Sequence[Phase]) -> tuple[Phase, Phase, Phase]:
    """One phase each of depth, height and width, of as many axes as there are."""
    depth, height, width = (*[WHOLE] * (3 - len(axes)), *axes)
    return depth, height, width


def of_three(numbers: tuple[int, ...], missing: int) -> tuple[int, ...]:
    """An image's extents or strides along depth, height and width."""
    return (missing,) * (5 - len(numbers)) + numbers[2:]


def output_extent(
    size: int, kernel: int, stride: int, low: int, high: int, dilation: int, input_dilation: int
) -> int:
    """Number of outputs along an axis."""
    spread = 0 if size == 0 else (size - 1) * input_dilation + 1
    room = spread + low + high - ((kernel - 1) * dilation + 1)
    return room // stride + 1 if room >= 0 else 0


def phases(
    outputs: int, kernel: int, stride: int, low: int, dilation: int, input_dilation: int
) -> list[Phase]:
    """The phases of one axis; those without outputs are left out."""
    u = input_dilation
    period = u // math.gcd(stride, u)
    tap_step = u // math.gcd(dilation, u)
    found = []
    for first in range(min(period, outputs)):
        origin = first * stride - low
        taps = [t for t in range(min(kernel, tap_step)) if (origin + t * dilation) % u == 0]
        count = -(-(outputs - first) // period)
        if not taps:
            found.append(Phase(first, period, count, 0, 1, 0, 0, 0, 0))
            continue
        tap = taps[0]
        number = -(-(kernel - tap) // tap_step)
        found.append(
            Phase(
                first, period, count, tap, tap_step, number,
                (origin + tap * dilation) // u, period * stride // u, tap_step * dilation // u,
            )
        )
    return found
