"""Programs on disk for the command's tests."""

from __future__ import annotations

from pathlib import Path

import fanal
import fanal.nn as nn
import fanal.nn.functional as F
from fanal.export import Dim, export, save

CARD = {"author": "A. Author", "licence": "CC-BY-4.0", "description": "A small one.", "metrics": {"accuracy": 0.9}}


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.out = nn.Linear(4 * 16, 3)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)
        return self.out(x.flatten(1))


def small(folder: Path, train: bool = False) -> Path:
    """A program with two functions, if `train`."""
    model = Small().eval()
    program = export(
        model, (fanal.zeros(2, 1, 8, 8),), dynamic_shapes={"x": {0: Dim("batch", max=32)}}, card=CARD,
        output_names=["logits"], labels={"logits": ["a", "b", "c"]},
    )  # fmt: skip
    if train:
        optimizer = fanal.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        def step(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        step(fanal.zeros(4, 1, 8, 8), fanal.zeros(4, dtype=fanal.int64))
        program.add("train", step, (fanal.zeros(4, 1, 8, 8), fanal.zeros(4, dtype=fanal.int64)))
    path = folder / "small.fanal"
    save(program, path)
    return path


def recurrent(folder: Path) -> Path:
    """A program with a loop."""
    path = folder / "lstm.fanal"
    model = nn.LSTM(4, 8, batch_first=True).eval()
    save(export(model, (fanal.zeros(2, 5, 4),), dynamic_shapes=({0: Dim("batch", max=8), 1: Dim("time", max=64)},)), path)
    return path


def deep(folder: Path, layers: int) -> Path:
    """A program of many operations."""
    path = folder / "deep.fanal"
    stack = [nn.TransformerEncoderLayer(16, 2, 32, batch_first=True) for _ in range(layers)]
    model = nn.Sequential(nn.Linear(8, 16), *stack).eval()
    save(export(model, (fanal.zeros(2, 5, 8),)), path)
    return path
