"""Fanal's native library: built ahead of time, called through ctypes with everything prepared."""

from __future__ import annotations

import ctypes
import json
import mmap
from pathlib import Path

import numpy as np

from benchmarks.peers.engines import pytorchlike
from benchmarks.peers.engines.task import Runner, Task


def load(threads: int) -> str:
    """Import it (what builds the library; what runs it needs nothing of it)."""
    import fanal

    return fanal.__version__


def make(task: Task) -> Runner:
    """A runner of the library that is built here."""
    import fanal
    from fanal.edge import build
    from fanal.export import export

    model = pytorchlike.module(fanal, task).eval()
    inputs = pytorchlike.batches(fanal, task)[0][: len(task.data[0][0])]
    program = export(model, tuple(inputs), name="model")
    folder = task.folder / ("folded" if task.options else "library")
    built = build(program, folder, **task.options)
    shipped(folder, built.prefix)
    return runner(task, folder, built.prefix)


def shipped(folder: Path, prefix: str) -> int:
    """Bytes of what has to go to a user: the library and its weights."""
    return sum((folder / f).stat().st_size for f in (f"lib{prefix}.so", f"{prefix}.weights"))


def runner(task: Task, folder: Path, prefix: str) -> Runner:
    """Calls of `predict` on one thread, at the best level."""
    library = ctypes.CDLL(str(folder / f"lib{prefix}.so"))
    size = library[f"{prefix}_arena_bytes"]
    size.restype = ctypes.c_size_t
    bytes_ = size(None, ctypes.c_size_t(0))
    arena = aligned(bytes_)
    with open(folder / f"{prefix}.weights", "rb") as file:
        weights = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    taken = (ctypes.c_void_p * len(task.data[0][0]))(*(x.ctypes.data for x in task.data[0][0]))
    output = np.empty(outputs(folder, prefix), np.float32)
    given = (ctypes.c_void_p * 1)(output.ctypes.data)
    how = (ctypes.c_int64 * 3)(library[f"{prefix}_cpu_level"](), 0, 0)
    call = library[f"{prefix}_predict"]
    arguments = (
        ctypes.byref(taken), ctypes.byref(given), ctypes.c_void_p(arena.ctypes.data), ctypes.c_size_t(bytes_),
        ctypes.c_void_p(weights.ctypes.data), ctypes.byref(how),
    )  # fmt: skip

    def run(steps: int) -> None:
        for _ in range(steps):
            if call(*arguments):
                raise RuntimeError("[library] the call failed")

    made = Runner(run, lambda: output)
    made.held = (arena, weights, taken, given, how)  # type: ignore[attr-defined]
    return made


def aligned(size: int) -> np.ndarray:
    """Memory at a multiple of 64."""
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]


def outputs(folder: Path, prefix: str) -> tuple[int, ...]:
    """The shape of the only output."""
    manifest = json.loads((folder / f"{prefix}.json").read_text())
    (signature,) = manifest["signatures"]
    (output,) = signature["outputs"]
    return tuple(output["shape"])
