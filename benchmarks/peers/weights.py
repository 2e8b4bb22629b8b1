"""The weights that all frameworks start from: numbers from NumPy under the names of the module.

`make` draws them for a case's module; `load` reads them; `laid_out` gives them in the layout that a
functional library takes (matrices as (in, out), convolutions as (height, width, in, out)).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Weights:
    """Arrays by name, what each is for, and which of them the optimiser does not touch."""

    arrays: dict[str, np.ndarray]
    kinds: dict[str, str]  # linear, conv, depthwise, transposed, plain
    buffers: frozenset[str]

    def trainable(self) -> list[str]:
        """Names of parameters, in order."""
        return [name for name in self.arrays if name not in self.buffers]


def make(module: Any, path: Path) -> None:
    """Draw weights for a module of a library with PyTorch's names, and write them."""
    rng = np.random.default_rng(0)
    names = {name for name, _ in module.named_parameters()}
    arrays, kinds = {}, {}
    for name, value in module.state_dict().items():
        owner = module
        for part in name.split(".")[:-1]:
            owner = getattr(owner, part)
        arrays[name] = _draw(rng, name, tuple(value.shape))
        kinds[name] = _kind(owner, name.rsplit(".", 1)[-1])
    facts = {"kinds": kinds, "buffers": sorted(set(arrays) - names)}
    np.savez(path, __facts__=np.array(json.dumps(facts)), **arrays)


def load(path: Path) -> Weights:
    """Read what `make` wrote."""
    with np.load(path) as file:
        facts = json.loads(str(file["__facts__"]))
        arrays = {name: file[name] for name in file.files if name != "__facts__"}
    return Weights(arrays, facts["kinds"], frozenset(facts["buffers"]))


def laid_out(weights: Weights, axes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Arrays with the axes of each kind permuted; counts of batches, which only PyTorch has,
    dropped."""
    found = {}
    for name, array in weights.arrays.items():
        if name.endswith("num_batches_tracked"):
            continue
        kind = weights.kinds[name]
        if kind in ("conv", "depthwise") and array.ndim == 3:
            kind += "1d"
        found[name] = np.ascontiguousarray(array.transpose(axes[kind]) if kind in axes else array)
    return found


def _draw(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of a sensible size: nothing is exactly 0 or 1, so that a mix-up shows in the loss."""
    last = name.rsplit(".", 1)[-1]
    if last == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if last == "running_var" or (last == "weight" and len(shape) == 1):
        return (1 + 0.1 * rng.random(shape)).astype(np.float32)
    if len(shape) <= 1:
        return (0.05 * rng.standard_normal(shape)).astype(np.float32)
    return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def _kind(owner: Any, last: str) -> str:
    name = type(owner).__name__
    if (name == "Linear" and last == "weight") or (name == "LSTM" and last.startswith("weight")):
        return "linear"
    if name == "ConvTranspose2d" and last == "weight":
        return "transposed"
    if name in ("Conv1d", "Conv2d") and last == "weight":
        return "depthwise" if owner.groups > 1 else "conv"
    return "plain"
