"""Fanal against PyTorch eager, on this machine, in one run: `make bench`.

    python -m benchmarks [--threads 1] [--rounds 9] [--only matmul,softmax] [--json PATH]

Both run in one process, in turns; every round gives one ratio (PyTorch's time over Fanal's, so more
is better), and the table shows their median with the interval that holds the true median with 95 %
confidence. A target is met when the interval reaches it. Absolute times are shown for orientation.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path


def main() -> None:
    """Measure the chosen groups and print a table for each."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Fanal against PyTorch eager, in one run."
    )
    parser.add_argument("--threads", default="1", help="threads for both, e.g. 1 or 1,2 (default 1)")
    parser.add_argument("--rounds", type=int, default=9, help="interleaved rounds, at least 7")
    parser.add_argument("--only", default="", help="comma-separated parts of group or case names")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results.json"))
    options = parser.parse_args()
    if options.rounds < 7:
        parser.error(f"--rounds: got {options.rounds}; expected at least 7")
    # Read by either library when it is loaded: threads of the other must not spin beside ours.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import torch
    except ImportError:
        sys.exit("PyTorch is needed to compare with: pip install torch==2.13.0 (or make bench)")

    from benchmarks import processes, report
    from benchmarks.groups import GROUPS

    found = {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "rounds": options.rounds,
        "results": [],
    }
    chosen = [text for text in options.only.split(",") if text]
    for threads in (int(t) for t in options.threads.split(",")):
        for group in GROUPS:
            rows = group.measure(threads, options.rounds, chosen)
            if rows:
                print(report.table(group, threads, rows), flush=True)
                found["results"] += report.records(group, threads, rows)
    facts = processes.measure(chosen)
    if facts:
        print(processes.table(facts), flush=True)
        found["processes"] = [fact.record() for fact in facts]
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(found, indent=1) + "\n")
    print(f"as JSON: {options.json}")


if __name__ == "__main__":
    main()
