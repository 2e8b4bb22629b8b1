"""The behaviours at full counts: `make soak`, or `python -m tests.serve.soak --only swap,drain --part 0.1`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from tests.serve.soak.behaviours import BEHAVIOURS
from tests.serve.soak.scale import Scale


def main() -> int:
    """Run them one after another; 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.serve.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", type=lambda s: s.split(","), default=[], metavar="TEXT,TEXT", help="those whose names hold one of these")
    parser.add_argument("--part", type=float, default=1.0, help="of the full counts (default: all)")
    parser.add_argument("--slack", type=float, default=1.0, help="bounds on time are so many times as wide: for a machine that is busy")
    parser.add_argument("--json", type=Path, default=Path("out") / "soak.json")
    chosen = parser.parse_args()
    scale = Scale(chosen.part, chosen.slack)
    # Like Ctrl-C: servers are ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("[soak] ended by a signal"))
    found: dict[str, Any] = {}
    for name, behaviour in BEHAVIOURS.items():
        if chosen.only and not any(text in name for text in chosen.only):
            continue
        print(f"{name} …", flush=True)
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                record: dict[str, Any] = {"held": True, **behaviour(Path(folder), scale)}
            except Exception as error:
                traceback.print_exc()
                record = {"held": False, "why": str(error)[:2000]}
        found[name] = {**record, "seconds": time.monotonic() - start}
        for key, value in found[name].items():
            print(f"    {key}: {value:.4g}" if isinstance(value, float) else f"    {key}: {value}", flush=True)
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")
    broken = [name for name, record in found.items() if not record["held"]]
    print(f"{len(found) - len(broken)} of {len(found)} held" + (f"; broken: {', '.join(broken)}" if broken else ""))
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
