"""Hostile files are refused with a DataError: nothing crashes, nothing is run, no memory is taken for them."""

from __future__ import annotations

import random
import resource
import time
from pathlib import Path
from typing import Any

import pytest

import fanal
from fanal.core.errors import DataError
from fanal.export import load
from tests.attacks.make import FILES, put_together, taken_apart

HOSTILE = sorted(FILES.glob("*.fanal"))
HONEST = FILES.parent / "honest.fanal"


def test_the_honest_one_runs() -> None:
    p = load(HONEST)
    for n in (1, 5, 50):
        found = p(fanal.randn(n, 3), fanal.arange(n) % 10)
        assert found[0].shape == (n, 6) and found[-1] == 3
    with pytest.raises(IndexError):
        p(fanal.randn(2, 3), fanal.tensor([0, 10]))
    assert p.state["steps"].tolist() == [3, 3]


@pytest.mark.parametrize("path", HOSTILE, ids=[p.stem for p in HOSTILE])
def test_refused(path: Path) -> None:
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError) as caught:
        load(path)
    assert str(caught.value).startswith("[load] ")
    assert time.perf_counter() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes


def changed(x: Any, chance: random.Random) -> Any:
    """Plain data with one place changed."""
    if isinstance(x, dict) and x and chance.random() < 0.95:
        key = chance.choice(list(x))
        if chance.random() < 0.03:
            return {k: v for k, v in x.items() if k != key}
        return {**x, key: changed(x[key], chance)}
    if isinstance(x, list) and x and chance.random() < 0.95:
        i = chance.randrange(len(x))
        if chance.random() < 0.06:
            return [*x[:i], *x[i + 1 :]]
        if chance.random() < 0.06:
            return [*x[:i], x[i], *x[i:]]
        return [*x[:i], changed(x[i], chance), *x[i + 1 :]]
    numbers = [-1, 0, 1, 2, 3, 7, 63, 2**31, 2**48, 2**62, -(2**63)]
    others: list[Any] = [None, True, False, 1.5, "", "x", "float64", [], {}, [1], {"size": [[1, [0]]]}, {"size": [[-1, [0]]]}]
    if type(x) is int and chance.random() < 0.7:
        return chance.choice([x + 1, x - 1, *numbers])
    return chance.choice(numbers + others)


def tried(data: bytes, path: Path) -> None:
    """Load, and if that goes, run: an error of Python's kind is fine, a crash is not."""
    path.write_bytes(data)
    try:
        program = load(path)
    except DataError:
        return
    for name, s in program.signatures.items():
        given = {}
        try:
            value = program.symbols.at([min(max(d.min, 3), d.max or 3) for d in program.dims])
            for t in s.inputs:
                given[t.name] = fanal.zeros(*[value(n) for n in t.shape], dtype=t.dtype)
            program.run(given, name)
        except (DataError, ValueError, TypeError, IndexError, RuntimeError, MemoryError, ZeroDivisionError):
            continue


@pytest.mark.parametrize("seed", range(8))
def test_changed_in_some_places(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    program, header, tensors = taken_apart(HONEST.read_bytes())
    for _ in range(40):
        made = program
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            made = changed(made, chance)
        tried(put_together(made, header, bytes(tensors)), tmp_path / "changed.fanal")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 140))
def test_changed_in_many_places(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    program, header, tensors = taken_apart(HONEST.read_bytes())
    for _ in range(250):
        made, head = program, header
        for _ in range(chance.choice((1, 2, 4, 8))):
            made = changed(made, chance)
        if chance.random() < 0.1:
            entries = changed({k: v for k, v in header.items() if k != "__metadata__"}, chance)
            if isinstance(entries, dict):
                head = {"__metadata__": header["__metadata__"], **entries}
        tried(put_together(made, head, bytes(tensors)), tmp_path / "changed.fanal")
