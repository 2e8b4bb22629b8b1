"""Each level of a library has the bits of eager mode on a processor of that level."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import fanal
import fanal.nn as nn
from fanal.edge.levels import machine_of
from fanal.export import Dim, export, save
from tests.edge.library import HERE, HOST, built, model_of, needs_host

pytestmark = needs_host
LEVELS = [machine_of(HOST).levels[i].name for i in HERE]
_EAGER = """
import sys, numpy, fanal
from fanal.export import load
program = load(sys.argv[1])
for n in (1, 5, 9):
    x = fanal.from_numpy(numpy.load(f"{sys.argv[2]}/x{n}.npy"))
    for name, y in program.run({"x": x}).items():
        numpy.save(f"{sys.argv[2]}/{name}-{n}.npy", y.numpy())
"""


class Mixed(nn.Module):
    """Contractions, packed and folded weights, and functions whose code depends on the processor."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 12, 3, padding=1)
        self.norm = nn.BatchNorm2d(12)
        self.out = nn.Linear(12 * 4 * 4, 10)

    def forward(self, x):
        y = self.norm(self.conv(x)).tanh().flatten(1)
        return {"logits": self.out(y).softmax(1), "other": (y.exp() + y.sin()).logsumexp(1), "half": y.to(fanal.float16)}


@pytest.mark.parametrize("level", LEVELS)
def test_bits_of_eager_mode_there(level, tmp_path):
    fanal.manual_seed(1)
    program = export(Mixed().eval(), (fanal.randn(3, 2, 4, 4),), name="mixed", dynamic_shapes={"x": {0: Dim("batch", max=9)}})
    save(program, tmp_path / "mixed.fanal")
    built(program, tmp_path, levels=LEVELS)
    model = model_of(tmp_path, "mixed", level=LEVELS.index(level))
    given = {n: fanal.randn(n, 2, 4, 4).numpy() for n in (1, 5, 9)}
    for n, x in given.items():
        np.save(tmp_path / f"x{n}.npy", x)
    environment = {**os.environ, "FANAL_TARGET": level}
    command = [sys.executable, "-c", _EAGER, str(tmp_path / "mixed.fanal"), str(tmp_path)]
    made = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    for n, x in given.items():
        for name, y in model.run("predict", {"x": x}).items():
            assert y.tobytes() == np.load(tmp_path / f"{name}-{n}.npy").tobytes(), (name, n)
