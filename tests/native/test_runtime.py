"""The native runtime: who owns memory, that every task runs once, and that nothing can crash it.

Kernels are a few lines of IR each, compiled by the runtime's own probe. What could take the whole
process down, or needs one of its own (fork, signals, limits), runs in a child.
"""

from __future__ import annotations

import ctypes
import enum
import itertools
import os
import pickle
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from array import array
from collections.abc import Iterator
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest

from fanal.backends.native.runtime import (
    FLAG_CHECK_SIGNALS,
    FLAG_RELEASE_GIL,
    MAX_THREADS,
    RUNTIME_SYMBOLS,
    STORAGE_OFFSETS,
    compile_and_load,
    compile_object,
    default_num_threads,
    loader,
    runtime_ir,
    threads,
)
from fanal.backends.native.runtime.dialect import translate
from fanal.backends.native.runtime.probe import address_of, build_program, compile_kernels
from fanal.backends.native.runtime.signature import DialectError

ROOT = Path(__file__).resolve().parents[2]
KERNELS = """
define void @nothing(ptr %desc, ptr %bufs, i64 %task, ptr %status) {
  ret void
}
; bufs[0][task] += 1
define void @count(ptr %desc, ptr %bufs, i64 %task, ptr %status) {
  %base = load ptr, ptr %bufs
  %at = getelementptr i64, ptr %base, i64 %task
  %old = atomicrmw add ptr %at, i64 1 monotonic
  ret void
}
; bufs[0][i] = bufs[i] for i < desc[0]
define void @echo(ptr %desc, ptr %bufs, i64 %task, ptr %status) {
entry:
  %n = load i64, ptr %desc
  %out = load ptr, ptr %bufs
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %j, %loop ]
  %from = getelementptr i64, ptr %bufs, i64 %i
  %word = load i64, ptr %from
  %to = getelementptr i64, ptr %out, i64 %i
  store i64 %word, ptr %to
  %j = add i64 %i, 1
  %more = icmp slt i64 %j, %n
  br i1 %more, label %loop, label %done
done:
  ret void
}
; a task whose number is at least desc[0] fails with code desc[1], info = task * desc[2]
define void @fail(ptr %desc, ptr %bufs, i64 %task, ptr %status) {
  %from = load i64, ptr %desc
  %bad = icmp sge i64 %task, %from
  br i1 %bad, label %yes, label %no
yes:
  %code.at = getelementptr i64, ptr %desc, i64 1
  %code = load i64, ptr %code.at
  %scale.at = getelementptr i64, ptr %desc, i64 2
  %scale = load i64, ptr %scale.at
  %info = mul i64 %task, %scale
  store i64 %code, ptr %status
  %info.at = getelementptr i64, ptr %status, i64 1
  store i64 %info, ptr %info.at
  ret void
no:
  ret void
}
; about desc[0] cycles
define void @work(ptr %desc, ptr %bufs, i64 %task, ptr %status) {
entry:
  %n = load i64, ptr %desc
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %j, %loop ]
  %j = add i64 %i, 1
  call void asm sideeffect "", ""()
  %more = icmp slt i64 %j, %n
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""
X86_KERNELS = """
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
define void @set_control(i32 %word) {
  %at = alloca i32
  store i32 %word, ptr %at
  call void @llvm.x86.sse.ldmxcsr(ptr %at)
  ret void
}
define i32 @get_control() {
  %at = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %at)
  %word = load i32, ptr %at
  ret i32 %word
}
; bufs[0][task] = MXCSR, after enough work for others to have a share
define void @control(ptr %desc, ptr %bufs, i64 %task, ptr %status) {
  call void @work(ptr %desc, ptr %bufs, i64 %task, ptr %status)
  %base = load ptr, ptr %bufs
  %at = getelementptr i64, ptr %base, i64 %task
  %word = call i32 @get_control()
  %wide = zext i32 %word to i64
  store i64 %wide, ptr %at
  ret void
}
"""
IS_X86 = llvm.get_process_triple().startswith("x86_64")
runtime = compile_and_load()
launch, empty, wrap = runtime.launch, runtime.empty, runtime.wrap
_NAMES = ("nothing", "count", "echo", "fail", "work")
kernels = (
    compile_kernels(KERNELS + X86_KERNELS, *_NAMES, "set_control", "get_control", "control")
    if IS_X86
    else compile_kernels(KERNELS, *_NAMES)
)


@pytest.fixture(autouse=True)
def restore_threads() -> Iterator[None]:
    before = runtime.get_num_threads()
    yield
    runtime.set_num_threads(before)


def in_child(source: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script against this repository in a process of its own."""
    preamble = """
        import ctypes, os, signal, sys, threading, time
        from array import array
        from fanal.backends.native.runtime import *
        from fanal.backends.native.runtime.probe import address_of, build_program, compile_kernels
        sys.path.insert(0, os.environ["TESTS"])
    """
    script = textwrap.dedent(preamble) + textwrap.dedent(source)
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "TESTS": str(Path(__file__).parent)}
    return subprocess.run(
        [sys.executable, "-c", script],
        env=variables | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def resident_kib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


# Storage.


@pytest.mark.parametrize("nbytes", [0, 1, 63, 64, 65, 1000, 1025, 4096, 4097, 70_000, 3 << 20])
def test_storage_is_aligned_and_large_enough(nbytes: int) -> None:
    s = empty(nbytes)
    assert s.ptr != 0 and s.ptr % 64 == 0
    assert s.nbytes == nbytes <= s.capacity
    assert s.version == 0 and s.owner is None
    ctypes.memset(s.ptr, 0x5A, s.capacity)  # all of it is ours


def test_storage_fields_lie_where_generated_code_reads_them() -> None:
    s = empty(100)
    s.version = 7
    for name in ("ptr", "nbytes", "capacity", "version"):
        word = ctypes.c_int64.from_address(id(s) + STORAGE_OFFSETS[name]).value
        assert word == getattr(s, name)
    assert type(s).__basicsize__ == 64


def test_storage_is_closed() -> None:
    s = empty(8)
    for name in ("ptr", "nbytes", "capacity", "owner"):
        with pytest.raises(AttributeError):
            setattr(s, name, 1)
    with pytest.raises(TypeError, match="cannot create 'fanal.Storage' instances"):
        runtime.Storage()
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Sub", (runtime.Storage,), {})
    with pytest.raises(TypeError):
        pickle.dumps(s)
    with pytest.raises(TypeError):
        runtime.Storage.extra = 1


def test_storage_gives_its_block_back() -> None:
    for nbytes in (100, 10_000, 5 << 20):
        before = runtime.memory_stats()
        s = empty(nbytes)
        address = s.ptr
        during = runtime.memory_stats()
        assert during["allocated_bytes"] - before["allocated_bytes"] == s.capacity
        gone = weakref.ref(s)
        del s
        assert gone() is None
        after = runtime.memory_stats()
        assert after["allocated_bytes"] == before["allocated_bytes"]
        assert after["free_count"] == before["free_count"] + 1
        again = empty(nbytes)
        assert again.ptr == address, "the block that was just freed is used again"


def test_storage_is_a_buffer() -> None:
    s = empty(24)
    a = np.frombuffer(s, dtype=np.float64)
    a[:] = (1.0, 2.0, 3.0)
    assert a.ctypes.data == s.ptr
    assert memoryview(s).cast("d").tolist() == [1.0, 2.0, 3.0]
    alive = weakref.ref(s)
    del s
    assert alive() is not None, "the array keeps it alive"
    del a
    assert alive() is None


def test_wrap_keeps_its_owner_alive_no_longer_than_needed() -> None:
    owner = np.arange(5.0)
    gone = weakref.ref(owner)
    count = sys.getrefcount(owner)
    s = wrap(owner.ctypes.data, owner.nbytes, owner)
    assert sys.getrefcount(owner) == count + 1
    assert s.owner is owner and s.ptr == owner.ctypes.data and s.nbytes == s.capacity == 40
    del owner
    assert gone() is not None
    before = runtime.memory_stats()
    del s
    assert gone() is None
    assert runtime.memory_stats()["free_count"] == before["free_count"], "it was not our block"


def test_wrap_refuses_bad_arguments() -> None:
    with pytest.raises(TypeError, match=r"\[wrap\] expected 3 arguments"):
        wrap(0, 0)
    with pytest.raises(TypeError, match="expected an int, got str"):
        wrap("0", 0, None)
    with pytest.raises(ValueError, match=r"\[wrap\] nbytes: expected 0 or more, got -1"):
        wrap(0, -1, None)


@pytest.mark.parametrize("request_", [-1, (1 << 46) + 1, (1 << 63) - 1, -(1 << 63), 1 << 70])
def test_absurd_requests_are_refused(request_: int) -> None:
    message = rf"\[empty\] could not allocate memory: got a request of {request_} bytes; "
    with pytest.raises(MemoryError, match=message):
        empty(request_)


@pytest.mark.skipif(
    not sys.platform.startswith("linux")
    or Path("/proc/sys/vm/overcommit_memory").read_text().strip() == "1",
    reason="this system promises any amount",
)
def test_more_than_the_machine_has_is_refused() -> None:
    with pytest.raises(MemoryError, match="could not allocate memory"):
        empty(1 << 45)
    assert empty(1 << 20).nbytes == 1 << 20


def test_empty_takes_anything_that_is_an_index() -> None:
    assert empty(np.int64(5)).nbytes == 5
    assert empty(True).nbytes == 1
    with pytest.raises(MemoryError, match="request of -5 bytes"):
        empty(np.int64(-5))
    for bad in (1.5, "8", None, [8]):
        with pytest.raises(TypeError, match=r"\[empty\] nbytes: expected an int, got "):
            empty(bad)


# The allocator.


def test_blocks_never_overlap() -> None:
    """Random sizes and lifetimes; every block keeps the pattern that was written to all of it."""
    choose = random.Random(0)
    live: list[tuple[object, bytes]] = []
    start = runtime.memory_stats()
    for step in range(6000):
        if live and choose.random() < 0.49:
            s, pattern = live.pop(choose.randrange(len(live)))
            assert bytes(memoryview(s)) == pattern * s.nbytes
            del s
        else:
            s = empty(int(2 ** choose.uniform(0, 18)))
            pattern = bytes([step & 255])
            ctypes.memset(s.ptr, step & 255, s.nbytes)
            live.append((s, pattern))
            del s
    spans = sorted((s.ptr, s.ptr + s.capacity) for s, _ in live)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    live.clear()
    stats = runtime.memory_stats()
    assert stats["allocated_bytes"] == start["allocated_bytes"]
    made = stats["alloc_count"] - start["alloc_count"]
    assert made == stats["free_count"] - start["free_count"] > 3000


def test_free_neighbours_merge() -> None:
    """Eight blocks in a row, freed in any order, make room for one of eight times the size."""
    runtime.empty_cache()
    held = [empty(1 << 20) for _ in range(64)]  # fills the holes left by other tests
    spread = runtime.memory_stats()["spread_count"]
    held.sort(key=lambda s: s.ptr)
    runs = [
        i for i in range(56) if held[i + 8 - 1].ptr - held[i].ptr == 7 * (held[i].capacity + 64)
    ]
    part = held[runs[0] : runs[0] + 8]
    first = part[0].ptr
    del held[runs[0] : runs[0] + 8]
    random.Random(1).shuffle(part)
    part.clear()
    assert empty(8 << 20).ptr == first
    assert runtime.memory_stats()["spread_count"] == spread


def test_many_gigabytes_of_address_space() -> None:
    """Blocks over several regions, of which only the first and the last word are touched."""
    done = in_child(
        """
        import random
        r = compile_and_load()
        word = lambda address: ctypes.c_int64.from_address(address)
        choose = random.Random(0)
        live = []
        for step in range(3000):
            if len(live) > 24 or live and choose.random() < 0.45:
                s, mark = live.pop(choose.randrange(len(live)))
                assert word(s.ptr).value == word(s.ptr + s.capacity - 8).value == mark
                del s
            else:
                s = r.empty(int(2 ** choose.uniform(13, 29.4)))
                word(s.ptr).value = word(s.ptr + s.capacity - 8).value = step
                live.append((s, step))
                del s
        stats = r.memory_stats()
        assert stats["reserved_bytes"] >= 4 << 30, stats
        live.clear()
        r.empty_cache()
        stats = r.memory_stats()
        assert stats["allocated_bytes"] == 0
        assert stats["held_bytes"] < 20 << 20, stats
        print("fine")
        """
    )
    assert done.stdout == "fine\n", done.stderr


def test_peak_statistics() -> None:
    runtime.reset_peak_memory_stats()
    base = runtime.memory_stats()["allocated_bytes"]
    assert runtime.memory_stats()["peak_bytes"] == base
    s = empty(1 << 22)
    del s
    stats = runtime.memory_stats()
    assert base + (1 << 22) <= stats["peak_bytes"] < base + (1 << 22) + 8192
    assert stats["allocated_bytes"] == base
    runtime.reset_peak_memory_stats()
    assert runtime.memory_stats()["peak_bytes"] == base


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow() -> None:
    sizes = [64, 1000, 5000, 1 << 16, 1 << 20]
    keep = [empty(s) for s in sizes]
    for _ in range(1000):
        for size in sizes:
            keep.append(empty(size))
            del keep[0]
    before = resident_kib()
    for _ in range(200_000):
        for size in sizes:
            keep.append(empty(size))
            del keep[0]
    assert resident_kib() - before < 2048


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_empty_cache_gives_memory_back() -> None:
    blocks = [empty(16 << 20) for _ in range(8)]
    for s in blocks:
        ctypes.memset(s.ptr, 1, s.nbytes)
    full = resident_kib()
    del s
    blocks.clear()
    assert runtime.memory_stats()["cached_bytes"] >= 120 << 20
    assert resident_kib() > full - (16 << 10), "kept for the next request"
    runtime.empty_cache()
    assert resident_kib() < full - (100 << 10)
    s = empty(64 << 20)
    ctypes.memset(s.ptr, 7, s.nbytes)
    assert ctypes.string_at(s.ptr + s.nbytes - 1, 1) == b"\7"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_AS")
def test_a_limit_on_address_space_is_an_error_and_no_crash() -> None:
    done = in_child(
        """
        import resource
        r = compile_and_load()
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20),) * 2)
        held = []
        try:
            while True:
                held.append(r.empty(20 << 20))
        except MemoryError as error:
            assert "could not allocate" in str(error)
        assert 5 <= len(held) <= 15, len(held)
        held.clear()
        held = [r.empty(20 << 20) for _ in range(5)]
        print("fine")
        """
    )
    assert done.stdout == "fine\n", done.stderr


# Launching.


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
                assert launch(address_of(program), address_of(out)) == 3 | first * 10 << 8
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
        from test_runtime import KERNELS
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
        from test_runtime import KERNELS
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


# Processes and signals.

CHILD = """
r = compile_and_load()
from test_runtime import KERNELS
kernels = compile_kernels(KERNELS, "count", "work")
counts = array("q", [0] * 8)
program = build_program(1, [(kernels["count"], 0, 8)] * 1000, FLAG_RELEASE_GIL)
p, out = address_of(program), address_of(counts)
"""


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


# Settings, and other machines.


def test_threads_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANAL_NUM_THREADS", "5")
    assert default_num_threads() == 5
    monkeypatch.setenv("FANAL_NUM_THREADS", "many")
    with pytest.raises(ImportError, match="FANAL_NUM_THREADS: expected 1 to 512, got 'many'"):
        default_num_threads()
    monkeypatch.delenv("FANAL_NUM_THREADS")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.setattr(threads, "_cgroup_quota", lambda *a: None)
    assert default_num_threads() == 16
    monkeypatch.setattr(threads, "_cgroup_quota", lambda *a: 2.5)
    assert default_num_threads() == 3


def test_cgroup_quotas(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    member = tmp_path / "member"
    member.write_text("0::/a/b\n")
    assert threads._cgroup_quota(tmp_path, member) is None
    (inner / "cpu.max").write_text("max 100000\n")
    (tmp_path / "a" / "cpu.max").write_text("250000 100000\n")
    assert threads._cgroup_quota(tmp_path, member) == 2.5
    old = tmp_path / "cpu" / "job"
    old.mkdir(parents=True)
    (old / "cpu.cfs_quota_us").write_text("150000\n")
    (old / "cpu.cfs_period_us").write_text("100000\n")
    member.write_text("3:cpu,cpuacct:/job\n2:memory:/job\n")
    assert threads._cgroup_quota(tmp_path, member) == 1.5
    assert threads._cgroup_quota(tmp_path, tmp_path / "missing") is None


@pytest.mark.parametrize(
    "triple",
    ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "arm64-apple-macosx14.0.0"],
)
def test_the_runtime_compiles_for_other_machines(triple: str) -> None:
    text = runtime_ir(triple)
    assert text == runtime_ir(triple)
    data = compile_object(triple)
    llvm.initialize_all_targets()
    names = {s.encode() for s in RUNTIME_SYMBOLS}
    assert all(name in data for name in names)
    for call in (b"memset", b"memcpy", b"__aarch64_", b"__atomic"):
        assert call not in data, "a library that the process may lack"


def test_other_processors_are_refused() -> None:
    with pytest.raises(ImportError, match="no native runtime for this processor: got target risc"):
        runtime_ir("riscv64-unknown-linux-gnu")


def test_other_interpreters_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    loader.check_interpreter()
    monkeypatch.setattr(sys, "version_info", (3, 10, 0))
    with pytest.raises(ImportError, match=r"cannot run the native runtime.*got cpython 3.10"):
        loader.check_interpreter()
    monkeypatch.undo()
    monkeypatch.setattr(sys, "abiflags", "t")
    with pytest.raises(ImportError, match="got a free-threaded build"):
        loader.check_interpreter()


# The dialect.


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def f(x: i64) -> i64:\n    y = x\n", "a path ends without a return"),
        ("def f(x: i64) -> i64:\n    return y\n", "unknown name: y"),
        ("def f(x: i64) -> i32:\n    return x\n", "expected i32, found i64"),
        ("def f(x) -> i64:\n    return 1\n", "every parameter needs"),
        ("def f(x: i64):\n    for i in x:\n        pass\n", "not in the dialect"),
        ("def f(x: i64):\n    f(x, x)\n", "wrong number of arguments"),
        ("def f(x: i64):\n    x: i32 = 1\n", "two types for one local"),
        ("def f(x: i64):\n    return\n    f(x)\n", "unreachable"),
    ],
)
def test_mistakes_in_the_dialect_are_named(source: str, reason: str) -> None:
    with pytest.raises(DialectError, match=reason):
        translate({"part": source}, {})


def test_the_dialect_computes() -> None:
    source = """
@export
def collatz(n: i64) -> i64:
    steps = 0
    while n != 1 and steps < LIMIT:
        n = n >> 1 if n & 1 == 0 else 3 * n + 1
        steps += 1
        if not (n > 0 or n == 0):
            break
    return steps
"""
    ir = translate({"part": source}, {"LIMIT": 1000}) + 'attributes #0 = { "no-builtins" }\n'
    address = compile_kernels(ir, "collatz")["collatz"]
    assert ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address)(27) == 111
