"""One recording: what is switched on at its beginning, and what is there at its end."""

from __future__ import annotations

import sys
import threading
import time
import warnings
from bisect import bisect_right
from types import FrameType
from typing import Any

from fanal.backends.native.executable import runtime
from fanal.backends.native.records import Record, Records, record_launches
from fanal.core.errors import message
from fanal.profiler import ranges
from fanal.profiler.ranges import Range

_CAPACITY = 1 << 20  # launches and phases of one recording
_DEPTH = 24  # frames of a stack
_PACKAGE = __name__.split(".", 1)[0] + "."
Stack = tuple[str, ...]


class _Shared:
    """The room for records lives for ever: a launch on another thread may write to it at any time."""

    records: Records | None = None
    busy = threading.Lock()


class Session:
    """A recording that began when this was made; `stop` ends it."""

    def __init__(self, with_stack: bool):
        if not _Shared.busy.acquire(blocking=False):
            raise RuntimeError(
                message("profile", "another profile is being taken", hint="one after the other")
            )
        if _Shared.records is None:
            _Shared.records = Records(_CAPACITY)
        self.room = _Shared.records
        self.room.clear()
        self.ranges: list[Range] = []
        self.stacks = Stacks() if with_stack else None
        self.threads = _thread_names()
        self._of_threads = threading.getprofile()
        threading.setprofile(self._begun)
        self.records: list[Record] = []
        ranges.collect(self.ranges)
        if self.stacks is not None:
            self.stacks.start()
        record_launches(self.room)
        self.start = time.perf_counter_ns()

    def stop(self) -> None:
        """Switch everything off and read what was recorded."""
        self.end = time.perf_counter_ns()
        record_launches(None)
        if self.stacks is not None:
            self.stacks.stop()
        ranges.collect(None)
        threading.setprofile(self._of_threads)
        self.threads |= _thread_names()
        self.records = [r for r in self.room.read() if r.start >= self.start]
        lost = self.room.begun - self.room.capacity
        _Shared.busy.release()
        if lost > 0:
            warnings.warn(
                message(
                    "profile", "not all events were recorded", f"{lost} more",
                    f"at most {self.room.capacity}", "a schedule, or fewer steps",
                ),
                stacklevel=3,
            )

    def _begun(self, frame: FrameType, event: str, argument: Any) -> None:
        """A thread begins: it may be over before anybody asks for its name."""
        self.threads[threading.get_ident()] = threading.current_thread().name
        sys.setprofile(None if self.stacks is None else self.stacks.called)

    def stack_of(self, record: Record) -> Stack:
        """Where a launch was made; innermost first."""
        return () if self.stacks is None else self.stacks.before(record.thread, record.start)


def _thread_names() -> dict[int, str]:
    return {t.ident: t.name for t in threading.enumerate() if t.ident is not None}


class Stacks:
    """Python's stack at each launch, by the interpreter's own hook (which slows Python down)."""

    def __init__(self) -> None:
        self.found: dict[int, tuple[list[int], list[Stack]]] = {}
        self._launches = {id(runtime.launch), id(runtime.launch_recorded)}
        self._previous: Any = None

    def start(self) -> None:
        """Follow this thread."""
        self._previous = sys.getprofile()
        sys.setprofile(self.called)

    def stop(self) -> None:
        sys.setprofile(self._previous)

    def before(self, thread: int, at: int) -> Stack:
        """The stack of the last launch that a thread made before a time."""
        times, stacks = self.found.get(thread, ([], []))
        i = bisect_right(times, at)
        return stacks[i - 1] if i else ()

    def called(self, frame: FrameType, event: str, function: Any) -> None:
        """The interpreter's hook."""
        if event == "c_call" and id(function) in self._launches:
            times, stacks = self.found.setdefault(threading.get_ident(), ([], []))
            times.append(time.perf_counter_ns())
            stacks.append(_stack(frame))


def _stack(frame: FrameType | None) -> Stack:
    found: list[str] = []
    while frame is not None and len(found) < _DEPTH:
        if not frame.f_globals.get("__name__", "").startswith(_PACKAGE):
            code = frame.f_code
            found.append(f"{code.co_filename}({frame.f_lineno}): {code.co_name}")
        frame = frame.f_back
    return tuple(found)
