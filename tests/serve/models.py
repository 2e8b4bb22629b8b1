"""Small programs to serve, whose answers tell who gave them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fanal
from fanal import nn
from fanal.export import Dim, export, save


def write(path: Path, function: Callable[..., Any], *example: fanal.Tensor, dims: Any = None, **options: Any) -> Path:
    """Export a function to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    program = export(function, example, dynamic_shapes=dims, name=path.stem, output_names=["y"], **options)
    save(program, path)
    return path


def adding(path: Path, number: float) -> Path:
    """x [batch, 3] → x + number."""

    def add(x: fanal.Tensor) -> fanal.Tensor:
        return x + number

    return write(path, add, fanal.zeros(2, 3), dims={"x": {0: Dim("batch", max=1024)}})


def network(path: Path) -> Path:
    """x [batch, 1, 8, 8] → 10 numbers: convolution, normalisation, linear layers."""
    fanal.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(16 * 16, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 10), nn.Softmax(-1),
    ).eval()  # fmt: skip

    def predict(x: fanal.Tensor) -> fanal.Tensor:
        return model(x)

    return write(path, predict, fanal.rand(2, 1, 8, 8), dims={"x": {0: Dim("batch", max=256)}})


def slow(path: Path, turns: int) -> Path:
    """x [batch, 3] → x, after so many turns of a loop (about a microsecond each)."""

    def work(x: fanal.Tensor) -> fanal.Tensor:
        y, _ = fanal.while_loop(lambda y, i: i < turns, lambda y, i: (y * 1.0, i + 1), (x, fanal.zeros(1, dtype=fanal.int64)[0]))
        return y

    return write(path, work, fanal.zeros(2, 3), dims={"x": {0: Dim("batch", max=64)}})


def spinning(path: Path) -> Path:
    """turns [] → turns, after so many turns of a loop (some tens of nanoseconds each)."""

    def spin(turns: fanal.Tensor) -> fanal.Tensor:
        (i,) = fanal.while_loop(lambda i: i < turns, lambda i: (i + 1,), (turns * 0,))
        return i

    return write(path, spin, fanal.tensor(1))


def mixing(path: Path) -> Path:
    """x [batch, 3] → x less its mean over the batch: rows depend on one another."""

    def centre(x: fanal.Tensor) -> fanal.Tensor:
        return x - x.mean(0)

    return write(path, centre, fanal.zeros(2, 3), dims={"x": {0: Dim("batch", max=64)}})


def growing(path: Path) -> Path:
    """x [batch, length] → running sums: both dimensions are open."""

    def sums(x: fanal.Tensor) -> fanal.Tensor:
        return x.cumsum(1)

    return write(path, sums, fanal.zeros(2, 5), dims={"x": {0: Dim("batch", max=64), 1: Dim("length", max=512)}})


def rows(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, *shape), np.float32)
