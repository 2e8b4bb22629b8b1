"""What happened to a version's requests: plain numbers that are counted in one thread and read by any."""

from __future__ import annotations

import bisect
from collections.abc import Iterator

# Seconds: from a tenth of a millisecond to ten seconds.
BUCKETS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Histogram:
    """How many durations lay under each of `BUCKETS`, and their sum, in seconds."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect.bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds

    @property
    def count(self) -> int:
        return sum(self.counts)

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Upper bounds and how many lie under them; the last is infinity."""
        total = 0
        for bound, n in zip((*BUCKETS, float("inf")), self.counts, strict=True):
            total += n
            yield bound, total


class Duration:
    """A number of events and the time that they took, in nanoseconds."""

    __slots__ = ("count", "ns")

    def __init__(self) -> None:
        self.count = self.ns = 0

    def add(self, seconds: float, count: int = 1) -> None:
        self.count += count
        self.ns += int(seconds * 1e9)


class Statistics:
    """Of one version of a model.

    `received` = `success` + all of `failures` once nothing is pending. `failures` are counted by reason, a
    status's name in lower case. Rows are counted in `inferences`, batches in `executions`.
    """

    def __init__(self) -> None:
        self.received = self.success = self.inferences = self.executions = 0
        self.failures: dict[str, int] = {}
        self.pending = 0  # in the queue or being computed
        self.shed = self.missed = self.cancelled = 0  # among the failures: refused, too late, given up
        self.last_inference = 0.0  # Unix time
        self.request, self.queue = Histogram(), Histogram()
        self.succeeded, self.failed = Duration(), Duration()
        self.queued, self.input, self.infer, self.output = Duration(), Duration(), Duration(), Duration()
        self.batches: dict[int, tuple[Duration, Duration, Duration]] = {}  # by rows: input, infer, output
        self.restarts = 0

    def failure(self, reason: str, seconds: float) -> None:
        """A request that ended without a result."""
        self.failures[reason] = self.failures.get(reason, 0) + 1
        self.failed.add(seconds)
        self.request.add(seconds)

    def batch(self, rows: int, requests: int, given: float, computed: float, taken: float) -> None:
        """A batch that was computed: seconds for its input, itself, its output."""
        self.executions += 1
        self.inferences += rows
        found = self.batches.get(rows)
        if found is None:
            found = self.batches[rows] = (Duration(), Duration(), Duration())
        for duration, total, seconds in zip(found, (self.input, self.infer, self.output), (given, computed, taken), strict=True):
            duration.add(seconds)
            total.add(seconds, requests)
