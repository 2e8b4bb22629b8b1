"""Parts of a program that the user names: `with record_function("data"):`, or as a decorator."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Range(NamedTuple):
    """A named part of a thread's time, in ns of `time.perf_counter_ns`."""

    name: str
    start: int
    end: int
    thread: int
    args: str | None = None


class _Collected:
    ranges: list[Range] | None = None  # while a profile is taken


def collect(ranges: list[Range] | None) -> None:
    """Let named parts be collected in a list; None: no longer."""
    _Collected.ranges = ranges


class record_function:
    """Give a part of the program a name in profiles: a context manager, or a decorator.

    In a compiled function it marks the part while the function's Python runs (at capture): a replay
    is one program, whose kernels have the user's lines.
    """

    def __init__(self, name: str, args: str | None = None):
        self.name, self.args = name, args
        self._starts: list[int] = []

    def __enter__(self) -> record_function:
        self._starts.append(time.perf_counter_ns() if _Collected.ranges is not None else 0)
        return self

    def __exit__(self, *exc: object) -> None:
        ranges, start = _Collected.ranges, self._starts.pop()
        if ranges is not None and start:
            ranges.append(
                Range(self.name, start, time.perf_counter_ns(), threading.get_ident(), self.args)
            )

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def named(*args: Any, **kwargs: Any) -> Any:
            with record_function(self.name, self.args):
                return function(*args, **kwargs)

        return named  # type: ignore[return-value]
