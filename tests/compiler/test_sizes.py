"""Functions whose arguments change their sizes: sizes in use stay, old ones are let go with their memory."""

from __future__ import annotations

import gc
import warnings
import weakref
from typing import Any

import pytest

import fanal
from benchmarks.memory import resident
from fanal import nn
from fanal.compiler import kinds
from fanal.compiler.explain.facts import segments
from fanal.compiler.segments import Segment


def _programs(compiled: Any) -> list[Segment]:
    return list(segments(compiled.root))


def test_old_sizes_are_let_go_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "PROGRAMS", 4)

    @fanal.compile(dynamic=False)
    def f(x: Any) -> Any:
        return (x * 2 + 1).sum()

    first = fanal.ones(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert f(first).item() == 9
        gone = weakref.ref(_programs(f)[0])
        for n in range(10, 30):
            assert f(fanal.ones(n)).item() == 3 * n
            assert f(fanal.ones(n)).item() == 3 * n
        gc.collect()
        assert gone() is None  # with all that it held
        assert len(_programs(f)) == f.kinds.programs == len(f.kinds) == 4
        assert len(f.root.children) == 4  # and so are the steps that led to it
        assert f(first).item() == 9
        assert len(_programs(f)) == 4


def test_sizes_in_use_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "PROGRAMS", 4)
    runs = []

    @fanal.compile
    def f(x: Any) -> Any:
        runs.append(x.shape)
        return x + 1

    f(fanal.ones(3))
    kept = _programs(f)[0]
    for n in range(10, 30):
        f(fanal.ones(n))
        f(fanal.ones(3))
    assert kept in _programs(f) and len(_programs(f)) == 4


def test_a_program_that_another_kind_runs_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of the call make kinds of their own, which may share all programs."""
    monkeypatch.setattr(kinds, "KINDS", 8)

    @fanal.compile
    def f(x: Any, number: int) -> Any:
        return x + 1

    x = fanal.ones(4)
    for number in range(40):
        assert fanal.equal(f(x, number), x + 1)
    assert len(f.kinds) == 8 and len(_programs(f)) == 1


def test_too_many_paths_run_eagerly_with_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "PROGRAMS", 12)
    monkeypatch.setattr("fanal.compiler.function.PROGRAMS", 12)
    at = [0]

    @fanal.compile
    def f(x: Any) -> Any:
        at[0] += 1
        return x[at[0] :].sum()

    x = fanal.arange(100, dtype=fanal.float32)
    with pytest.warns(UserWarning, match=r"\[compile\] .*another path at nearly every call") as seen:
        for n in range(1, 40):
            assert f(x).item() == sum(range(n, 100))
    assert len(seen) == 1 and f.kinds.programs == 0
    y = fanal.ones(7)  # other arguments are not affected
    at[0] = 0
    f(y)
    assert f.kinds.programs == 1


def test_a_training_step_of_many_sizes_keeps_its_bits_and_its_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kinds, "PROGRAMS", 8)
    steps = []
    for compiled in (False, True):
        fanal.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 8))
        optimizer = fanal.optim.AdamW(model.parameters(), lr=1e-2)

        def step(x: Any, model: Any = model, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss = (model(x) - x).square().mean()
            loss.backward()
            optimizer.step()
            return loss.detach()

        steps.append(fanal.compile(step, dynamic=True) if compiled else step)
    eager, dynamic = steps
    data = [fanal.randn(n, 8) for n in (3, 17, 40, *range(50, 62), 3, 40)]
    for x in data:
        assert fanal.equal(eager(x), dynamic(x))
    assert dynamic.kinds.programs == 8
    sizes = range(100, 220)
    for n in sizes:  # what eager functions keep for these layouts stays
        dynamic(fanal.ones(n, 8))
    gc.collect()
    before = resident("VmRSS")
    for n in [*sizes, *sizes]:
        dynamic(fanal.ones(n, 8))
    gc.collect()
    assert dynamic.kinds.programs == 8
    assert resident("VmRSS") - before < 12  # MiB; 240 programs were made anew
