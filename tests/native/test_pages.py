"""Memory whose equal pages are held once."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

import fanal
from fanal import nn
from fanal.backends.native.pages import PAGE, Pages
from fanal.export import Dim, export


def contents(t: fanal.Tensor) -> bytes:
    return ctypes.string_at(t._storage.ptr, t._storage.nbytes)


def shared_mib() -> float:
    line = next(x for x in Path("/proc/self/smaps_rollup").read_text().splitlines() if x.startswith("Pss_Shmem"))
    return int(line.split()[1]) / 1024


def test_pages_are_there_once() -> None:
    pages = Pages()
    one, other = fanal.rand(100 * PAGE // 4), fanal.rand(300)
    both = fanal.cat([one, other])
    held = [pages.held(t._storage) for t in (one, other, both)]
    pages.close()
    for memory, t in zip(held, (one, other, both), strict=True):
        assert ctypes.string_at(memory.ptr, memory.nbytes) == contents(t)
    assert len(pages._places) == 101, "the first hundred are those of the first tensor"


def test_what_lies_scattered_stays_where_it_is() -> None:
    pages = Pages()
    rows = fanal.arange(2 * 1100, dtype=fanal.int64).reshape(1100, 2, 1).expand(1100, 2, PAGE // 8).contiguous()
    turned = rows.flip(0).contiguous()
    assert pages.held(rows._storage) is not rows._storage
    assert pages.held(turned._storage) is turned._storage  # each page would be a mapping of its own
    pages.close()


@pytest.mark.parametrize("writes", [False, True])
def test_programs_of_all_sizes_hold_their_weights_once(writes: bool) -> None:
    fanal.manual_seed(0)
    model = nn.Sequential(nn.Linear(512, 1024), nn.ReLU(), nn.Linear(1024, 1024)).eval()
    example = fanal.rand(2, 512)
    program = export(model, (example,), dynamic_shapes={"input": {0: Dim("batch", max=64)}})
    run = program.runner()
    sizes = (1, 2, 3, 4, 8, 16, 32)
    inputs = [fanal.rand(n, 512) for n in sizes]
    wanted = [run(x) for x in inputs]
    before, pages = shared_mib(), Pages()
    run.share_kept(pages)
    pages.close()
    weights = sum(t.numel() * 4 for t in program.state.values()) / 2**20
    for x, y in zip(inputs, wanted, strict=True):
        assert fanal.equal(run(x), y)
    assert shared_mib() - before < 1.5 * weights  # of seven
    if writes:  # they are made anew
        with fanal.no_grad():
            next(iter(program.state.values())).mul_(2)
        for x, y in zip(inputs, wanted, strict=True):
            assert not fanal.equal(run(x), y)
            assert fanal.equal(run(x), program.module()(x))
