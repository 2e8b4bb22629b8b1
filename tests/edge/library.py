"""Libraries built for tests, and how they are called: through the generated binding, ctypes and C."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fanal.edge
from fanal.edge.levels import machine_of, runs_here

HOST = "x86_64-linux"
HERE = runs_here(machine_of(HOST))
needs_host = pytest.mark.skipif(not HERE, reason="the processor is none of x86-64's")
needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


def built(program: Any, folder: Path, **options: Any) -> fanal.edge.Built:
    """A library, by default with this processor's best level alone."""
    options.setdefault("levels", [machine_of(HOST).levels[HERE[-1]].name])
    return fanal.edge.build(program, folder, **options)


def model_of(folder: Path, prefix: str, **options: Any) -> Any:
    """The generated binding's model."""
    path = folder / "bindings" / "python" / f"{prefix}.py"
    spec = importlib.util.spec_from_file_location(f"bound_{prefix}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Model(**options)


def aligned(size: int, data: bytes = b"") -> np.ndarray:
    """Memory at a multiple of 64 bytes."""
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    found = memory[start : start + size]
    found[: len(data)] = np.frombuffer(data, np.uint8)
    return found


TASK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t)
PARALLEL_FOR = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t, TASK, ctypes.c_void_p)


class How(ctypes.Structure):
    _fields_ = [("level", ctypes.c_int), ("parallel_for", PARALLEL_FOR), ("context", ctypes.c_void_p)]


class Called:
    """A library whose one signature is called with everything in the test's hands."""

    def __init__(self, folder: Path, prefix: str, signature: str):
        self.prefix = prefix
        self.library = ctypes.CDLL(str(folder / f"lib{prefix}.so"))
        self.function = getattr(self.library, f"{prefix}_{signature}")
        self.weights = None
        path = folder / f"{prefix}.weights"
        if path.exists():
            data = path.read_bytes()
            self.weights = aligned(len(data), data)
        bytes_ = getattr(self.library, f"{prefix}_arena_bytes")
        bytes_.restype = ctypes.c_size_t
        self.arena_bytes = bytes_(None, ctypes.c_size_t(0))

    def __call__(self, inputs, outputs, how=None, /, **other: Any) -> int:
        """The status of a call; `other` replaces arguments."""
        arena = aligned(self.arena_bytes)
        given = (ctypes.c_void_p * max(1, len(inputs)))(*[x.ctypes.data for x in inputs])
        results = (ctypes.c_void_p * max(1, len(outputs)))(*[y.ctypes.data for y in outputs])
        values = {
            "inputs": ctypes.cast(given, ctypes.c_void_p).value, "outputs": ctypes.cast(results, ctypes.c_void_p).value,
            "arena": arena.ctypes.data, "bytes": arena.size,
            "weights": None if self.weights is None else self.weights.ctypes.data, **other,
        }  # fmt: skip
        how = ctypes.byref(how) if how is not None else None
        return self.function(
            ctypes.c_void_p(values["inputs"]), ctypes.c_void_p(values["outputs"]), ctypes.c_void_p(values["arena"]),
            ctypes.c_size_t(values["bytes"]), ctypes.c_void_p(values["weights"]), how,
        )  # fmt: skip


def shared_by(threads: int):
    """A parallel_for over so many threads, and how often it was called."""
    pool, calls = ThreadPoolExecutor(threads), []

    def run(context, tasks, task, job):
        calls.append(tasks)
        list(pool.map(lambda i: task(job, i), range(tasks)))

    return PARALLEL_FOR(run), calls


def run_c(folder: Path, source: str, prefix: str, static: bool, *arguments: str) -> str:
    """Compile a C program against the header and the library, and run it."""
    (folder / "main.c").write_text(source)
    library = f"lib{prefix}.a" if static else f"lib{prefix}.so"
    command = ["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1", "main.c", library, "-o", "main"]
    made = subprocess.run([*command, "-pthread", f"-Wl,-rpath,{folder}"], cwd=folder, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    ran = subprocess.run([str(folder / "main"), *arguments], cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, (ran.returncode, ran.stdout, ran.stderr)
    return ran.stdout
