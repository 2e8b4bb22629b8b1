"""The demo does what the README says of it."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import mean

import pytest

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "examples" / "digits.py"


def load():
    """The demo as a module."""
    spec = importlib.util.spec_from_file_location("digits", DEMO)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_epoch_from_the_command_line(tmp_path):
    done = subprocess.run(
        [sys.executable, str(DEMO), "--epochs", "1", "--out", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "gives the same bits: yes" in done.stdout
    assert "times as fast and give the same bits: yes" in done.stdout
    for way in ("file: .* the same bits", "library: .* the same bits", "WebAssembly: .* the same digits"):
        assert re.search(way, done.stdout), done.stdout
    assert "OTHER" not in done.stdout
    assert (tmp_path / "digits.safetensors").stat().st_size > 100_000
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_gives_the_same_losses():
    demo = load()
    first = demo.train(3, 1, show=False).losses
    assert first == demo.train(3, 1, show=False).losses != demo.train(4, 1, show=False).losses


def test_the_split_is_stratified_and_disjoint():
    demo = load()
    _, labels = demo.load_digits()
    train, test = demo.split(labels)
    assert len(test) in (359, 360)
    assert len(set(train) | set(test)) == len(labels) == 1797 and not set(train) & set(test)
    assert demo.load_digits()[1] is labels  # the file is read once
    values = labels.tolist()
    for digit in range(10):
        share = sum(values[i] == digit for i in test) / values.count(digit)
        assert abs(share - 0.2) < 0.003


@pytest.mark.slow
def test_five_seeds_reach_98_percent_on_average():
    demo = load()
    found = [demo.train(seed, 20, show=False, compiled=True).accuracy for seed in range(5)]
    assert mean(found) >= 0.98, found
    print([f"{a:.2%}" for a in found])
