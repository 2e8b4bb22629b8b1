"""What a run of load found: latencies, throughput, refusals, and whether it can be believed."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

# Above this share of a processor the generator itself may be what is slow.
_SATURATED = 0.9


@dataclass(frozen=True)
class Latency:
    """Seconds that `count` requests took: the mean, the least, the most, and what so many in a hundred stay under."""

    count: int = 0
    mean: float = 0.0
    least: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    p999: float = 0.0
    most: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """One run.

    `rate`: what was offered (requests a second), None where each connection sent its next request after an answer;
    latencies then count from the sending, else from when a request was due, sent or not. `sent` and `succeeded` are of
    the requests that were due in the `seconds`; `completed` are answers that came in them. `refused`: answers other
    than success by status, and `reasons` what the first of each said; `errors`: requests without any answer, by what
    happened; `unconnected`: connections that could not be opened, by why. `late`: seconds that
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
    completed: int
    latency: Latency
    refusal: Latency
    late: Latency
    refused: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    unconnected: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    cpu: float = 0.0

    @property
    def throughput(self) -> float:
        """Results that came in a second."""
        return self.completed / self.seconds

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
        return Latency()
    numbers = np.frombuffer(seconds, np.float64)
    found = np.percentile(numbers, (0, 50, 90, 99, 99.9, 100), method="higher").tolist()
    return Latency(len(numbers), float(numbers.mean()), *found)
