"""The end of the demo: the digits network leaves Python, as a file, as a native library, as WebAssembly.

Everything that is built is called, on the digits that were held out, and compared with what the network says here.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import shutil
import struct
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fanal
import fanal.edge
import fanal.nn as nn
from fanal.export import Dim, ExportedProgram, export, load, save

HERE = Path(__file__).parent
MOST = 256  # images of one call


class Way(NamedTuple):
    """A way in which the network answered: labels (of the first images), whether the logits are the same bits
    (None: not looked at), a remark."""

    name: str
    labels: list[int]
    same: bool | None
    remark: str


def leave(model: nn.Module, x: fanal.Tensor, y: fanal.Tensor, out: Path) -> bool:
    """Export, build, call; prints a line for each way. Returns whether all agreed."""
    model.eval()
    x = x[:MOST]
    with fanal.no_grad():
        logits = model(x)
    right = y[:MOST].tolist()
    accuracy = sum(a == b for a, b in zip(logits.argmax(1).tolist(), right, strict=True)) / len(right)
    program = export(
        model, (x[:8],), dynamic_shapes={"x": {0: Dim("batch", max=MOST)}}, name="digits", output_names=["logits"],
        labels={"logits": [str(i) for i in range(10)]},
        card={"license": "Apache-2.0", "author": "Fanal", "description": "handwritten digits, 8×8 pixels",
              "metrics": {"accuracy": round(accuracy, 4)}},
    )  # fmt: skip
    path = out / "digits.fanal"
    save(program, path)
    images, wanted = x.numpy(), logits.numpy()
    ways = [loaded(path, x, wanted), library(program, out / "library", images, wanted)]
    if shutil.which("cc"):
        ways.append(c_program(out / "library", images))
    ways.append(webassembly(program, out / "wasm", images, wanted))
    labels = wanted.argmax(1).tolist()
    agree = True
    for way in ways:
        good = way.labels == labels[: len(way.labels)] and way.same is not False
        agree &= good
        bits = {True: "the same bits", None: "the same digits", False: "OTHER BITS"}[way.same]
        print(f"{way.name + ':':13} {bits if good else 'OTHER ANSWERS'}, {way.remark}")
    return agree


def loaded(path: Path, x: fanal.Tensor, wanted: np.ndarray) -> Way:
    """The file, read again and run."""
    start = time.perf_counter()
    program = load(path)
    first = program(x[:1])
    took = time.perf_counter() - start
    found = program(x).numpy()
    assert first.shape == (1, 10)
    remark = f"{path.stat().st_size / 1e3:.0f} kB, first answer {took * 1e3:.0f} ms after it was opened"
    return Way("file", found.argmax(1).tolist(), np.array_equal(found, wanted), remark)


def library(program: ExportedProgram, folder: Path, images: np.ndarray, wanted: np.ndarray) -> Way:
    """A library for this machine, through the binding that was generated with it: ctypes and NumPy."""
    target = {"x86_64": "x86_64-linux", "aarch64": "aarch64-linux", "arm64": "aarch64-linux"}[platform.machine()]
    built = fanal.edge.build(program, folder, target)
    spec = importlib.util.spec_from_file_location("digits_library", folder / "bindings" / "python" / "digits.py")
    assert spec is not None and spec.loader is not None
    binding: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(binding)
    start = time.perf_counter()
    model = binding.Model()
    model.predict(images[:1])
    took = time.perf_counter() - start
    model.selftest()
    found = model.predict(images)["logits"]
    size = (folder / "libdigits.so").stat().st_size + (folder / "digits.weights").stat().st_size
    remark = f"{target}, {size / 1e3:.0f} kB with weights, {built.driver / 1e3:.1f} kB of code besides kernels, first answer after {took * 1e3:.1f} ms"
    return Way("library", found.argmax(1).tolist(), np.array_equal(found, wanted), remark)


def c_program(folder: Path, images: np.ndarray) -> Way:
    """The same library in a program of C."""
    (folder / "images").write_bytes(np.ascontiguousarray(images, np.float32).tobytes())
    command = ["cc", "-std=c11", "-O2", "-Wall", f"-I{folder}", str(HERE / "digits.c"), str(folder / "libdigits.a"), "-o", str(folder / "digits")]
    subprocess.run(command, check=True)
    found = subprocess.run([folder / "digits", folder / "digits.weights", folder / "images"], check=True, capture_output=True, text=True)
    size = (folder / "digits").stat().st_size
    return Way("C program", [int(line) for line in found.stdout.split()], None, f"examples/digits.c, {size / 1e3:.0f} kB")


def webassembly(program: ExportedProgram, folder: Path, images: np.ndarray, wanted: np.ndarray) -> Way:
    """A module for browsers, run here in wasmtime. Its arithmetic knows no fused multiply-add, so last bits differ."""
    fanal.edge.build(program, folder, "wasm32")
    found = Wasm(folder).predict(images[:64])
    worst = float(np.abs(found - wanted[:64]).max())
    size = (folder / "digits.wasm").stat().st_size + (folder / "digits.weights").stat().st_size
    remark = f"{len(found)} of them in wasmtime, {size / 1e3:.0f} kB with weights, logits differ by at most {worst:.1e}"
    return Way("WebAssembly", found.argmax(1).tolist(), None if worst < 1e-3 else False, remark)


class Wasm:
    """The module in wasmtime, with its memory laid out by hand: weights, sizes, records, arena."""

    def __init__(self, folder: Path):
        from wasmtime import Engine, Instance, Memory, Module, Store

        engine = Engine()
        self.store = Store(engine)
        module = Module.from_file(engine, str(folder / "digits.wasm"))
        (memory,) = module.imports
        self.memory = Memory(self.store, memory.type)
        self.exports = Instance(self.store, module, [self.memory]).exports(self.store)
        self.end = self.exports["__heap_base"].value(self.store)
        self.weights = self.put((folder / "digits.weights").read_bytes())
        manifest = json.loads((folder / "digits.json").read_text())
        assert [s["name"] for s in manifest["signatures"]] == ["predict"]

    def put(self, data: bytes | int) -> int:
        """Memory with these bytes, or of so many; returns its address."""
        size = data if isinstance(data, int) else len(data)
        at = -(-self.end // 64) * 64
        self.end = at + size
        missing = self.end - self.memory.data_len(self.store)
        if missing > 0:
            self.memory.grow(self.store, -(-missing // 65536))
        if not isinstance(data, int):
            self.memory.write(self.store, data, at)
        return at

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Logits of some images."""
        count = len(images)
        sizes = self.put(struct.pack("<q", count))
        bytes_ = self.exports["digits_arena_bytes"](self.store, sizes, 1)
        taken, result = self.put(images.tobytes()), self.put(count * 40)
        arguments = self.put(struct.pack("<qi", count, taken)), self.put(struct.pack("<i", result))
        status = self.exports["digits_predict"](self.store, *arguments, self.put(bytes_), bytes_, self.weights, 0)
        if status:
            raise RuntimeError(f"[digits] the call failed: status {status}")
        return np.frombuffer(self.memory.read(self.store, result, result + count * 40), np.float32).reshape(count, 10)
