"""Fanal beside its peers, on this machine: `make bench-peers`, or

    python -m benchmarks.peers --cases mlp --peers torch-eager,jax --measure train

Every case runs on every peer in a process of its own; the processes take turns. Prints tables,
writes JSON and a page. A whole run takes about three quarters of an hour; the example a quarter of
a minute.
"""

from __future__ import annotations

import argparse
import datetime
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.peers import cases, environment, footprint, peers, results, study, tables
from benchmarks.peers.page import page

MEASURES = {
    "train": "seconds of a training step",
    "infer1": "seconds of an answer at batch 1",
    "infer32": "seconds of an answer at batch 32",
    "compile": "seconds of the first step, with empty and with filled caches",
    "memory": "growth of the process after the import",
    "import": "seconds of the import",
    "size": "MiB that are installed",
    "leave": "weights from Fanal into PyTorch, names that the two share",
}
HERE = Path(__file__).parent


def options() -> argparse.Namespace:
    """The command line."""
    text = "\n".join(f"  {name:10} {about}" for name, about in MEASURES.items())
    who = "\n".join(f"  {p.name:15} {p.settings}" for p in peers.PEERS)
    what = "\n".join(f"  {n:10} {cases.load(n).about}" for n in cases.NAMES)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", formatter_class=argparse.RawDescriptionHelpFormatter,
        description=__doc__,
        epilog=f"measures:\n{text}\n\npeers:\n{who}\n\ncases:\n{what}",
    )  # fmt: skip
    listed = {"type": lambda s: s.split(","), "metavar": "A,B"}
    parser.add_argument("--cases", default=list(cases.NAMES), help="which (default: all)", **listed)
    parser.add_argument("--peers", default=list(peers.NAMES), help="which (default: all)", **listed)
    parser.add_argument("--measure", default=list(MEASURES), help="which (default: all)", **listed)
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds, at least 7")
    parser.add_argument("--threads", type=int, default=2, help="for everyone (default 2)")
    parser.add_argument(
        "--priority", action="store_true",
        help="other programs on this machine wait for what is measured (needs the right to)",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, help="default: results.json beside this file after a "
                        "whole run, out/peers.json after a part of it")  # fmt: skip
    parser.add_argument("--html", type=Path, help="default: beside the JSON file")
    found = parser.parse_args()
    for name, known in (("cases", cases.NAMES), ("peers", peers.NAMES), ("measure", MEASURES)):
        for value in getattr(found, name):
            if value not in known:
                parser.error(f"--{name}: got {value!r}; expected some of {','.join(known)}")
    if found.rounds < 7:
        parser.error(f"--rounds: got {found.rounds}; expected at least 7, for a 95 % interval")
    if found.json is None:
        whole = (len(found.cases), len(found.peers), len(found.measure)) == (
            len(cases.NAMES), len(peers.NAMES), len(MEASURES),
        )  # fmt: skip
        found.json = HERE / "results.json" if whole else environment.ROOT / "out" / "peers.json"
    found.html = found.html or found.json.with_suffix(".html")
    return found


def main() -> None:
    """Measure, print, write."""
    chosen = options()
    # Like Ctrl-C: workers are ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("[peers] ended by a signal"))
    plan = study.Plan(
        chosen.cases, [peers.named(n) for n in chosen.peers], chosen.measure, chosen.rounds,
        chosen.threads, chosen.priority, environment.ROOT / "build" / "peers", _say,
    )  # fmt: skip
    if plan.priority and not _may_favour():
        sys.exit("[peers] --priority: this user may not raise priorities here. Try: without it.")
    found: dict[str, Any] = {
        "date": datetime.date.today().isoformat(), "rounds": plan.rounds, "threads": plan.threads,
        "priority": plan.priority, "machine": _asked("machine", str(plan.threads),
                                                     *(["--priority"] if plan.priority else [])),
        "peers": {p.name: {"label": p.label, "settings": p.settings} for p in plan.peers},
        "cases": {},
    }  # fmt: skip
    if "size" in plan.measures:
        found["size"] = footprint.sizes(plan.peers)
    if "import" in plan.measures:
        cache = plan.work / "cache" / "import"
        found["import"] = footprint.imports(plan.peers, plan.threads, cache, plan.priority)
    if "leave" in plan.measures:
        found["leave"] = _asked("leaving", *plan.cases)
    if any(plan.wanted(m) for m in study.TIMED):
        for name in plan.cases:
            found["cases"][name] = study.run(plan, name)
            results.complete(found)
            print(tables.case(name, found["cases"][name]), flush=True)
            write(found, chosen.json, chosen.html)  # what there is, should it be stopped
    print(tables.footprint(found), tables.summary(found), sep="\n")
    write(results.complete(found), chosen.json, chosen.html)
    print(f"\nas JSON: {chosen.json}\nas a page: {chosen.html}")


def write(found: dict[str, Any], data: Path, html: Path) -> None:
    """Both files."""
    data.parent.mkdir(parents=True, exist_ok=True)
    data.write_text(json.dumps(found, indent=1) + "\n")
    html.write_text(page.render(found))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _asked(module: str, *arguments: str) -> dict[str, Any] | None:
    """What a module of ours prints as JSON, run in a process of its own."""
    cache = environment.ROOT / "build" / "peers" / "cache" / "prepare"
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.peers.{module}", *arguments], capture_output=True,
        text=True, cwd=environment.ROOT, env=environment.worker(1, cache), start_new_session=True,
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        _say(f"[peers] {module} failed: {last}")
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def _may_favour() -> bool:
    """Try it on a process that does nothing."""
    with subprocess.Popen(["sleep", "1"], start_new_session=True) as process:
        return environment.favour(process.pid)


if __name__ == "__main__":
    main()
