"""Wrote the files of `v1`: `python -m tests.golden.make v1`. What stands there once is never written again.

Each program has a file of inputs and of what it answered then (`NAME.safetensors`): entries
`STEP.in.INPUT` and `STEP.out.OUTPUT`, in the order of calls.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fanal
import fanal.nn as nn
import fanal.nn.functional as F
from fanal.export import Dim, ExportedProgram, export, save

HERE = Path(__file__).parent
N = Dim("n", max=64)


class Picture(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.out = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(4, 3)

    def forward(self, x):
        return self.out(F.max_pool2d(F.gelu(self.norm(self.conv(x))), 2).mean((2, 3))).softmax(-1)


class Sequence(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.lstm, self.out = nn.Embedding(9, 4), nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, ids):
        y, (h, c) = self.lstm(self.words(ids))
        return {"y": self.out(y), "state": (h, c)}


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.attend = nn.LayerNorm(8), nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        y = self.norm(x)
        return x + self.attend(y, y, y, need_weights=False)[0]


def picture() -> tuple[ExportedProgram, list[dict[str, Any]]]:
    x = fanal.randn(3, 1, 6, 6)
    program = export(
        Picture().eval(), (x,), dynamic_shapes=({0: N},), labels={"output": ["a", "b", "c"]},
        card={"license": "Apache-2.0", "author": "Fanal"},
    )  # fmt: skip
    return program, [{"x": x}, {"x": fanal.randn(1, 1, 6, 6)}]


def sequence() -> tuple[ExportedProgram, list[dict[str, Any]]]:
    ids = fanal.randint(0, 9, (2, 6))
    program = export(Sequence(), (ids,), dynamic_shapes=({0: N, 1: Dim("time", min=1, max=20)},))
    return program, [{"ids": ids}, {"ids": fanal.randint(0, 9, (1, 3))}]


def attention() -> tuple[ExportedProgram, list[dict[str, Any]]]:
    x = fanal.randn(2, 5, 8)
    return export(Attention().eval(), (x,), dynamic_shapes=({0: N, 1: 2 * Dim("half") + 1},)), [{"x": x}]


def control() -> tuple[ExportedProgram, list[dict[str, Any]]]:
    def function(x):
        y = fanal.cond(x.sum() > 0, lambda x: x * 2, lambda x: x - 1, (x,))
        n, z = fanal.while_loop(lambda n, v: v.abs().sum() < 50, lambda n, v: (n + 1, v * 2 + 1), (fanal.tensor(0), y))
        return n, z, fanal.scan(lambda c, v: (c * 0.5 + v, c), fanal.zeros(3), z)[0], z.sort(0)[1], x.shape[0] / 2

    x = fanal.randn(4, 3)
    return export(lambda x: function(x)[:4], (x,), dynamic_shapes=({0: N},)), [{"x": x}, {"x": -x}, {"x": x[:1]}]


def training() -> tuple[ExportedProgram, list[dict[str, Any]]]:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.25), nn.Linear(8, 3))
    optimizer = fanal.optim.AdamW(model.parameters(), lr=1e-2)

    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    calls = [{"x": fanal.randn(6, 4), "y": fanal.randint(0, 3, (6,))} for _ in range(3)]
    return export(step, tuple(calls[0].values()), dynamic_shapes={"x": {0: N}, "y": {0: N}}, signature="train"), calls


def dtypes() -> tuple[ExportedProgram, list[dict[str, Any]]]:
    def function(a, b, c):
        return a // 3, b.to(fanal.int16) << 2, (c.to(fanal.bfloat16) * 3).float(), c.half() + 1, a.to(fanal.uint8), b

    calls = [{"a": fanal.tensor([-7, 2**40, 5]), "b": fanal.tensor([True, False, True]), "c": fanal.tensor([1.1, -2.5, float("inf")])}]
    return export(function, tuple(calls[0].values())), calls


PROGRAMS: dict[str, Callable[[], tuple[ExportedProgram, list[dict[str, Any]]]]] = {
    f.__name__: f for f in (picture, sequence, attention, control, training, dtypes)
}


def main(version: str) -> None:
    folder = HERE / version
    folder.mkdir()
    for name, make in PROGRAMS.items():
        fanal.manual_seed(0)
        program, calls = make()
        save(program, folder / f"{name}.fanal")
        found = {}
        for i, given in enumerate(calls):
            found.update({f"{i}.in.{k}": v for k, v in given.items()})
            found.update({f"{i}.out.{k}": v for k, v in program.run(given, next(iter(program.signatures))).items()})
        fanal.save(found, folder / f"{name}.safetensors")


if __name__ == "__main__":
    main(sys.argv[1])
