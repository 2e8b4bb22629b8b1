"""Times of launches and their phases, as the launcher writes them down while it is asked to."""

from __future__ import annotations

from array import array
from typing import Any, NamedTuple

from fanal.backends.native.executable import runtime
from fanal.backends.native.runtime.layout import RECORD_WORDS, RECORDS


class Record(NamedTuple):
    """A launch (`phase` -1), or one phase of it: `program` is an address, times are those of
    `time.perf_counter_ns`, `thread` is what `threading.get_ident` gives there."""

    program: int
    phase: int
    start: int
    end: int
    thread: int


class Records:
    """Room for some records. It must live for as long as launches may still write to it."""

    def __init__(self, capacity: int):
        self.capacity = capacity
        self.memory = runtime.empty(RECORDS + 8 * RECORD_WORDS * capacity)
        self.clear()

    @property
    def address(self) -> int:
        return int(self.memory.ptr)

    def clear(self) -> None:
        """Forget all; there is room again."""
        self._words()[:2] = memoryview(array("q", [0, self.capacity]))

    @property
    def begun(self) -> int:
        """How many records were begun; those above the capacity are lost."""
        return self._words()[0]

    def read(self) -> list[Record]:
        """The records that are complete, in the order in which they were begun."""
        words = self._words()
        first = RECORDS // 8
        count = min(words[0], self.capacity)
        found = []
        for i in range(first, first + count * RECORD_WORDS, RECORD_WORDS):
            record = Record(*words[i : i + RECORD_WORDS])
            if record.end:
                found.append(record)
        return found

    def _words(self) -> Any:
        return memoryview(self.memory).cast("B").cast("q")


class _Recording:
    on = False


def record_launches(records: Records | None) -> None:
    """Let all launches of this process leave records; None: no longer."""
    _Recording.on = records is not None
    runtime.record_launches(0 if records is None else records.address)


def is_recording() -> bool:
    """Whether all launches leave records now."""
    return _Recording.on


def phase_seconds(records: list[Record], count: int) -> tuple[list[float], list[int]]:
    """Seconds of each of a program's phases, and how often each ran (more than once in loops)."""
    seconds, runs = [0.0] * count, [0] * count
    for r in records:
        if r.phase >= 0:
            seconds[r.phase] += (r.end - r.start) / 1e9
            runs[r.phase] += 1
    return seconds, runs
