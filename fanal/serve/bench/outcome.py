"""What a run of load found: latencies, throughput, refusals, and whether it can be believed."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
# Above this share of a processor the generator itself may be what is slow.
_SATURATED = 0.9


@dataclass(frozen=True)
class Latency:
    """Milliseconds: percentiles by their name ("p50", …), the mean, the least and the most, of `count` requests."""

    count: int
    mean: float
    least: float
    most: float
    percentiles: Mapping[str, float]

    def __getitem__(self, name: str) -> float:
        return self.percentiles[name]


@dataclass(frozen=True)
class Outcome:
    """One run.

    `rate`: what was offered (requests a second), None where each connection sent its next request after an answer;
    latencies then count from the sending, else from when a request was due, sent or not. `refused`: answers other
    than success by status; `errors`: requests without any answer, by what happened. `late`: milliseconds that
    requests were sent after they were due though a connection was free: the generator's own fault.
    """

    url: str
    model: str
    protocol: str
    connections: int
    rate: float | None
    seconds: float
    sent: int
    succeeded: int
    latency: Latency
    refusal: Latency
    late: Latency
    refused: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    cpu: float = 0.0

    @property
    def throughput(self) -> float:
        """Successful requests a second."""
        return self.succeeded / self.seconds

    @property
    def failed(self) -> int:
        """Requests without a result."""
        return sum(self.refused.values()) + sum(self.errors.values())

    @property
    def saturated(self) -> bool:
        """Whether the generator had no time left: the server may be faster than these figures."""
        return self.cpu > _SATURATED

    def json(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {**asdict(self), "throughput": self.throughput, "failed": self.failed, "saturated": self.saturated}


def latency(seconds: array[float]) -> Latency:
    """What a list of durations says."""
    if not seconds:
        return Latency(0, 0.0, 0.0, 0.0, {_name(p): 0.0 for p in PERCENTILES})
    numbers = np.frombuffer(seconds, np.float64) * 1e3
    found = np.percentile(numbers, PERCENTILES, method="higher")
    named = {_name(p): float(v) for p, v in zip(PERCENTILES, found, strict=True)}
    return Latency(len(numbers), float(numbers.mean()), float(numbers.min()), float(numbers.max()), named)


def _name(percentile: float) -> str:
    return f"p{percentile:g}"
