"""How much of a behaviour is tried: all of it, or as much as fits into seconds on a machine that is busy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """`part` of the full counts. Bounds on time hold as they stand at full counts; where a test shares its two
    processors with others, they are `slack` times as wide."""

    part: float = 1.0
    slack: float = 1.0

    def count(self, full: int, least: int = 1) -> int:
        """So many instead of the full count."""
        return max(least, round(full * self.part))

    @property
    def tail(self) -> float:
        """Which percentile stands for the slowest requests: where others use the processors too, the last hundredth
        is theirs."""
        return 99.0 if self.slack == 1.0 else 90.0

    def seconds(self, full: float, least: float) -> float:
        """So long."""
        return max(least, full * self.part)


FULL = Scale()
EVERYDAY = Scale(0.004, 3.0)
