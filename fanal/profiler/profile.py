"""`profile`: a recording, or one after the other by a schedule."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import Any

from fanal.core.errors import message
from fanal.profiler.chrome import chrome_trace, write_stacks, write_trace
from fanal.profiler.events import EventList, FunctionEvent, nested
from fanal.profiler.gathering import events_of
from fanal.profiler.ranges import record_function
from fanal.profiler.schedule import ProfilerAction, always
from fanal.profiler.session import Session

_METRICS = ("self_cpu_time_total",)
_RECORDING = (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)


class ProfilerActivity(Enum):
    """What can be recorded. Programs run on the CPU; the other names are accepted and record nothing."""

    CPU = 0
    XPU = 1
    MTIA = 2
    CUDA = 3
    HPU = 4
    PrivateUse1 = 5


def supported_activities() -> set[ProfilerActivity]:
    """What is recorded here."""
    return {ProfilerActivity.CPU}


class profile:
    """Record what runs in a `with` block (or between `start` and `stop`), on all threads.

    schedule: which steps are recorded (`fanal.profiler.schedule`); call `step()` at the end of each.
    on_trace_ready: called with the profile when a recording is complete. record_shapes: shapes of the
    inputs. profile_memory: bytes of results. with_stack: Python's stack at each call (slows Python).
    with_flops: operations by definition.

    An event lasts as long as its program ran; Python between programs is no event.

    >>> with profile() as p:
    ...     step(x, y)
    >>> print(p.key_averages().table(sort_by="self_cpu_time_total", row_limit=10))
    """

    def __init__(
        self,
        *,
        activities: Iterable[ProfilerActivity] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[[profile], Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        with_modules: bool = False,
        experimental_config: Any = None,
        execution_trace_observer: Any = None,
        acc_events: bool = False,
        use_cuda: bool | None = None,
        custom_trace_id_callback: Callable[[], str] | None = None,
    ):
        self.activities = set(activities) if activities is not None else supported_activities()
        for a in self.activities:
            if not isinstance(a, ProfilerActivity):
                raise TypeError(
                    message("profile", "not an activity", repr(a), "a member of ProfilerActivity")
                )
        self.schedule = schedule or always
        self.on_trace_ready = on_trace_ready
        self.record_shapes, self.profile_memory = record_shapes, profile_memory
        self.with_stack, self.with_flops, self.acc_events = with_stack, with_flops, acc_events
        self.step_num = 0
        self.current_action = self.schedule(0)
        self._scheduled = schedule is not None
        self._metadata: dict[str, Any] = {}
        self._session: Session | None = None
        self._done: list[Session] = []
        self._events: tuple[list[Session], list[FunctionEvent]] | None = None
        self._step: record_function | None = None

    # -- recording ----------------------------------------------------------------------------------

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin, in the state that the schedule gives the present step."""
        self._begin(self.current_action)

    def stop(self) -> None:
        """End; a recording that is going on is complete now."""
        self._end_step()
        if self.current_action is ProfilerAction.WARMUP:
            self._forget()
        elif self._session is not None:
            self._save()

    def step(self) -> None:
        """A step of the program is over."""
        self._end_step()
        before, self.step_num = self.current_action, self.step_num + 1
        self.current_action = self.schedule(self.step_num)
        if before is ProfilerAction.RECORD_AND_SAVE:
            self._save()
        elif before is ProfilerAction.WARMUP:
            self._forget()
        elif before is ProfilerAction.RECORD and self.current_action not in _RECORDING:
            self._save()
        self._begin(self.current_action)

    def _begin(self, action: ProfilerAction) -> None:
        if action is ProfilerAction.NONE or ProfilerActivity.CPU not in self.activities:
            return
        if self._session is None:
            self._session = Session(self.with_stack)
        if self._scheduled:
            self._step = record_function(f"ProfilerStep#{self.step_num}")
            self._step.__enter__()

    def _end_step(self) -> None:
        step, self._step = self._step, None
        if step is not None:
            step.__exit__()

    def _forget(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.stop()

    def _save(self) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        session.stop()
        self._done = [*self._done, session] if self.acc_events else [session]
        self._events = None
        if self.on_trace_ready is not None:
            self.on_trace_ready(self)

    # -- what was recorded ----------------------------------------------------------------------------

    def _all(self) -> list[FunctionEvent]:
        """All events of the last recording, with what programs that nobody compiled consist of."""
        if not self._done:
            raise RuntimeError(
                message("profile", "nothing was recorded", hint="stop() first, or another schedule")
            )
        if self._events is None or self._events[0] is not self._done:
            first = self._done[0].start
            found: list[FunctionEvent] = []
            for session in self._done:
                offset = (session.start - first) / 1e3
                for e in events_of(session):
                    start, end = e.time_range
                    e.time_range = type(e.time_range)(start + offset, end + offset)
                    e.id = len(found)
                    found.append(e)
            self._events = (self._done, found)
        return self._events[1]

    def events(self) -> EventList:
        """Operations, compiled programs with their kernels, and named ranges, by time."""
        found = self._all()
        for e in found:
            e.cpu_parent, e.cpu_children = None, []
        return EventList(
            nested(found, lambda e: e.kind != "phase"),
            total=sum(s.end - s.start for s in self._done) / 1e3,
            shapes=self.record_shapes, memory=self.profile_memory, stacks=self.with_stack,
            flops=self.with_flops,
        )  # fmt: skip

    def key_averages(
        self, group_by_input_shape: bool = False, group_by_stack_n: int = 0
    ) -> EventList:
        """Events of one name (and of one shape, and from one place) added up."""
        return self.events().key_averages(group_by_input_shape, group_by_stack_n)

    def table(self, sort_by: str = "self_cpu_time_total", row_limit: int = 30, **options: Any) -> str:
        """`key_averages().table(…)`, most time first."""
        return self.key_averages().table(sort_by=sort_by, row_limit=row_limit, **options)

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write a trace for chrome://tracing or ui.perfetto.dev (compressed if the name ends in .gz)."""
        events = self._all()
        threads: dict[int, str] = {}
        for session in self._done:
            threads |= session.threads
        write_trace(Path(path), chrome_trace(events, threads, self._done[0].start / 1e3, self._metadata))

    def export_stacks(self, path: str | os.PathLike[str], metric: str = "self_cpu_time_total") -> None:
        """Write stacks with their times, for flame graphs: of kernels, and with `with_stack` of all."""
        if metric not in _METRICS:
            raise ValueError(message("export_stacks", "unknown metric", repr(metric), " or ".join(_METRICS)))
        write_stacks(Path(path), self.events(), metric)

    # -- metadata ---------------------------------------------------------------------------------------

    def add_metadata(self, key: str, value: str) -> None:
        """A text that the trace carries."""
        self._metadata[key] = str(value)

    def add_metadata_json(self, key: str, value: str) -> None:
        """JSON text that the trace carries."""
        self._metadata[key] = json.loads(value)

    preset_metadata_json = add_metadata_json


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None, use_gzip: bool = False
) -> Callable[[profile], None]:
    """For `on_trace_ready`: write each recording's trace into a folder, under a name of its own."""

    def handle(p: profile) -> None:
        folder = Path(dir_name)
        folder.mkdir(parents=True, exist_ok=True)
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        end = ".pt.trace.json.gz" if use_gzip else ".pt.trace.json"
        p.export_chrome_trace(folder / f"{worker}.{time.time_ns()}{end}")

    return handle
