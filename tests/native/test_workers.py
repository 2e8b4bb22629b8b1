"""Helpers that compile kernels: the same objects with and without them, whatever happens to them."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from fanal.backends.native import jit, workers
from tests.faults.program import TRAINING, run


def text(name: str, number: int) -> str:
    return f"define i64 @{name}(i64 %x) {{\n  %y = mul i64 %x, {number}\n  ret i64 %y\n}}\n"


TEXTS = {f"k{n}": text(f"k{n}", n) for n in range(40)}


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two helpers, for however little."""
    monkeypatch.setattr(workers, "_WORTH", 1)
    monkeypatch.setenv("FANAL_COMPILE_WORKERS", "2")


def compiled(texts: dict[str, str], between: object = None) -> tuple[dict[str, bytes], workers.Batch]:
    found: dict[str, bytes] = {}
    batch = workers.Batch(found.__setitem__)
    for name, ir in texts.items():
        batch.add(name, ir)
    if callable(between):
        between(batch)
    batch.finish()
    return found, batch


@pytest.mark.usefixtures("two")
def test_objects_are_those_of_this_process() -> None:
    seen: list[int] = []

    def wait(batch: workers.Batch) -> None:
        seen.extend(h.process.pid for h in batch._helpers)
        with batch._changed:  # let them do at least one kernel
            batch._changed.wait_for(lambda: batch._helped, 20)

    found, _ = compiled(TEXTS, wait)
    assert len(seen) == 2
    assert found == {name: jit.compile_ir(ir) for name, ir in TEXTS.items()}


@pytest.mark.usefixtures("two")
def test_a_helper_that_dies_leaves_its_work_to_this_process() -> None:
    def kill(batch: workers.Batch) -> None:
        for helper in batch._helpers:
            os.kill(helper.process.pid, signal.SIGKILL)

    found, _ = compiled(TEXTS, kill)
    assert found.keys() == TEXTS.keys()


@pytest.mark.usefixtures("two")
def test_helpers_end_with_their_batch() -> None:
    batch = workers.Batch(lambda name, made: None)
    for name, ir in TEXTS.items():
        batch.add(name, ir)
    processes = [h.process for h in batch._helpers]
    batch.close()
    assert [p.wait(20) for p in processes]


@pytest.mark.usefixtures("two")
def test_errors_are_raised_here() -> None:
    with pytest.raises(RuntimeError, match="expected"):
        compiled({**TEXTS, "broken": "define nonsense"})


def test_no_helpers_where_none_are_wanted_or_none_can_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_WORTH", 1)
    monkeypatch.setenv("FANAL_COMPILE_WORKERS", "0")
    found, batch = compiled(TEXTS)
    assert found.keys() == TEXTS.keys() and not batch._helpers
    monkeypatch.setenv("FANAL_COMPILE_WORKERS", "2")
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    found, batch = compiled(TEXTS)
    assert found.keys() == TEXTS.keys() and not batch._helpers
    monkeypatch.setenv("FANAL_COMPILE_WORKERS", "many")
    with pytest.raises(ValueError, match="FANAL_COMPILE_WORKERS"):
        workers.allowed()


def test_a_step_compiled_by_helpers_has_the_same_bits() -> None:
    """Without a cache on disk, in processes whose warnings are errors."""
    alone = run(TRAINING, "", FANAL_COMPILE_WORKERS="0")
    assert run(TRAINING, "", FANAL_COMPILE_WORKERS="2") == alone


def test_an_interrupt_while_helpers_compile_leaves_everything_usable() -> None:
    source = """
import _thread, threading
""" + TRAINING.split("print(")[0] + """
threading.Timer(0.35, _thread.interrupt_main).start()
try:
    while True:
        step(x, y)
except KeyboardInterrupt:
    pass
print(step(x, y).item() >= 0)
"""
    assert run(source, "", FANAL_COMPILE_WORKERS="2") == "True"
