"""Random programs give the same bits eagerly and compiled, and the reference's values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fanal
from fanal.backends.reference import run_reference
from fanal.compiler.segments import Segment
from fanal.core.dispatch import tracing
from fanal.graph import verify
from tests.compiler.against_eager import Program, check
from tests.compiler.random_programs import Machine, SizedMachine


def program(seed: int) -> Program:
    machine = Machine(seed)
    return Program(machine, machine.inputs, state=lambda: list(machine.state))


@pytest.mark.parametrize("seed", range(40))
def test_eager_and_compiled(seed: int) -> None:
    check(lambda: program(seed), 4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 1100))
def test_eager_and_compiled_many(seed: int) -> None:
    check(lambda: program(seed), 4)


def _of_many_sizes(seed: int) -> int:
    """Check a program whose arguments change their sizes; how many calls other sizes' programs served."""

    def made() -> Program:
        machine = SizedMachine(seed)
        return Program(machine, machine.inputs, state=lambda: list(machine.state))

    compiled = check(made, 8, dynamic=True).compiled
    return sum(r.family is not None for kind in compiled.kinds for r in kind.replays)


def test_sizes_as_symbols() -> None:
    assert sum(map(_of_many_sizes, range(20))) > 10


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 600))
def test_sizes_as_symbols_many(seed: int) -> None:
    _of_many_sizes(seed)


@pytest.mark.parametrize("seed", range(40, 55))
def test_segments_against_the_reference(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Segment.run
    compared = []

    def both(self: Segment, inputs: Any, written: Any) -> list[Any]:
        verify(self.graph)
        with tracing(None):
            arrays = [
                x.detach().numpy().copy() if isinstance(x, fanal.Tensor) else np.asarray(x)
                for x in inputs
            ]
        memories = run(self, inputs, written)
        expected = run_reference(self.graph, arrays)
        for value, memory, wanted in zip(self.graph.outputs, memories, expected, strict=False):
            if value.dtype.kind != "f" or value.ndim > 1 or not np.isfinite(wanted).all():
                continue  # (others may lie in another order)
            found = np.frombuffer(memory, value.dtype.numpy)[: wanted.size].reshape(wanted.shape)
            scale = max(1.0, float(np.abs(wanted).max())) if wanted.size else 1.0
            assert np.abs(found - wanted).max(initial=0) <= 2e-4 * scale
            compared.append(value)
        return memories

    monkeypatch.setattr(Segment, "run", both)
    machine = Machine(seed)
    compiled = fanal.compile(machine)
    for i in range(2):
        compiled(*machine.inputs(i))


def test_the_same_bits_for_any_number_of_threads() -> None:
    before = fanal.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 4):
            fanal.set_num_threads(threads)
            fanal.manual_seed(0)
            results = []
            for seed in range(5):
                machine = Machine(seed)
                fanal.manual_seed(0)
                compiled = fanal.compile(machine)
                results.append([np.asarray(t.detach()).tobytes() for t in compiled(*machine.inputs(0))[0]])
            found.append(results)
    finally:
        fanal.set_num_threads(before)
    assert found[0] == found[1] == found[2]
