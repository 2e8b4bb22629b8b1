"""Before a case is measured: its weights, and how much work it is. `python -m … CASE FOLDER`.

Runs in a process of its own, with Fanal, or PyTorch where Fanal cannot (only names and shapes are
needed, and the two agree on those).
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.peers import cases, counting, weights


def prepare(lib: Any, name: str, folder: Path) -> dict[str, Any]:
    """Write the weights; the work of a training step and of answers."""
    case = cases.load(name)
    model = case.build(lib)
    weights.make(model, folder / "weights.npz")
    found: dict[str, Any] = {"parameters": sum(p.numel() for p in model.parameters())}
    for measure, batch in (("train", case.batch), ("infer1", 1), ("infer32", 32)):
        inputs = [lib.from_numpy(x) for x in case.data(batch)[0]]
        found[measure] = counting.work(lib, model.train(measure == "train"), inputs)
    return found


def main() -> None:
    """Prints the work as JSON."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    try:
        found = prepare(_import("fanal"), name, folder)
    except Exception as error:
        print(f"prepare: Fanal could not ({error}); PyTorch instead", file=sys.stderr)
        found = prepare(_import("torch"), name, folder)
    print(json.dumps(found))


def _import(name: str) -> Any:
    importlib.import_module(f"{name}.nn.functional")
    return importlib.import_module(name)


if __name__ == "__main__":
    main()
