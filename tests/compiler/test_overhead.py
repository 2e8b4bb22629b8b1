"""What a call of a compiled function checks, how much it leaves behind, and how long that takes."""

from __future__ import annotations

import gc
import timeit
import weakref
from typing import Any

import fanal
from benchmarks.memory import resident
from fanal import nn
from fanal.compiler.observer.places import Slots, place_of
from fanal.tensor.tensor import Tensor
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


def test_a_call_with_a_hundred_parameters_has_little_overhead() -> None:
    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(50)])
    compiled = fanal.compile(model)
    x = fanal.randn(1, 4)
    with fanal.inference_mode():
        compiled(x)
        ours, eager = (
            min(timeit.repeat(lambda f=f: f(x), number=200, repeat=20)) for f in (compiled, model)
        )
    assert ours < 0.2 * eager  # about 0.04


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
