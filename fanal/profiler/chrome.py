"""Traces in the format of Chrome's tracing and of Perfetto, and stacks for flame graphs."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fanal.core.atomic import write_atomically
from fanal.profiler.events import FunctionEvent

_CATEGORIES = {"op": "cpu_op", "kernel": "kernel", "phase": "kernel", "range": "user_annotation"}


def chrome_trace(
    events: Sequence[FunctionEvent], threads: Mapping[int, str], start_us: float,
    metadata: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """The trace as JSON data. Times are µs of the system's monotonic clock."""
    pid = os.getpid()
    found: list[dict[str, Any]] = [_meta("process_name", pid, 0, name="fanal")]
    numbers = {ident: i for i, ident in enumerate(dict.fromkeys((*threads, *(e.thread for e in events))))}
    used = {e.thread for e in events}
    for ident, number in numbers.items():
        if ident in used:
            name = threads.get(ident, f"thread {number}")
            found.append(_meta("thread_name", pid, number, name=name))
            found.append(_meta("thread_sort_index", pid, number, sort_index=number))
    for e in events:
        found.append({
            "ph": "X", "cat": _CATEGORIES[e.kind], "name": e.name, "pid": pid, "tid": numbers[e.thread],
            "ts": round(start_us + e.time_range.start, 3), "dur": round(e.cpu_time_total, 3),
            "args": _args(e),
        })  # fmt: skip
    return {"schemaVersion": 1, "displayTimeUnit": "ms", **metadata, "traceEvents": found}


def _meta(what: str, pid: int, tid: int, /, **args: Any) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "ts": 0, "args": args}


def _args(e: FunctionEvent) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if e.input_shapes:
        found["Input Dims"] = [list(s) for s in e.input_shapes]
    if e.stack:
        found["Call stack"] = "; ".join(e.stack)
    if e.flops:
        found["FLOP"] = e.flops
    if e.self_cpu_memory_usage:
        found["Bytes"] = e.self_cpu_memory_usage
    return found


def write_trace(path: Path, trace: Mapping[str, Any]) -> None:
    """Write a trace; compressed if the name ends in .gz."""
    data = json.dumps(trace).encode()
    write_atomically(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def write_stacks(path: Path, events: Sequence[FunctionEvent], metric: str) -> None:
    """A line for each place: the stack, outermost first and with semicolons, and the µs spent there."""
    totals: dict[str, int] = {}
    for e in events:
        if e.stack:
            stack = e.stack[:1] if e.kind == "kernel" else e.stack  # a kernel's are several places
            frames = [f.replace(";", ",").replace(" ", "_") for f in (*reversed(stack), e.name)]
            line = ";".join(frames)
            totals[line] = totals.get(line, 0) + int(getattr(e, metric))
    write_atomically(path, "".join(f"{k} {v}\n" for k, v in totals.items() if v > 0).encode())
