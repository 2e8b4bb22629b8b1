"""Where temporaries lie for any sizes: each on top of those that it lies above at the largest.

A plan for the largest sizes says, of every two that are alive together, which is the lower one. That order is
kept: a temporary begins where the highest of those below it ends. So no two overlap, whatever the sizes are. Of
those below, the ones that lie below another of them say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from fanal.backends.native.arena_search import plan_closely
from fanal.backends.native.program import Temp


def supports(temps: Sequence[Temp]) -> dict[int, list[int]]:
    """For each temporary that is used, in an order in which they can be placed: those right below it."""
    offsets = plan_closely(temps).offsets
    used = [i for i, t in enumerate(temps) if t.first >= 0]
    used.sort(key=lambda i: (offsets[i], i))
    found: dict[int, list[int]] = {}
    under: dict[int, set[int]] = {}  # all that is known to end below
    for at, i in enumerate(used):
        t = temps[i]
        below = [j for j in used[:at] if temps[j].first <= t.last and temps[j].last >= t.first]
        direct: list[int] = []
        covered: set[int] = set()
        for j in reversed(below):  # the highest first
            if j not in covered:
                direct.append(j)
                covered |= under[j] | {j}
        found[i] = direct
        under[i] = covered
    return found
