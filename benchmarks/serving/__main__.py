"""`fanal serve` beside other servers, on this machine: `make bench-serving`, or

    python -m benchmarks.serving --cases digits --servers fanal,litserve --rounds 5

Prints a table, writes JSON and a page. All of it takes about half an hour.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import signal
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.peers import environment
from benchmarks.peers.machine import model
from benchmarks.serving import page, results, study
from benchmarks.serving.networks import NETWORKS
from benchmarks.serving.peers import SERVERS


def options() -> argparse.Namespace:
    """The command line."""
    who = "\n".join(f"  {s.name:12} {s.settings}" for s in SERVERS.values())
    what = "\n".join(f"  {n.name:12} {n.about}" for n in NETWORKS.values())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving", formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__,
        epilog=f"servers:\n{who}\n\ncases:\n{what}",
    )  # fmt: skip
    listed: dict[str, Any] = {"type": lambda s: s.split(","), "metavar": "A,B"}
    parser.add_argument("--cases", default=list(NETWORKS), help="which (default: all)", **listed)
    parser.add_argument("--servers", default=list(SERVERS), help="which (default: all)", **listed)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement (default 4)")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--json", type=Path, default=environment.ROOT / "out" / "serving.json")
    parser.add_argument("--html", type=Path, help="default: beside the JSON file")
    found = parser.parse_args()
    for name, known in (("cases", NETWORKS), ("servers", SERVERS)):
        for value in getattr(found, name):
            if value not in known:
                parser.error(f"--{name}: got {value!r}; expected some of {','.join(known)}")
    if found.rounds < 1:
        parser.error(f"--rounds: got {found.rounds}; expected 1 or more")
    found.html = found.html or found.json.with_suffix(".html")
    return found


def main() -> None:
    """Measure, print, write."""
    chosen = options()
    # Like Ctrl-C: servers are ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("[bench-serving] ended by a signal"))
    processors = len(os.sched_getaffinity(0))
    plan = study.Plan(
        [SERVERS[n] for n in chosen.servers], chosen.rounds, chosen.seconds, chosen.connections, processors,
        environment.ROOT / "build" / "serving", lambda text: print(text, file=sys.stderr, flush=True),
    )  # fmt: skip
    found: dict[str, Any] = {
        "date": datetime.date.today().isoformat(), "rounds": plan.rounds, "seconds": plan.seconds,
        "connections": plan.connections,
        "machine": {"processor": model(), "processors": processors, "python": platform.python_version(),
                    "busy before": environment.busy()},
        "servers": {s.name: {"label": s.label, "settings": s.settings, "packages": _versions(s.packages)} for s in plan.servers},
        "cases": {},
    }  # fmt: skip
    for name in chosen.cases:
        found["cases"][name] = study.run(plan, name)
        results.complete(found)
        print(page.text(found, name), flush=True)
        write(found, chosen.json, chosen.html)  # what there is, should it be stopped
    print(f"as JSON: {chosen.json}\nas a page: {chosen.html}")


def write(found: dict[str, Any], data: Path, html: Path) -> None:
    """Both files."""
    data.parent.mkdir(parents=True, exist_ok=True)
    data.write_text(json.dumps(found, indent=1) + "\n")
    html.write_text(page.render(found))


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


if __name__ == "__main__":
    main()
