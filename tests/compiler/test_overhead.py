"""What a call of a compiled function checks, how much it leaves behind, and how long that takes."""

from __future__ import annotations

import gc
import timeit
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import fanal
from benchmarks.memory import resident
from fanal import nn
from fanal.compiler.observer.places import Slots, place_of
from fanal.tensor.tensor import Tensor
from tests.compiler.test_python_state import watched
from tests.training import classifying

NAMES = ("_storage", "_layout", "_ptr")


def test_slots_are_found_and_compared() -> None:
    places = [place_of(Tensor, name) for name in NAMES]
    assert None not in places and len(set(places)) == 3
    some = [fanal.randn(3) for _ in range(4)]
    slots = Slots(some, NAMES, Tensor)
    assert slots.same()
    some[2].data = fanal.randn(3)
    assert not slots.same()
    assert Slots([], NAMES, Tensor).same()


def test_changed_parameters_are_seen() -> None:
    """Other memory, another parameter, another layout: each call reads what is there now."""
    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(5)])
    compiled = fanal.compile(model)
    x = fanal.randn(2, 4)

    def same() -> bool:
        with fanal.no_grad():
            return fanal.equal(compiled(x), model(x))

    assert same() and same()
    layer: Any = model[3]
    layer.weight.data = fanal.randn(4, 4)
    assert same() and same()
    layer.weight = nn.Parameter(fanal.randn(4, 4))
    assert same() and same()
    layer.weight.data = fanal.randn(4, 4).t()
    assert same() and same()
    with fanal.no_grad():
        layer.weight.copy_(fanal.randn(4, 4))
    assert same()


class Sums(nn.Module):
    """Fifty tiny layers side by side, a hundred parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(50)])

    def forward(self, x: fanal.Tensor) -> fanal.Tensor:
        return fanal.stack([layer(x) for layer in self.layers]).sum(0)


def shares(compiled: Any, *others: Any) -> list[float]:
    """The time of a call beside that of others, the least of each; in turn, so that what else the
    machine does concerns them all."""
    calls = (compiled, *others)
    for f in calls:
        for _ in range(8):  # past the launches that are timed
            f()
    least = [min(times) for times in zip(*[
        [timeit.timeit(f, number=40) for f in calls] for _ in range(30)
    ], strict=True)]  # fmt: skip
    return [least[0] / t for t in least[1:]]


def test_a_call_with_a_hundred_parameters_has_little_overhead() -> None:
    model, x = Sums(), fanal.randn(1, 4)
    compiled = fanal.compile(model)
    with fanal.inference_mode():
        (share,) = shares(lambda: compiled(x), lambda: model(x))
        assert share < 0.05  # about 0.006
        (replay,) = next(iter(compiled._compiled.kinds)).replays
        program = replay.plan.perform
        (share,) = shares(lambda: compiled(x), lambda: program([x], (), 0))
    assert share < 3  # about 1.4: checks take less time than the program


def test_a_call_of_a_tiny_network_costs_about_one_operation() -> None:
    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    compiled, x, y = fanal.compile(model), fanal.randn(1, 4), fanal.randn(1, 4)
    with fanal.inference_mode():
        whole, one = shares(lambda: compiled(x), lambda: model(x), lambda: x + y)
    assert whole < 0.2  # about 0.05
    assert one < 4  # about 1.4


def training(model: Any, optimizer: Any, x: Any) -> Callable[[], fanal.Tensor]:
    """A step of an optimiser."""

    def step() -> fanal.Tensor:
        optimizer.zero_grad()
        loss: fanal.Tensor = model(x).sum()
        loss.backward()
        optimizer.step()
        return loss

    return step


@pytest.mark.parametrize("kind", [fanal.optim.SGD, fanal.optim.AdamW])
def test_a_step_with_a_hundred_gradients_has_little_overhead(kind: Any) -> None:
    model, x = Sums(), fanal.randn(1, 4)
    optimizer = kind(model.parameters(), lr=1e-5)
    step = training(model, optimizer, x)

    compiled = fanal.compile(step)

    def scheduled() -> fanal.Tensor:
        optimizer.param_groups[0]["lr"] *= 0.9999
        return compiled()

    (share,) = shares(compiled, step)
    assert share < 0.1  # 0.005 to 0.02
    (share,) = shares(scheduled, compiled)
    assert share < 6  # 2.1 to 2.5


@watched
def test_a_call_that_asks_for_a_value_has_little_overhead() -> None:
    """Beside the same step without its question, and beside eager mode."""
    model, x = Sums(), fanal.randn(1, 4)
    optimizer = fanal.optim.SGD(model.parameters(), lr=1e-6)
    step = training(model, optimizer, x)

    def asking() -> fanal.Tensor:
        loss = step()
        if loss.item() > 1e6:
            raise ValueError("it diverges")
        return loss

    whole, cut = fanal.compile(step), fanal.compile(asking)
    eager, whole_share = shares(cut, asking, whole)
    assert eager < 0.1  # about 0.02
    assert whole_share < 4  # about 1.6


@watched
def test_a_turn_of_a_loop_has_little_overhead() -> None:
    def loop(x: Any) -> Any:
        error = x.sum()
        while error > 1:
            x = x * 0.97
            error = x.sum()
        return x

    compiled, x, y = fanal.compile(loop), fanal.full((8,), 2.6), fanal.randn(8)
    (share,) = shares(lambda: compiled(x), lambda: y + y)
    assert share / 100 < 8  # a turn beside one operation: about 2


def step_of(width: int) -> Any:
    model = nn.Sequential(nn.Linear(width, 64), nn.GELU(), nn.Linear(64, 8))
    return classifying(model, fanal.optim.AdamW(model.parameters()))


def test_old_programs_are_freed() -> None:
    x, y = fanal.randn(4, 16), fanal.randint(0, 8, (4,))
    step = step_of(16)
    step(x, y)
    (kind,) = step.kinds
    alive = [weakref.ref(kind.replays[0]), weakref.ref(step)]
    segment = weakref.ref(kind.replays[0].segment)
    del step, kind
    gc.collect()
    assert [r() for r in alive] == [None, None] and segment() is None


def test_memory_does_not_grow_with_calls_nor_with_compilations() -> None:
    x, y = fanal.randn(256, 512), fanal.randint(0, 8, (256,))

    def compilations(count: int) -> None:
        for _ in range(count):
            step = step_of(512)
            for _ in range(3):
                step(x, y)
            del step
            gc.collect()

    compilations(12)
    before = resident("VmRSS")
    compilations(12)
    assert resident("VmRSS") - before < 8  # MiB; the parameters alone of one of them are a half
    step = step_of(512)
    step(x, y)
    before = resident("VmRSS")
    for _ in range(1500):
        step(x, y)
    assert resident("VmRSS") - before < 4
