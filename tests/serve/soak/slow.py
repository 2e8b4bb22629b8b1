"""A model that takes as long as a test wants, on whatever machine."""

from __future__ import annotations

import time
from pathlib import Path

import fanal
from fanal.export import load
from tests.serve import models

_TURNS = 200_000


def slow(path: Path, seconds: float) -> None:
    """x [batch, 3] → x, after about so long. Measured while nothing else is asked of the machine, so it may take longer."""
    program = load(models.slow(path, _TURNS))
    x = fanal.zeros(1, 3)
    program(x)
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        program(x)
        taken.append(time.perf_counter() - start)
    models.slow(path, max(1, int(_TURNS * seconds / min(taken))))
