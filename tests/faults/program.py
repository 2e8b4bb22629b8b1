"""Programs of their own process, with a cache folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

# Compiles a handful of kernels (or loads them) and prints numbers that don't depend on which.
WORK = """
import fanal
fanal.manual_seed(0)
x = fanal.randn(33, 17)
y = fanal.softmax(x @ x.t(), -1).tanh().sum(0)
print([v.hex() for v in y.tolist()][:3])
"""
COUNTS = """
from fanal.backends.native.kernels import statistics
print(statistics)
"""

# A training step, compiled: three losses.
TRAINING = """
import fanal, fanal.nn as nn, fanal.nn.functional as F
fanal.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.GELU(), nn.Flatten(), nn.Dropout(0.2),
                      nn.Linear(8 * 36, 5))
optimizer = fanal.optim.AdamW(model.parameters(), lr=1e-2)
x, y = fanal.randn(4, 3, 8, 8), fanal.randint(0, 5, (4,))
@fanal.compile
def step(x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss
print([step(x, y).item().hex() for _ in range(3)])
"""


def start(source: str, cache: Path | str, **environment: str) -> subprocess.Popen[str]:
    """A process that runs the text; `cache` is its folder of kernels ("": none)."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(source)],
        env={**os.environ, "FANAL_CACHE_DIR": str(cache), **environment},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(source: str, cache: Path | str, **environment: str) -> str:
    """What it prints; it must end well."""
    process = start(source, cache, **environment)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.strip()
