"""How long the parts of a program take, from its own first launches: what `explain` reports.

Nothing is run for it, and nothing is timed later: the first few launches of each program leave their
times, on the user's own data. The least of each part counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fanal.backends.native.executable import Executable
from fanal.backends.native.records import Records, is_recording, phase_seconds

LAUNCHES = 5
_LOOPS = 20_000  # records for a program whose phases run more than once


class Samples:
    """Times of one program's first launches. `open`: whether the next one is to be timed."""

    __slots__ = ("launches", "open", "runs", "seconds", "whole")

    def __init__(self) -> None:
        self.open = True
        self.launches = 0
        self.whole = float("inf")  # seconds of a launch
        self.seconds: list[float] = []  # of each phase; empty where they are not known
        self.runs: list[int] = []  # how often each ran

    def of(self, program: Executable, launch: Callable[[int], Any]) -> Any:
        """Launch, and keep the times (unless a profile does). `launch` takes the address where records
        go, or 0, and gives an integer other than 0 if the program has failed."""
        if is_recording():
            return launch(0)
        count = program.phases
        records = Records(count + 1 + _LOOPS * program.loops)
        code = launch(records.address)
        self.launches += 1
        self.open = self.launches < LAUNCHES
        if type(code) is not int or code == 0:
            self._keep(records, count)
        return code

    def _keep(self, records: Records, count: int) -> None:
        found = records.read()
        self.whole = min(self.whole, (found[0].end - found[0].start) / 1e9)
        if records.begun > records.capacity:
            return  # the parts that were timed are not all
        seconds, self.runs = phase_seconds(found, count)
        if self.seconds:
            seconds = list(map(min, self.seconds, seconds))
        self.seconds = seconds
