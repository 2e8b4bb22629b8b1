"""Arenas: temporaries that are alive together lie apart, and little is lost between them."""

from __future__ import annotations

import random

import pytest

from fanal.backends.native.arena import ALIGNMENT, lower_bound, plan_arena
from fanal.backends.native.program import Temp


def lives(seed: int, count: int) -> list[Temp]:
    """Temporaries as training steps have them: most are short, some wait for the backward pass."""
    rng = random.Random(seed)
    found = []
    for moment in range(count):
        last = 2 * count - moment if rng.random() < 0.3 else moment + rng.randint(0, 6)
        found.append(Temp(rng.choice([0, 4, 4096, 65536, 100_000, 1 << 20]), moment, last))
    rng.shuffle(found)
    return found


@pytest.mark.parametrize("seed", range(8))
def test_lives_that_overlap_lie_apart(seed: int) -> None:
    temps = lives(seed, 120)
    arena = plan_arena(temps)
    for i, a in enumerate(temps):
        start = arena.offsets[i]
        assert start % ALIGNMENT == 0 and start + a.nbytes <= arena.nbytes
        for j, b in enumerate(temps[:i]):
            if a.first <= b.last and b.first <= a.last:
                other = arena.offsets[j]
                assert start + max(a.nbytes, 1) <= other or other + max(b.nbytes, 1) <= start


@pytest.mark.parametrize("seed", range(8))
def test_arena_is_near_its_lower_bound(seed: int) -> None:
    temps = lives(seed, 200)
    assert lower_bound(temps) <= plan_arena(temps).nbytes <= 1.1 * lower_bound(temps)


def test_unused_temporaries_take_nothing() -> None:
    assert plan_arena([Temp(1 << 20), Temp(1 << 20)]) == ([0, 0], 0)
    assert plan_arena([]) == ([], 0)


def test_plans_do_not_depend_on_anything_but_the_lives() -> None:
    assert plan_arena(lives(3, 300)) == plan_arena(lives(3, 300))
