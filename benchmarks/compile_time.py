"""How long a compiled training step takes to come into being, by stage, and what memory it plans.

    python -m benchmarks.compile_time [--cases mlp,gpt] [--rounds 3] [--threads 1]

Each measurement is a process of its own. `cold`: with an empty cache folder; `warm`: with the folder that
the cold one left. The time is that of the first call less that of a steady one, imports and the making of
the model excluded, the least of the rounds; stages are those of the same round. `memory` is the time by
which the first run was longer than a steady one: pages that are touched for the first time, which a
machine gives at its own pace, so it is told apart. The GPT is also measured with 48 layers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.memory import resident

ROOT = Path(__file__).parent.parent
DEEP = "gpt48"
# What the stages of `fanal.core.stages` are shown as.
COLUMNS = {
    "record": ("record",), "graph": ("steps", "graph", "passes"), "lower": ("lower",), "plan": ("plan",),
    "recall": ("recall",), "generate": ("write kernels",), "LLVM": ("compile kernels",),
    "load": ("kernels",),
}  # fmt: skip


def measure(name: str, threads: int) -> dict[str, Any]:
    """The first step of a case and some more, in this process."""
    import fanal
    from benchmarks.peers import cases
    from benchmarks.peers.cases import gpt
    from benchmarks.peers.losses import LOSSES
    from fanal.compiler.explain.facts import segments
    from fanal.core import stages

    fanal.set_num_threads(threads)
    empty = resident("VmRSS")
    if name == DEEP:
        gpt.LAYERS, name = 48, "gpt"
    case = cases.load(name)
    model = case.build(fanal)
    optimizer = fanal.optim.AdamW(model.parameters(), lr=1e-6)
    inputs, targets = ([fanal.from_numpy(a) for a in some] for some in case.data(case.batch))
    loss_of = LOSSES[case.loss]

    @fanal.compile
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(fanal.nn.functional, model(*x), *y)
        loss.backward()
        optimizer.step()
        return loss

    stages.reset()
    times = []
    for _ in range(4):
        start = time.perf_counter()
        step(inputs, targets).item()
        times.append(time.perf_counter() - start)
    taken, steady = stages.taken(), min(times[1:])
    programs = [s.executable for s in segments(step.root)]
    return {
        "seconds": times[0] - steady, "steady": steady, "memory": taken.pop("run", 0.0) + taken.pop("states", 0.0) - steady,
        "stages": taken, "arena": sum(p.arena_bytes for p in programs),
        "bound": sum(p.arena_bound for p in programs), "peak": resident("VmHWM") - empty,
        "phases": sum(p.phases for p in programs),
    }  # fmt: skip


def fresh(name: str, folder: str, threads: int) -> dict[str, Any]:
    """The same in a process of its own, with a cache folder."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.compile_time", "--one", name, "--threads", str(threads)],
        capture_output=True, text=True, check=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "FANAL_CACHE_DIR": folder},
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def both(name: str, threads: int, rounds: int) -> dict[str, dict[str, Any]]:
    """The best cold and the best warm start of some rounds."""
    found: dict[str, list[dict[str, Any]]] = {"cold": [], "warm": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            for kind, results in found.items():
                del kind
                results.append(fresh(name, folder, threads))
    return {k: min(r, key=lambda one: compiling(one)) for k, r in found.items()}


def compiling(one: dict[str, Any]) -> float:
    """Seconds of all stages: the first call without its run."""
    return float(sum(one["stages"].values()))


def line(name: str, kind: str, one: dict[str, Any]) -> str:
    """One row of the table."""
    stages = [sum(one["stages"].get(s, 0.0) for s in some) for some in COLUMNS.values()]
    shown = "".join(f"{seconds:9.3f}" for seconds in stages)
    return (
        f"{name:10} {kind:5}{one['seconds']:8.2f}{compiling(one):9.3f}{one['memory']:8.2f} {shown}"
        f"{one['arena'] / 2**20:8.1f}{one['arena'] / max(one['bound'], 1):7.3f}{one['peak']:8.0f}"
    )


def main() -> None:
    """Measure and print."""
    from benchmarks.peers.cases import NAMES

    parser = argparse.ArgumentParser(prog="python -m benchmarks.compile_time")
    parser.add_argument("--cases", default=",".join((*NAMES, DEEP)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.threads)))
        return
    heads = "".join(f"{h:>9}" for h in COLUMNS)
    print(f"{'case':10} {'':5}{'first':>8}{'compile':>9}{'memory':>8} {heads}{'arena':>8}{'bound':>7}{'peak':>8}")
    print(f"{'':10} {'':5}{'s':>8}{'s':>9}{'s':>8} {'s' * 0:>{9 * len(COLUMNS)}}{'MiB':>8}{'times':>7}{'MiB':>8}")
    results: dict[str, dict[str, Any]] = {}
    for name in options.cases.split(","):
        results[name] = both(name, options.threads, options.rounds)
        for kind, one in results[name].items():
            print(line(name, kind, one), flush=True)
    if "gpt" in results and DEEP in results:
        ratio = compiling(results[DEEP]["cold"]) / compiling(results["gpt"]["cold"])
        print(f"48 layers over 4, cold: {ratio:.2f} times the time to compile (target 2)")
    late = [n for n, r in results.items() if r["warm"]["seconds"] > 0.5]
    print(f"warm starts above 0.5 s: {', '.join(late) or 'none'}")


if __name__ == "__main__":
    main()
