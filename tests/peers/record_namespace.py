"""Records PyTorch's results for the sample calls into `tests/namespace/golden`.

Run on demand, with PyTorch installed: `python -m tests.peers.record_namespace`. Written are all
outputs and gradients (one float64 vector for all), and an index with names, dtypes and shapes, the
highest order of derivative that PyTorch gives, the answers as text, and the types of errors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from tests.namespace import cases
from tests.namespace.cases import mistakes
from tests.namespace.runner import Library, run

FOLDER = Path(__file__).parent.parent / "namespace" / "golden"
LIBRARY = Library(torch, torch.tensor, lambda t: t.detach().numpy().copy())


def record(text: str) -> tuple[int, dict[str, np.ndarray], list[Any]]:
    """The highest order of derivative that PyTorch gives, arrays and answers."""
    for order in (2, 1, 0):
        try:
            return (order, *run(text, LIBRARY, np.float64, order))
        except Exception as error:
            last = error
    raise RuntimeError(f"PyTorch refuses {text!r}") from last


def main() -> None:
    """Run all sample calls and write the files."""
    torch.set_num_threads(1)
    index: dict[str, Any] = {}
    values: list[np.ndarray] = []
    for text in cases.ALL:
        order, found, answers = record(text)
        values += [a.reshape(-1).astype(np.float64) for a in found.values()]
        arrays = {k: [str(a.dtype), *a.shape] for k, a in found.items()}
        index[text] = {"order": order, "arrays": arrays}
        if answers:
            index[text]["answers"] = repr(answers).replace("torch", "fanal")
    errors = {}
    for text in mistakes.ALL:
        try:
            run(text, LIBRARY, np.float64, 1)
        except Exception as error:
            errors[text] = type(error).__name__
        else:
            raise RuntimeError(f"PyTorch accepts {text!r}")
    FOLDER.mkdir(exist_ok=True)
    save_file({"values": np.concatenate(values)}, FOLDER / "namespace.safetensors")
    for name, data in (("namespace", index), ("mistakes", errors)):
        lines = ",\n".join(
            f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in data.items()
        )
        (FOLDER / f"{name}.json").write_text("{\n" + lines + "\n}\n")
    size = sum(f.stat().st_size for f in FOLDER.iterdir())
    print(f"{len(index)} calls, {len(errors)} mistakes, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
