"""How urgent a load is: it gives way to requests that are answered meanwhile, but must not be starved by them.

Linux lets an idle task run only while nobody else wants to. Any other one, however nice, keeps its processor for some
milliseconds once it has it, and a request that comes then waits. The way back from there is not open to everybody.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time

_NICE = 10
_LOOK = 0.2  # seconds
_LEAST = 0.2  # of a processor that a load should have


def give_way() -> None:
    """Let the calling thread run when nobody else wants to."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        os.sched_setscheduler(threading.get_native_id(), os.SCHED_IDLE, os.sched_param(0))


def insist() -> bool:
    """Let no thread of this process be idle any more, only nice; whether that was allowed."""
    try:
        for thread in map(int, os.listdir("/proc/self/task")):
            if os.sched_getscheduler(thread) == os.SCHED_IDLE:
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))
    except PermissionError:
        return False
    return True


def starves(thread: threading.Thread) -> bool:
    """Wait until a thread has ended, which is no reason to hurry, or until it had far less than a processor."""
    while thread.is_alive():
        before = time.process_time()
        thread.join(_LOOK)
        if thread.is_alive() and time.process_time() - before < _LEAST * _LOOK:
            return True
    return False
