"""What needs a process of its own: fork, signals, exit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from array import array

import pytest

from fanal.backends.native.runtime import (
    FLAG_CHECK_SIGNALS,
    FLAG_RELEASE_GIL,
)
from fanal.backends.native.runtime.probe import address_of, build_program
from tests.native.runtime_kernels import (
    CHILD,
    in_child,
    kernels,
    launch,
    runtime,
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_after_threads_have_started() -> None:
    done = in_child(
        textwrap.dedent(CHILD)
        + textwrap.dedent("""
        r.set_num_threads(4)
        r.launch(p, out)
        held = r.empty(1 << 20)
        ctypes.memset(held.ptr, 1, held.nbytes)
        stop = False
        def busy():     # another thread holds the pool at the moment of the fork
            mine = array("q", [0] * 8)
            while not stop:
                r.launch(p, address_of(mine))
        other = threading.Thread(target=busy)
        other.start()
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                before = counts[0]
                for _ in range(5):
                    r.launch(p, out)
                ours = len(os.listdir("/proc/self/task"))
                more = [r.empty(n) for n in (10, 10_000, 1 << 20)]
                del held
                good = list(counts) == [before + 5000] * 8 and ours == 4
                os._exit(0 if good else 1)
            assert os.waitpid(pid, 0)[1] == 0
        stop = True
        other.join()
        assert bytes(memoryview(held)[:9]) == bytes([1] * 9)
        print("fine")
        """),
        PYTHONWARNINGS="ignore",
    )
    assert done.stdout == "fine\n", done.stderr


@pytest.mark.parametrize("flags", [FLAG_CHECK_SIGNALS, FLAG_CHECK_SIGNALS | FLAG_RELEASE_GIL])
@pytest.mark.parametrize("n", [1, 2])
def test_interrupt_during_a_long_program(flags: int, n: int) -> None:
    runtime.set_num_threads(n)
    desc = array("q", [500_000])
    out = array("q", [0])
    phases = [(kernels["work"], address_of(desc), 4), (kernels["count"], 0, 1)] * 20_000
    program = build_program(1, phases, flags)
    before = runtime.memory_stats()["allocated_bytes"]
    timer = subprocess.Popen(
        [sys.executable, "-c", f"import time, os; time.sleep(0.3); os.kill({os.getpid()}, 2)"]
    )
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        launch(address_of(program), address_of(out))
        pytest.fail("the program ran to its end")
    assert time.monotonic() - start < 5
    timer.wait()
    assert runtime.memory_stats()["allocated_bytes"] == before
    assert 0 < out[0] < 20_000
    quick = build_program(1, [(kernels["count"], 0, 1)] * 3)
    out[0] = 0
    assert launch(address_of(quick), address_of(out)) == 0 and out[0] == 3


def test_a_handler_may_launch_and_return() -> None:
    """A signal handler that does not raise: the program goes on, with its pool."""
    runtime.set_num_threads(2)
    desc = array("q", [500_000])
    out = array("q", [0] * 4)
    inner = array("q", [0] * 4)
    short = build_program(1, [(kernels["count"], 0, 4)] * 10)
    phases = [(kernels["work"], address_of(desc), 4), (kernels["count"], 0, 4)] * 500
    flags = FLAG_CHECK_SIGNALS | FLAG_RELEASE_GIL
    program = build_program(1, phases, flags)
    calls = []

    def handler(number: int, frame: object) -> None:
        calls.append(launch(address_of(short), address_of(inner)))

    old = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.03, 0.03)
    try:
        assert launch(address_of(program), address_of(out)) == 0
        during = len(calls)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert during > 0
    assert list(out) == [500] * 4
    assert list(inner) == [10 * len(calls)] * 4


def test_exit_while_a_daemon_thread_is_in_a_program() -> None:
    done = in_child(
        textwrap.dedent(CHILD)
        + textwrap.dedent("""
        desc = array("q", [1_000_000])
        long = build_program(0, [(kernels["work"], address_of(desc), 4)] * 3000, FLAG_RELEASE_GIL)
        for _ in range(2):
            threading.Thread(target=r.launch, args=(address_of(long),), daemon=True).start()
        time.sleep(0.2)
        keep = r.empty(10)
        print("fine")
        """)
    )
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr
