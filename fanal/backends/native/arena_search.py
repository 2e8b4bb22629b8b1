"""A closer plan of an arena, for programs that are planned once and then leave.

What lies on top is placed earlier, again and again, as long as that makes the arena no larger; now and then it may
make it larger, so that the search gets out of corners. The numbers that decide are always the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from fanal.backends.native.arena import Arena, Block, blocks_of, lower_bound, placed, plan_arena
from fanal.backends.native.program import Temp

# Good enough, as a part of the bound; how many orders are tried at the most, and the work they may be together.
_GOOD, _TRIES, _WORK = 1.002, 400, 40_000
_RARE = 50


def plan_closely(temps: Sequence[Temp]) -> Arena:
    """A place for each temporary; takes some tenths of a second where it is hard."""
    usual = plan_arena(temps)
    bound = lower_bound(temps)
    if usual.nbytes <= _GOOD * bound:
        return usual
    found = _searched(blocks_of(temps), int(_GOOD * bound))
    top, offsets = found
    if top >= usual.nbytes:
        return usual
    return Arena([offsets.get(i, 0) for i in range(len(temps))], top)


def _searched(blocks: list[Block], enough: int) -> tuple[int, dict[int, int]]:
    """The lowest top that was found, and the offsets for it."""
    starts = (
        lambda b: (-b.size, b.number),
        lambda b: (-b.size * (b.last - b.first + 1), b.number),
        lambda b: (b.first - b.last, -b.size),
        lambda b: (b.first, -b.size),
    )
    tried = [(_top(order), order) for order in (sorted(blocks, key=key) for key in starts)]
    (top, offsets), order = min(tried, key=lambda one: one[0][0])
    best = top, offsets
    chance = 1

    def drawn(count: int) -> int:
        nonlocal chance
        chance = (chance * 1_103_515_245 + 12_345) & 0x7FFFFFFF
        return (chance >> 8) % count

    for _ in range(min(_TRIES, _WORK // max(len(blocks), 1))):
        if best[0] <= enough:
            break
        highest = [i for i, b in enumerate(order) if offsets[b.number] + b.size == top]
        i = highest[drawn(len(highest))]
        new = [*order[:i], *order[i + 1 :]]
        new.insert(drawn(i + 1), order[i])
        made = _top(new)
        if made[0] <= top or drawn(_RARE) == 0:
            (top, offsets), order = made, new
        if made[0] < best[0]:
            best = made
    return best


def _top(order: Sequence[Block]) -> tuple[int, dict[int, int]]:
    offsets = placed(order)
    return max((offsets[b.number] + b.size for b in order), default=0), offsets
