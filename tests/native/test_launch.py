"""Launching: arguments arrive, every task runs once, and nothing can crash it."""

from __future__ import annotations

import ctypes
import enum
import random
import sys
import textwrap
import threading
import time
from array import array
from collections.abc import Iterator

import numpy as np
import pytest

from fanal.backends.native.runtime import (
    FLAG_CHECK_SIGNALS,
    FLAG_RELEASE_GIL,
    MAX_THREADS,
)
from fanal.backends.native.runtime.probe import address_of, build_program
from tests.native.runtime_kernels import (
    IS_X86,
    empty,
    in_child,
    kernels,
    launch,
    runtime,
)


@pytest.fixture(autouse=True)
def restore_threads() -> Iterator[None]:
    before = runtime.get_num_threads()
    yield
    runtime.set_num_threads(before)


def echo(*args: object, temps: tuple[int, ...] = (), arena: int = 0) -> list[int]:
    """The words that a kernel finds in `bufs` behind its output address."""
    n = 1 + len(args) + len(temps)
    out = array("q", [0] * n)
    desc = array("q", [n])
    program = build_program(
        1 + len(args), [(kernels["echo"], address_of(desc), 1)], 0, temps, arena
    )
    assert launch(address_of(program), address_of(out), *args) == 0
    assert out[0] == address_of(out)
    return list(out[1:])


class Colour(enum.IntEnum):
    RED = 3


def test_arguments_arrive_as_words() -> None:
    s = empty(8)
    assert echo(1, -1, (1 << 63) - 1, -(1 << 63)) == [1, -1, (1 << 63) - 1, -(1 << 63)]
    assert echo((1 << 64) - 1, 1 << 63) == [-1, -(1 << 63)]
    assert echo(True, False, Colour.RED) == [1, 0, 3]
    assert echo(s) == [s.ptr]
    bits = array("d", [1.5, -0.0, float("inf")])
    assert echo(1.5, np.float64(-0.0), float("inf")) == array("q", bits.tobytes()).tolist()


def test_many_arguments() -> None:
    words = [k * k - 500 for k in range(1000)]
    assert echo(*words) == words


def test_temporaries_lie_in_an_arena() -> None:
    before = runtime.memory_stats()
    a, b, c = echo(temps=(0, 64, 4096), arena=100_000)
    assert a % 64 == 0 and b == a + 64 and c == a + 4096
    after = runtime.memory_stats()
    assert after["allocated_bytes"] == before["allocated_bytes"]
    assert after["alloc_count"] == before["alloc_count"] + 1
    assert echo(5, temps=(0,) * 300, arena=64)[0] == 5


def test_an_arena_too_large_is_refused() -> None:
    program = build_program(0, [(kernels["nothing"], 0, 1)], 0, (0,), 1 << 60)
    with pytest.raises(MemoryError, match=r"\[launch\] could not allocate memory: the program"):
        launch(address_of(program))


def test_bad_calls_are_errors_and_no_crash() -> None:
    program = build_program(2, [(kernels["nothing"], 0, 1)])
    p = address_of(program)
    with pytest.raises(TypeError, match=r"expected the address of a program"):
        launch()
    for bad in ("x", None, 1.0, [p], (p,)):
        with pytest.raises(TypeError, match="expected an int"):
            launch(bad, 1, 2)
    not_a_program = array("q", [1, 2, 3, 4])
    for address in (0, p + 4, address_of(not_a_program)):
        with pytest.raises(TypeError, match=r"\[launch\] no program at address"):
            launch(address, 1, 2)
    for args in ((), (1,), (1, 2, 3)):
        with pytest.raises(TypeError, match=rf"the program takes 2, got {len(args)}"):
            launch(p, *args)
    for arg in ("1", None, [1], (1,), 1j, b"1", np.arange(2), object()):
        with pytest.raises(TypeError, match=r"\[launch\] an argument is an int, a float"):
            launch(p, 1, arg)
    for arg in (1 << 64, -(1 << 63) - 1, 1 << 200):
        with pytest.raises(OverflowError, match=r"needs more than 64 bits: got -?\d+"):
            launch(p, 1, arg)
    assert launch(p, 1, 2) == 0


