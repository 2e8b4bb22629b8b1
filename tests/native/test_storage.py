"""Who owns memory: storages, the allocator, its limits and statistics."""

from __future__ import annotations

import ctypes
import itertools
import pickle
import random
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

from fanal.backends.native.runtime import (
    STORAGE_OFFSETS,
)
from tests.native.runtime_kernels import (
    empty,
    in_child,
    resident_kib,
    runtime,
    wrap,
)


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
    for name in ("ptr", "nbytes", "capacity", "version", "exports"):
        word = ctypes.c_int64.from_address(id(s) + STORAGE_OFFSETS[name]).value
        assert word == getattr(s, name)
    assert type(s).__basicsize__ == 72


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
