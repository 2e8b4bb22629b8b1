"""What is measured of whole processes: start-up, the first kernels, and the memory of a training run."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "examples" / "digits.py"
ROUNDS = 5


@dataclass(frozen=True)
class Fact:
    """One number, with the most (or the least) that it may be."""

    name: str
    value: float
    unit: str
    target: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.value >= self.target if self.at_least else self.value <= self.target

    def record(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "met": self.met}


def measure(chosen: Sequence[str]) -> list[Fact]:
    """The facts whose group holds one of the chosen texts (all, if none is given)."""
    found = []
    for name, function in (
        ("processes/matmul peak", peak), ("processes/start", starts), ("processes/memory", memory)
    ):
        if not chosen or any(text in name for text in chosen):
            found += function()
    return found


def table(facts: Sequence[Fact]) -> str:
    """Text: a line for each fact."""
    width = max(len(f.name) for f in facts)
    lines = ["processes", "---------"]
    for f in facts:
        verdict = "met" if f.met else "missed"
        bound = "at least" if f.at_least else "at most"
        lines.append(f"{f.name:{width}}  {f.value:8.2f} {f.unit:5}  {bound} {f.target:.2f} {verdict}")
    return "\n".join(lines) + "\n"


def peak() -> list[Fact]:
    """The rate of a product of 1024³ beside that of a loop of nothing but FMAs, in turns."""
    import fanal
    from benchmarks.contract import peak as fma_loop

    fanal.set_num_threads(1)
    loop, operations = fma_loop()
    a, b = fanal.randn(1024, 1024), fanal.randn(1024, 1024)
    a @ b
    shares = []
    for _ in range(15):
        before = loop()
        start = time.perf_counter()
        a @ b
        taken = time.perf_counter() - start
        best = operations / min(before, loop())
        shares.append(2.0 * 1024**3 / taken / best)
    name = "matmul 1024x1024x1024, share of the FMA peak"
    return [Fact(name, statistics.median(shares), "", 0.9, at_least=True)]


def starts() -> list[Fact]:
    """Import time, and the demo with an empty and with a filled cache of kernels."""
    code = "import time; t = time.perf_counter(); import fanal; print(time.perf_counter() - t)"
    imports = [float(_run([sys.executable, "-c", code])) for _ in range(ROUNDS)]
    with tempfile.TemporaryDirectory() as folder:
        demo = [sys.executable, str(DEMO), "--epochs", "1", "--out", folder]
        cold = _run(demo, FANAL_CACHE_DIR=f"{folder}/cache")
        warm = [_run(demo, FANAL_CACHE_DIR=f"{folder}/cache") for _ in range(3)]
    first = r"first step done ([\d.]+) s"
    return [
        Fact("import fanal", statistics.median(imports), "s", 0.5),
        Fact("demo's kernels, empty cache", _number(r"in ([\d.]+) s$", cold), "s", 15.0),
        Fact("demo until its first step, empty cache", _number(first, cold), "s", 15.0),
        Fact(
            "demo until its first step, filled cache",
            statistics.median(_number(first, text) for text in warm), "s", 1.5,
        ),
    ]  # fmt: skip


def memory() -> list[Fact]:
    """Peak resident memory of a training run beyond that after the import, as a ratio."""
    facts = []
    for model in ("convolutions", "transformer"):
        grown = {}
        for library in ("fanal", "torch"):
            command = [sys.executable, "-m", "benchmarks.memory", library, model]
            grown[library] = statistics.median(float(_run(command)) for _ in range(3))
        facts.append(
            Fact(f"peak memory, training {model}, of PyTorch's", grown["fanal"] / grown["torch"],
                 "times", 1.0)
        )  # fmt: skip
    return facts


def _run(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip
    return done.stdout.strip()


def _number(pattern: str, text: str) -> float:
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        raise RuntimeError(f"[bench] {pattern!r} is not in what the program printed:\n{text}")
    return float(match.group(1))
