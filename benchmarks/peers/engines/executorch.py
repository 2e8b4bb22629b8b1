"""ExecuTorch: the PyTorch model lowered to XNNPACK, run by the Python runtime."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from benchmarks.peers.engines import pytorchlike
from benchmarks.peers.engines.task import Runner, Task


def load(threads: int) -> str:
    """Import it."""
    from importlib.metadata import version

    import executorch.runtime  # noqa: F401
    import torch

    torch.set_num_threads(threads)
    return version("executorch")


def make(task: Task) -> Runner:
    """A runner; the conversion is part of making it."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.runtime import Runtime

    warnings.simplefilter("ignore")
    model = pytorchlike.module(torch, task).eval()
    inputs = list(pytorchlike.batches(torch, task)[0][: len(task.data[0][0])])
    with torch.no_grad():
        exported = torch.export.export(model, tuple(inputs))
        program = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
    path = model_path(task.folder)
    path.write_bytes(program.buffer)
    method = Runtime.get().load_program(str(path)).load_method("forward")
    found = [None]

    def run(steps: int) -> None:
        for _ in range(steps):
            found[0] = method.execute(inputs)[0]

    return Runner(run, lambda: np.array(found[0]))


def model_path(folder: Path) -> Path:
    """Where the converted model lies."""
    return folder / "model.pte"
