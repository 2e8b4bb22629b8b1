"""What is shipped, beside others: `python -m benchmarks.edge` (in the environment of `make bench-peers`).

ResNet-18, a MobileNet-like and the digits network at batch 1 on one thread, float32: Fanal's native library, Fanal
compiled in a process, ONNX Runtime, LiteRT and ExecuTorch where they are installed. Processes take turns as in
`benchmarks.peers`. Prints the ratio of each one's time to that of the library with folded batch norms (above 1 the library is faster), and
the sizes of what goes to a user: model, weights and runtime.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.pairs import interval
from benchmarks.peers import cases, environment, peers, study
from benchmarks.peers.engines import executorch, library, litert
from benchmarks.peers.export import model_path as onnx_path

WHO = ("library", "library-folded", "fanal", "onnxruntime", "litert", "executorch")
OURS = "library-folded"  # what others are compared with: they fold batch norms, too
# The native library that an application ships, in each package.
RUNTIMES = {"onnxruntime": ("onnxruntime", "onnxruntime_pybind11_state"), "litert": ("ai-edge-litert", "libpywrap_litert_common"),
            "executorch": ("executorch", "_portable_lib")}  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.edge", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=lambda s: s.split(","), default=list(cases.SHIPPED), metavar="A,B")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--priority", action="store_true", help="other programs wait for what is measured")
    parser.add_argument("--json", type=Path, default=environment.ROOT / "out" / "edge.json")
    chosen = parser.parse_args()
    plan = study.Plan(
        chosen.cases, [peers.named(n) for n in WHO], ["infer1", "memory"], chosen.rounds, 1, chosen.priority,
        environment.ROOT / "build" / "peers", lambda text: print(text, file=sys.stderr, flush=True),
    )  # fmt: skip
    found: dict[str, Any] = {}
    for name in chosen.cases:
        found[name] = rows(name, study.run(plan, name)["infer1"], plan.work / "cases" / name)
        print(table(name, found[name]), flush=True)
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_text(json.dumps(found, indent=1) + "\n")
    print(f"as JSON: {chosen.json}")


def rows(case: str, results: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Times, ratios to the library's, memory and bytes of each."""
    ours = results.get(OURS, {}).get("seconds")
    found = {}
    for name, record in results.items():
        if not record.get("seconds"):
            found[name] = {"failed": record.get("failed", "no times")}
            continue
        row: dict[str, Any] = {"ms": median(record["seconds"]) * 1e3, "wrong": record.get("wrong")}
        if ours and name != OURS:
            ratios = [a / b for a, b in zip(record["seconds"], ours, strict=True)]
            row["ratio"], row["interval"] = median(ratios), list(interval(ratios))
        found[name] = {**row, "MiB grown": record["memory"]["grown"], **sizes(name, folder)}
    return found


def sizes(name: str, folder: Path) -> dict[str, int]:
    """Bytes that have to be shipped: of the model, and of what runs it."""
    files = {
        "library": lambda: library.shipped(folder / "library", "model"),
        "library-folded": lambda: library.shipped(folder / "folded", "model"),
        "onnxruntime": lambda: onnx_path(folder, 1).stat().st_size,
        "litert": lambda: litert.model_path(folder).stat().st_size,
        "executorch": lambda: executorch.model_path(folder).stat().st_size,
    }  # fmt: skip
    if name not in files:
        return {}
    return {"model": files[name](), "runtime": runtime(name)}


def runtime(name: str) -> int:
    """Bytes of a package's native library."""
    if name not in RUNTIMES:
        return 0
    package, part = RUNTIMES[name]
    try:
        listed = distribution(package).files or []
    except PackageNotFoundError:
        return 0
    sized = [Path(str(f.locate())).stat().st_size for f in listed if part in f.name and f.suffix == ".so"]
    return max(sized, default=0)


def table(name: str, found: dict[str, Any]) -> str:
    """As text."""
    lines = [f"{cases.load(name).title}: {cases.load(name).about}",
             f"  {'':22}{'ms':>9}{'ratio':>8}{'95 %':>14}{'MiB':>7}{'model MB':>10}{'runtime MB':>12}"]  # fmt: skip
    for who, row in found.items():
        label = peers.named(who).label
        if "failed" in row:
            lines.append(f"  {label:22}  {row['failed']}")
            continue
        ratio = f"{row['ratio']:8.2f}" if "ratio" in row else f"{'':8}"
        spread = "{:.2f} to {:.2f}".format(*row["interval"]) if "interval" in row else ""
        shipped = f"{row['model'] / 1e6:10.2f}{row['runtime'] / 1e6:12.2f}" if "model" in row else ""
        wrong = f"  WRONG: {row['wrong']}" if row["wrong"] else ""
        lines.append(f"  {label:22}{row['ms']:9.4f}{ratio}{spread:>14}{row['MiB grown']:7.0f}{shipped}{wrong}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
