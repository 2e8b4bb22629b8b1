"""Ticks that are exact to some ten microseconds. Event loops sleep in whole milliseconds, which would be longer than
what is measured; Linux has timers that are files, and a loop can wait for those."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import Callable

now = time.perf_counter

_MONOTONIC, _NONBLOCK = 1, os.O_NONBLOCK
_LIBC = ctypes.CDLL(None, use_errno=True)


class _Span(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class _Timing(ctypes.Structure):
    _fields_ = [("every", _Span), ("first", _Span)]


class Ticks:
    """Calls `tick` every so many seconds, counted from `began`, until it is stopped. Ticks that could not be in time
    are one."""

    def __init__(self, every: float, tick: Callable[[], None]):
        self._every, self._tick = every, tick
        self._loop = asyncio.get_running_loop()
        self.began = now()
        self._file = _timer(every)
        self._handle: asyncio.TimerHandle | None = None
        if self._file is None:
            self._again()
        else:
            self._loop.add_reader(self._file, self._read, self._file)

    def stop(self) -> None:
        """No tick comes after this."""
        if self._handle is not None:
            self._handle.cancel()
        if self._file is not None:
            self._loop.remove_reader(self._file)
            os.close(self._file)
            self._file = None

    def _read(self, file: int) -> None:
        try:
            os.read(file, 8)
        except BlockingIOError:
            return
        self._tick()

    def _again(self) -> None:
        self._handle = self._loop.call_later(self._every, self._again)
        self._tick()


def _timer(every: float) -> int | None:
    """A file that becomes readable every so often; None where the system has none."""
    if not hasattr(_LIBC, "timerfd_create"):
        return None
    file: int = _LIBC.timerfd_create(_MONOTONIC, _NONBLOCK)
    if file < 0:
        return None
    span = _Span(*divmod(max(1, round(every * 1e9)), 1_000_000_000))
    if _LIBC.timerfd_settime(file, 0, ctypes.byref(_Timing(span, span)), None):
        os.close(file)
        return None
    return file
