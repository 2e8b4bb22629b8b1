"""Records PyTorch's layers and functions into `tests/nn/golden`.

Run on demand, with PyTorch installed: `python -m tests.peers.record_nn`. The everyday tests only
read the files: outputs and gradients in float64 (one vector a case), with names, shapes, texts and
keys of state dicts as JSON.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.utils.prune
from safetensors.numpy import save_file

from tests.nn import cases
from tests.nn.runner import Library, run

FOLDER = Path(__file__).parent.parent / "nn" / "golden"


def from_array(array: np.ndarray, grad: bool) -> torch.Tensor:
    """A tensor of an array's own memory."""
    return torch.tensor(array).requires_grad_(grad)


def to_array(t: torch.Tensor) -> np.ndarray:
    """A copy of a tensor."""
    return t.detach().numpy().copy()


LIBRARY = Library(
    torch.nn, from_array, to_array, lambda t: isinstance(t, torch.Tensor), torch.nn.utils.rnn
)


def signature(function: Any) -> str | None:
    """Parameters with their defaults as text; None where Python does not know them."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    return ", ".join(
        p.name if p.default is p.empty else f"{p.name}={getattr(p.default, '__name__', p.default)}"
        for p in parameters
    )


def surface() -> dict[str, Any]:
    """The names and signatures of layers (constructor, forward) and functions."""
    layers, functions = {}, {}
    for name, value in vars(torch.nn).items():
        if isinstance(value, type) and name[0].isupper():
            layers[name] = [signature(value.__init__), signature(getattr(value, "forward", None))]
    for name, value in vars(torch.nn.functional).items():
        if name[0] != "_" and inspect.isroutine(value):  # not the names of typing imported there
            functions[name] = signature(value)
    return {"layers": layers, "functions": functions}


def main() -> None:
    """Run all cases and write the two files."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    vectors: dict[str, np.ndarray] = {}
    index: dict[str, Any] = {}
    for case in cases.ALL:
        found, info = run(case, LIBRARY, np.float64)
        parts = [a.reshape(-1).astype(np.float64) for a in found.values()]
        vectors[case.key] = np.concatenate(parts) if parts else np.zeros(0)
        index[case.key] = {"arrays": {k: list(a.shape) for k, a in found.items()}, **info}
    FOLDER.mkdir(exist_ok=True)
    save_file(vectors, FOLDER / "nn.safetensors")
    text = json.dumps(index, separators=(",", ":"), ensure_ascii=False)
    (FOLDER / "nn.json").write_text(text + "\n")
    (FOLDER / "surface.json").write_text(json.dumps(surface(), indent=0, sort_keys=True) + "\n")
    size = sum(f.stat().st_size for f in FOLDER.iterdir())
    print(f"{len(index)} cases, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
