"""Arrays between PyTorch's channels-first and the functional libraries' channels-last."""

from __future__ import annotations

import numpy as np

from benchmarks.peers.cases.case import Arrays
from benchmarks.peers.engines.task import Task


def last(task: Task) -> list[tuple[Arrays, Arrays]]:
    """Batches as a functional library wants them: channels last, 32-bit integers."""
    found = []
    for inputs, targets in task.data:
        if task.case.images:
            inputs = tuple(np.moveaxis(x, 1, -1) for x in inputs)
            targets = tuple(np.moveaxis(y, 1, -1) if y.ndim > 2 else y for y in targets)
        found.append((_plain(inputs), _plain(targets)))
    return found


def first(task: Task, output: np.ndarray) -> np.ndarray:
    """An output as PyTorch has it."""
    return np.moveaxis(output, -1, 1) if task.case.images and output.ndim > 2 else output


def _plain(arrays: Arrays) -> Arrays:
    small = (a.astype(np.int32) if a.dtype == np.int64 else a for a in arrays)
    return tuple(np.ascontiguousarray(a) for a in small)
