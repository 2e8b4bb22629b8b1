"""Where temporaries lie in a program's arena, so that those alive together don't overlap.

No arena can be smaller than what is alive in the fullest moment: `lower_bound`. Two orders are tried. In
the order of time, as a heap would give memory out (best fit, neighbours merged at once), planning
takes a moment and long programs, which repeat themselves, fit well. Where that leaves more than a
hundredth over, the largest are placed first, each in the lowest gap that is free during its whole
life, which takes longer and is rarely more than a hundredth from the bound.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fanal.backends.native.program import Temp

ALIGNMENT = 64
_GOOD = 1.01  # of the bound: no other order is tried


class Arena(NamedTuple):
    """Offsets by the temporaries' numbers (0 for unused ones), and bytes in all."""

    offsets: list[int]
    nbytes: int


class Block(NamedTuple):
    """A temporary: its bytes, and the first and the last phase that need it."""

    size: int
    first: int
    last: int
    number: int


def plan_arena(temps: Sequence[Temp]) -> Arena:
    """A place for each temporary."""
    blocks = blocks_of(temps)
    by_time = _in_time(blocks)
    bound = lower_bound(temps)
    top = max((by_time[b.number] + b.size for b in blocks), default=0)
    if top > _GOOD * bound:
        by_size = placed(sorted(blocks, key=lambda b: (-b.size, b.number)))
        other = max(by_size[b.number] + b.size for b in blocks)
        if other < top:
            by_time, top = by_size, other
    return Arena([by_time.get(i, 0) for i in range(len(temps))], top)


def lower_bound(temps: Sequence[Temp]) -> int:
    """The most bytes that are alive at one time."""
    change: dict[int, int] = {}
    for b in blocks_of(temps):
        change[b.first] = change.get(b.first, 0) + b.size
        change[b.last + 1] = change.get(b.last + 1, 0) - b.size
    alive = most = 0
    for moment in sorted(change):
        alive += change[moment]
        most = max(most, alive)
    return most


def blocks_of(temps: Sequence[Temp]) -> list[Block]:
    """The temporaries that are used, in whole lines of memory."""
    return [
        Block(-(-max(t.nbytes, 1) // ALIGNMENT) * ALIGNMENT, t.first, t.last, i)
        for i, t in enumerate(temps)
        if t.first >= 0
    ]


class _Free:
    """Free stretches of a heap without end, by address; neighbours are merged."""

    def __init__(self) -> None:
        self.stretches: list[tuple[int, int]] = []
        self.top = 0

    def take(self, size: int) -> int:
        fits = [(end - start, i) for i, (start, end) in enumerate(self.stretches) if end - start >= size]
        if fits:
            _, i = min(fits)
            start, end = self.stretches[i]
            self.stretches[i : i + 1] = [(start + size, end)] if start + size < end else []
            return start
        start = self.top
        if self.stretches and self.stretches[-1][1] == self.top:
            start, _ = self.stretches.pop()
        self.top = start + size
        return start

    def give(self, start: int, end: int) -> None:
        i = bisect(self.stretches, (start, end))
        if i < len(self.stretches) and self.stretches[i][0] == end:
            _, end = self.stretches.pop(i)
        if i and self.stretches[i - 1][1] == start:
            i -= 1
            start, _ = self.stretches.pop(i)
        self.stretches.insert(i, (start, end))


def _in_time(blocks: Sequence[Block]) -> dict[int, int]:
    """Offsets as a heap gives them out, the larger first of those that begin together."""
    offsets: dict[int, int] = {}
    free = _Free()
    for block, begins in _moments(blocks):
        if begins:
            offsets[block.number] = free.take(block.size)
        else:
            at = offsets[block.number]
            free.give(at, at + block.size)
    return offsets


def _moments(blocks: Sequence[Block]) -> Iterator[tuple[Block, bool]]:
    """Beginnings (True) and ends of lives in order; what ends is free from the next moment on."""
    events = [(b.first, 1, -b.size, b) for b in blocks] + [(b.last + 1, 0, 0, b) for b in blocks]
    for _, begins, _, block in sorted(events):
        yield block, bool(begins)


def placed(blocks: Sequence[Block]) -> dict[int, int]:
    """Offsets with blocks placed in this order, each in the lowest gap that fits."""
    offsets: dict[int, int] = {}
    # What is there, by address: start, end, first, last. An array, since each block looks at all of it.
    there = np.empty((4, len(blocks)), np.int64)
    for count, b in enumerate(blocks):
        starts, ends, firsts, lasts = there[:, :count]
        meets = np.flatnonzero((firsts <= b.last) & (lasts >= b.first))
        below = np.concatenate(([0], np.maximum.accumulate(ends[meets])))  # free from there on
        gaps = np.flatnonzero(below[:-1] + b.size <= starts[meets])
        at = offsets[b.number] = int(below[gaps[0] if len(gaps) else -1])
        i = int(np.searchsorted(starts, at))
        there[:, i + 1 : count + 1] = there[:, i:count].copy()
        there[:, i] = at, at + b.size, b.first, b.last
    return offsets
