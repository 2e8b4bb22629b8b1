"""Runs ordinary PyTorch programs on PyTorch, then on Fanal with only their import lines changed.

`python -m tests.peers.run_scripts` runs those in `tests/peers/scripts`; other files and folders can
be given. A program prints its losses: every number after the word "loss" is compared, in order
(where no line says "loss", every number with a decimal point). Needs PyTorch.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

SCRIPTS = Path(__file__).parent / "scripts"
ROOT = Path(__file__).parent.parent.parent
NUMBER = r"[-+]?(?:\d+\.\d*(?:[eE][-+]?\d+)?|\d+(?:[eE][-+]?\d+)?|nan|inf)"
LOSS = re.compile(rf"loss\w*\s*[:=]?\s*({NUMBER})", re.IGNORECASE)
DECIMAL = re.compile(r"[-+]?\d+\.\d+(?:[eE][-+]?\d+)?")

# Runs a program, with the time of every printed line since its framework was imported.
DRIVER = """
import json, runpy, sys, time
framework, script, record = sys.argv[1:4]
sys.argv = [script, *sys.argv[4:]]
__import__(framework)
if framework == "torch":
    import torch
    torch.set_num_threads({threads})
else:
    import fanal
    fanal.set_num_threads({threads})
class Timed:
    def __init__(self, inner):
        self.inner, self.lines, self.part = inner, [], ""
    def write(self, text):
        self.inner.write(text)
        *whole, self.part = (self.part + text).split("\\n")
        self.lines += [(time.perf_counter() - start, line) for line in whole]
        return len(text)
    def __getattr__(self, name):
        return getattr(self.inner, name)
sys.stdout = Timed(sys.stdout)
start = time.perf_counter()
try:
    runpy.run_path(script, run_name="__main__")
finally:
    with open(record, "w") as file:
        json.dump({{"seconds": time.perf_counter() - start, "lines": sys.stdout.lines}}, file)
"""


@dataclass
class Run:
    """What a program printed, and when."""

    seconds: float
    lines: list[tuple[float, str]]
    error: str

    def losses(self) -> tuple[list[float], list[float]]:
        """The printed losses and their times."""
        for pattern in (LOSS, DECIMAL):
            found = [(float(m), t) for t, line in self.lines for m in pattern.findall(line)]
            if found:
                return [v for v, _ in found], [t for _, t in found]
        return [], []

    def pace(self) -> float:
        """Seconds from one loss to the next in the later half: without compilation."""
        times = self.losses()[1]
        gaps = [b - a for a, b in pairwise(times) if b - a > 1e-5]
        return median(gaps[len(gaps) // 2 :]) if gaps else self.seconds


def changed(source: str) -> str:
    """The program with `torch` replaced by Fanal in its import lines only."""

    def imported(match: re.Match[str]) -> str:
        names = []
        for name in match[2].split(","):
            path, _, alias = name.strip().partition(" as ")
            if path.split(".")[0] != "torch":
                names.append(name.strip())
                continue
            renamed = "fanal" + path.removeprefix("torch")
            # `import torch.nn` binds the name torch, as `import torch` does.
            names.append(f"{renamed} as {alias}" if alias else f"{renamed}, fanal as torch")
        return f"{match[1]}import {', '.join(names)}"

    source = re.sub(r"^([ \t]*)from torch\b", r"\1from fanal", source, flags=re.MULTILINE)
    return re.sub(r"^([ \t]*)import ([^#;\n(]*\btorch\b[^#;\n]*)", imported, source, flags=re.MULTILINE)


def run(script: Path, framework: str, threads: int, limit: float) -> Run:
    """One program in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        copy, record = Path(folder) / script.name, Path(folder) / "record.json"
        source = script.read_text()
        copy.write_text(changed(source) if framework == "fanal" else source)
        command = [sys.executable, "-c", DRIVER.format(threads=threads), framework]
        path = os.pathsep.join([str(ROOT), str(script.parent), os.environ.get("PYTHONPATH", "")])
        env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(threads)}
        try:
            done = subprocess.run(
                [*command, str(copy), str(record)],
                env=env, capture_output=True, text=True, timeout=limit, cwd=folder,
            )  # fmt: skip
            error = done.stderr.strip() if done.returncode else ""
        except subprocess.TimeoutExpired:
            error = f"longer than {limit} s"
        found = json.loads(record.read_text()) if record.exists() else {"seconds": 0.0, "lines": []}
    return Run(found["seconds"], [(t, line) for t, line in found["lines"]], error)


def relative(a: float, b: float, scale: float) -> float:
    """|a - b| relative to the larger one, or to a hundredth of the largest loss of the run."""
    if a == b or (a != a and b != b):
        return 0.0
    return abs(a - b) / max(abs(a), abs(b), scale / 100, 1e-12)


def verdict(theirs: Run, ours: Run, first: float, last: float) -> tuple[bool, str]:
    """Whether the losses agree, and the columns of the table."""
    a, b = theirs.losses()[0], ours.losses()[0]
    if theirs.error or ours.error or not a or len(a) != len(b):
        return False, f"{len(a)} losses with torch, {len(b)} with Fanal"
    scale = max(abs(x) for x in a)
    differences = [relative(x, y, scale) for x, y in zip(a, b, strict=True)]
    early = max(differences[:3])
    ok = early <= first and max(differences) <= last
    return ok, (
        f"{len(a):4d} {a[-1]:11.6f} {b[-1]:11.6f} {early:8.1e} {max(differences):8.1e} "
        f"{theirs.seconds:7.2f} {ours.seconds:7.2f} {theirs.seconds / ours.seconds:6.2f} "
        f"{theirs.pace() / ours.pace():6.2f}"
    )


def main() -> int:
    """The table of all scripts; 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scripts", nargs="*", type=Path, default=[SCRIPTS], help="files or folders")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--first", type=float, default=1e-5, help="relative difference, three losses")
    parser.add_argument("--last", type=float, default=1e-3, help="relative difference of all losses")
    parser.add_argument("--limit", type=float, default=300, help="seconds a program may take")
    parser.add_argument("--warm", action="store_true", help="run Fanal twice: kernels from the cache")
    parser.add_argument("--show", action="store_true", help="print both outputs")
    options = parser.parse_args()
    files = [f for p in options.scripts for f in (sorted(p.glob("*.py")) if p.is_dir() else [p])]
    print(f"{'program':24} losses    torch       Fanal    first    worst  torch s Fanal s  ratio   pace")
    failed = 0
    for script in (f.resolve() for f in files):
        theirs = run(script, "torch", options.threads, options.limit)
        if options.warm:
            run(script, "fanal", options.threads, options.limit)
        ours = run(script, "fanal", options.threads, options.limit)
        ok, text = verdict(theirs, ours, options.first, options.last)
        failed += not ok
        print(f"{script.stem:24} {text}  {'ok' if ok else 'FAILED'}", flush=True)
        for name, one in (("torch", theirs), ("Fanal", ours)):
            if one.error:
                print(f"  {name}: " + "\n    ".join(one.error.splitlines()[-6:]))
            if options.show:
                print(*(f"    {name} {t:7.2f} {line}" for t, line in one.lines), sep="\n")
    print(f"{len(files) - failed} of {len(files)} agree; ratio and pace are torch / Fanal, pace without compilation")
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