def test_an_empty_program_and_an_empty_phase() -> None:
    program = build_program(0, [])
    assert launch(address_of(program)) == 0
    phases = [(kernels["nothing"], 0, 0), (kernels["nothing"], 0, 1)]
    program = build_program(0, phases)
    assert launch(address_of(program)) == 0


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("tasks", [1, 7, 100])
def test_status_stops_the_program_and_names_the_lowest_task(n: int, tasks: int) -> None:
    runtime.set_num_threads(n)
    out = array("q", [0] * tasks)
    for first in {0, tasks // 2, tasks - 1}:
        desc = array("q", [first, 3, 10])
        phases = [
            (kernels["count"], 0, tasks),
            (kernels["fail"], address_of(desc), tasks),
            (kernels["count"], 0, tasks),
        ]
        for flags in (0, FLAG_RELEASE_GIL):
            program = build_program(1, phases, flags)
            for _ in range(50):
                for i in range(tasks):
                    out[i] = 0
                assert launch(address_of(program), address_of(out)) == 3 | first * 10 << 8 | 1 << 63, "of phase 1"
                assert list(out) == [1] * tasks, "the phase before ran, that behind did not"


def test_status_is_never_mistaken_for_success() -> None:
    for code, scale, expected in ((256, 0, 255), (-1, 0, 255), (2, -1, 2 | ((1 << 55) - 1) << 8)):
        desc = array("q", [0, code, scale])
        program = build_program(0, [(kernels["fail"], address_of(desc), 2)])
        desc[0] = 1  # task 1 fails, so that the info is scale
        assert launch(address_of(program)) == expected


# Threads.


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("flags", [0, FLAG_RELEASE_GIL | FLAG_CHECK_SIGNALS])
def test_every_task_runs_exactly_once(n: int, flags: int) -> None:
    """10⁵ phases of 1 to 9 tasks, with pauses in which the workers park."""
    runtime.set_num_threads(n)
    counts = array("q", [0] * 9)
    choose = random.Random(n)
    sizes = [choose.randint(1, 9) for _ in range(10_000)]
    program = build_program(1, [(kernels["count"], 0, k) for k in sizes], flags)
    for _ in range(10):
        assert launch(address_of(program), address_of(counts)) == 0
        time.sleep(0.001)
    assert list(counts) == [10 * sum(k > i for k in sizes) for i in range(9)]


@pytest.mark.parametrize("n", [3, 8])
def test_workers_that_are_late_help_with_a_phase_for_fewer(n: int) -> None:
    """Phases for all are followed by phases for two, while other threads keep the processors busy: a
    worker that saw the former may have its first claim from the latter."""
    runtime.set_num_threads(n)
    sizes = (n, 2, 2) * 5_000
    program = build_program(1, [(kernels["count"], 0, k) for k in sizes], FLAG_RELEASE_GIL)
    counts = array("q", [0] * n)
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            pass

    other = threading.Thread(target=busy)
    other.start()
    try:
        rounds, end = 0, time.monotonic() + 3
        while time.monotonic() < end:
            assert launch(address_of(program), address_of(counts)) == 0
            rounds += 1
    finally:
        stop.set()
        other.join()
    assert list(counts) == [rounds * sum(k > i for k in sizes) for i in range(n)]


@pytest.mark.parametrize("n", [2, 4])
def test_uneven_tasks_and_parked_callers(n: int) -> None:
    """Tasks of about a millisecond: the caller, and workers, park while they wait."""
    runtime.set_num_threads(n)
    desc = array("q", [2_000_000])
    counts = array("q", [0] * 3)
    phases = [(kernels["work"], address_of(desc), 3), (kernels["count"], 0, 3)] * 30
    program = build_program(1, phases)
    assert launch(address_of(program), address_of(counts)) == 0
    assert list(counts) == [30] * 3


def test_python_threads_launch_at_once() -> None:
    runtime.set_num_threads(4)
    results: list[list[int]] = []

    def run() -> None:
        counts = array("q", [0] * 8)
        program = build_program(1, [(kernels["count"], 0, 8)] * 500, FLAG_RELEASE_GIL)
        for _ in range(40):
            assert launch(address_of(program), address_of(counts)) == 0
        results.append(list(counts))

    workers = [threading.Thread(target=run) for _ in range(6)]
    for t in workers:
        t.start()
    for t in workers:
        t.join()
    assert results == [[20_000] * 8] * 6


def test_the_gil_is_released_when_asked_for() -> None:
    desc = array("q", [200_000_000])
    ticks = 0
    stop = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not stop.is_set():
            ticks += 1
            time.sleep(0.0005)

    other = threading.Thread(target=tick)
    other.start()
    gained = []
    for flags in (0, FLAG_RELEASE_GIL):
        program = build_program(0, [(kernels["work"], address_of(desc), 1)], flags)
        before = ticks
        launch(address_of(program))
        gained.append(ticks - before)
    stop.set()
    other.join()
    assert gained[0] < 30 < gained[1]


def test_idle_workers_park() -> None:
    runtime.set_num_threads(4)
    program = build_program(0, [(kernels["nothing"], 0, 4)] * 100)
    launch(address_of(program))
    time.sleep(0.01)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.03


STRESS = """
out = array("q", [0] * 7)
program = build_program(1, [(kernels["count"], 0, 7)] * 1000, FLAG_RELEASE_GIL)
for i in range(60):
    r.launch(address_of(program), address_of(out))
    time.sleep(0.0003 * (i % 3))
assert list(out) == [60_000] * 7, out
print("fine")
"""


def test_parking_without_futexes() -> None:
    """What other systems than Linux use, run here."""
    done = in_child(
        """
        from fanal.backends.native.runtime import system
        system._FUTEX = system._CONDITION
        assert "pthread_cond_wait" in runtime_ir("x86_64-unknown-linux-gnu")
        from runtime_kernels import KERNELS
        r = compile_and_load()
        kernels = compile_kernels(KERNELS, "count")
        r.set_num_threads(3)
        """
        + textwrap.indent(STRESS, " " * 8)
    )
    assert done.stdout == "fine\n", done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_AS")
def test_fewer_threads_than_wished_for() -> None:
    """When the system refuses a thread, the others do the work."""
    done = in_child(
        """
        import resource
        from runtime_kernels import KERNELS
        r = compile_and_load()
        kernels = compile_kernels(KERNELS, "count")
        r.set_num_threads(64)
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (30 << 20),) * 2)
        wide = build_program(1, [(kernels["count"], 0, 64)])
        counts = array("q", [0] * 64)
        r.launch(address_of(wide), address_of(counts))
        assert list(counts) == [1] * 64
        assert 1 < r.get_num_threads() < 6, r.get_num_threads()
        """
        + textwrap.indent(STRESS, " " * 8)
    )
    assert done.stdout == "fine\n", done.stderr


def test_number_of_threads_is_checked() -> None:
    runtime.set_num_threads(3)
    assert runtime.get_num_threads() == 3
    for bad in (0, -1, MAX_THREADS + 1):
        with pytest.raises(ValueError, match=r"\[set_num_threads\] n: expected 1 to 512"):
            runtime.set_num_threads(bad)
    with pytest.raises(TypeError, match="expected an int, got float"):
        runtime.set_num_threads(2.0)
    assert runtime.get_num_threads() == 3


@pytest.mark.skipif(not IS_X86, reason="reads MXCSR")
def test_floating_point_control_is_set_and_restored() -> None:
    """Also for a caller that flushes subnormals and rounds towards zero."""
    set_control = ctypes.CFUNCTYPE(None, ctypes.c_uint32)(kernels["set_control"])
    get_control = ctypes.CFUNCTYPE(ctypes.c_uint32)(kernels["get_control"])
    runtime.set_num_threads(4)
    out = array("q", [0] * 64)
    desc = array("q", [20_000])
    program = build_program(1, [(kernels["control"], address_of(desc), 64)])
    for strange in (0x9FC0, 0x7F80, 0x1F80, 0x1FBF):
        try:
            set_control(strange)
            launch(address_of(program), address_of(out))
            after = get_control()
        finally:
            set_control(0x1F80)
        assert after & 0xFFC0 == strange & 0xFFC0
        assert {word & 0xFFC0 for word in out} == {0x1F80}
