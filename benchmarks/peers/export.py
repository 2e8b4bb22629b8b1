"""Writes a case as ONNX, from the PyTorch model with the weights of all: `python -m … CASE FOLDER`.

The way of export is part of the "best settings" of those who run the file: PyTorch's exporter on
`torch.export`, with constants folded; the older, tracing one for the LSTM, which keeps it as one
operation where the newer writes its 64 steps out.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

OPSET = 18
TRACED = ("lstm",)


def model_path(folder: Path, batch: int) -> Path:
    """Where the exported model lies."""
    return folder / f"batch{batch}.onnx"


def export(name: str, batch: int, folder: Path) -> None:
    """Write the model for one batch size."""
    import torch

    from benchmarks.peers import cases
    from benchmarks.peers.engines import pytorchlike
    from benchmarks.peers.engines.task import Task

    task = Task(cases.load(name), False, batch, 1, folder, folder)
    model = pytorchlike.module(torch, task)
    inputs = pytorchlike.batches(torch, task)[0][: len(task.data[0][0])]
    warnings.simplefilter("ignore")
    with torch.no_grad():
        torch.onnx.export(
            model, tuple(inputs), str(model_path(folder, batch)), opset_version=OPSET,
            dynamo=name not in TRACED, external_data=False, verbose=False,
        )  # fmt: skip


if __name__ == "__main__":
    for size in sys.argv[3:]:
        export(sys.argv[1], int(size), Path(sys.argv[2]))
