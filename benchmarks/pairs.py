"""Two callables timed in turns: every round gives one ratio; the median comes with its interval."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

Call = Callable[[], object]
SLICE = 0.03  # seconds that each of the two is timed for in a round
SETTLE = 0.002  # for idle threads of the other library to park


@dataclass(frozen=True)
class Pair:
    """What a case came to: median times in seconds, and the ratio theirs / ours of each round."""

    name: str
    ours: float
    theirs: float
    ratios: tuple[float, ...]
    flops: float = 0.0

    @property
    def ratio(self) -> float:
        """The median ratio."""
        return median(self.ratios)

    @property
    def interval(self) -> tuple[float, float]:
        """Order statistics that hold the true median with at least 95 % confidence."""
        return interval(self.ratios)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The median's distribution-free interval: the widest ranks whose coverage is ≥ 95 %."""
    n, ordered = len(values), sorted(values)
    rank = 0
    while 1 - 2 * sum(math.comb(n, i) for i in range(rank + 2)) / 2**n >= 0.95:
        rank += 1
    return ordered[rank], ordered[n - 1 - rank]


def timed(call: Call, repeats: int) -> float:
    """Seconds for one call, as a mean over some in a row."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def measure(name: str, ours: Call, theirs: Call, rounds: int, flops: float = 0.0) -> Pair:
    """Interleaved rounds; who goes first alternates."""
    for call in (ours, theirs):
        for _ in range(3):
            call()
    repeats = [max(1, int(SLICE / timed(c, max(1, int(0.005 / timed(c, 1))))))
               for c in (ours, theirs)]  # fmt: skip
    times: list[tuple[float, float]] = []
    for number in range(rounds):
        pair = [0.0, 0.0]
        for which in (0, 1) if number % 2 else (1, 0):
            call = (ours, theirs)[which]
            time.sleep(SETTLE)
            timed(call, max(1, repeats[which] // 8))
            pair[which] = timed(call, repeats[which])
        times.append((pair[0], pair[1]))
    return Pair(
        name, median(a for a, _ in times), median(b for _, b in times),
        tuple(b / a for a, b in times), flops,
    )  # fmt: skip
