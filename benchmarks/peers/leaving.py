"""What it costs to leave Fanal again, tried out: weights written by Fanal, read by PyTorch.

For every case the model is made by Fanal and its weights saved by `fanal.save`; another library
(`safetensors`) opens the file, and PyTorch loads it into the model that the *same source* makes
with `torch` in place of `fanal`. Also counts how many of PyTorch's public names Fanal has, that is
how much of a program needs a change besides its imports.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers import cases


def carried(name: str, folder: Path) -> dict[str, Any]:
    """One case's weights from Fanal to PyTorch; how far the answers are apart."""
    import numpy as np
    import torch
    from safetensors.torch import load_file

    import fanal

    case, path = cases.load(name), folder / f"{name}.safetensors"
    ours, theirs = case.build(fanal).eval(), case.build(torch).eval()
    fanal.save(ours.state_dict(), str(path))
    theirs.load_state_dict(load_file(path))
    inputs, _ = case.data(1)
    with fanal.no_grad(), torch.no_grad():
        a = ours(*(fanal.from_numpy(x) for x in inputs)).numpy()
        b = theirs(*(torch.from_numpy(x) for x in inputs)).numpy()
    return {"difference": float(np.abs(a - b).max())}


def names() -> dict[str, list[int]]:
    """Of PyTorch's documented names in each namespace: how many Fanal has, of how many."""
    from tools import coverage

    recorded = json.loads(coverage.NAMES.read_text())
    found = {}
    for space in coverage.SPACES:
        wanted, here = recorded[space].split(), coverage.present(space)
        found[space] = [sum(name in here for name in wanted), len(wanted)]
    return found


def lacking() -> dict[str, bool]:
    """Doors that PyTorch has and that are looked for in Fanal."""
    import fanal

    def usable(name: str) -> bool:
        device = getattr(fanal, name, None)
        return bool(device and device.is_available())

    return {
        "fanal.compile": hasattr(fanal, "compile"),
        "export to ONNX": hasattr(fanal, "onnx"),
        "export of a program": hasattr(fanal, "export"),
    } | {"a GPU on this machine": usable("cuda")}


def main() -> None:
    """Prints what was found as JSON."""
    found: dict[str, Any] = {"cases": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:]:
            try:
                found["cases"][name] = carried(name, Path(folder))
            except Exception as error:
                found["cases"][name] = {"failed": f"{type(error).__name__}: {error}"[:200]}
    for key, function in (("names", names), ("has", lacking)):
        try:
            found[key] = function()
        except Exception as error:
            found[key] = {"failed": f"{type(error).__name__}: {error}"[:200]}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
