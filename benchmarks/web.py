"""WebAssembly in Node beside native code of x86-64's baseline, one thread: `python -m benchmarks.web`.

Both are libraries that `fanal.edge.build` wrote, called through their bindings' inner functions as an application
would: the C function through ctypes (with all pointers ready), the module's `run` in Node (which copies inputs in
and results out). Least of rounds that take turns.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import fanal
import fanal.edge
from fanal import nn
from fanal.export import export
from fanal.nn import functional as F

ROUNDS = 12
_NODE = """
const { load } = await import(process.argv[1]);
const model = await load();
let given = null;
const { createInterface } = await import("node:readline");
for await (const line of createInterface({ input: process.stdin })) {
  if (given === null) {
    given = Object.fromEntries(Object.entries(JSON.parse(line)).map(([k, v]) => [k, Float32Array.from(v)]));
    continue;
  }
  const calls = Number(line);
  const began = performance.now();
  for (let i = 0; i < calls; i++) model.run("predict", given);
  console.log((performance.now() - began) / calls);
}
"""


def cases() -> dict[str, tuple[Any, tuple[Any, ...], int]]:
    """Models, their inputs, and calls of one round."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
    from digits import Digits

    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)

        def forward(self, x: Any) -> Any:
            return self.layer(x)

    fanal.manual_seed(0)
    digits = Digits().eval()
    return {
        "digits, 1 image": (digits, (fanal.rand(1, 1, 8, 8),), 300),
        "digits, 32 images": (digits, (fanal.rand(32, 1, 8, 8),), 10),
        "linear 256×256×256": (nn.Linear(256, 256), (fanal.randn(256, 256),), 20),
        "convolution 3×3, 64 channels, 16×16": (nn.Conv2d(64, 64, 3, padding=1), (fanal.randn(1, 64, 16, 16),), 40),
        "depthwise 3×3, 64 channels, 16×16": (nn.Conv2d(64, 64, 3, padding=1, groups=64), (fanal.randn(1, 64, 16, 16),), 300),
        "softmax 64×256": (_Softmax(), (fanal.randn(64, 256),), 300),
        "transformer layer, 32×64": (Attending().eval(), (fanal.randn(1, 32, 64),), 30),
    }  # fmt: skip


class _Softmax(nn.Module):
    def forward(self, x: Any) -> Any:
        return F.softmax(x, -1)


def native(folder: Path, level: str, function: Any, args: tuple[Any, ...]) -> Any:
    """A function that makes some calls and returns the seconds of one."""
    program = export(function, args, name="model")
    fanal.edge.build(program, folder, "x86_64-linux", levels=[level])
    spec = importlib.util.spec_from_file_location("bound", folder / "bindings" / "python" / "model.py")
    assert spec is not None and spec.loader is not None
    binding = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(binding)
    model = binding.Model(level=["x86-64", "x86-64-v3", "x86-64-v4"].index(level))
    arrays = [np.ascontiguousarray(x.numpy()) for x in args]
    (output,) = [np.empty(t.shape, np.float32) for t in program.signatures["predict"].outputs]
    size = model._library.model_arena_bytes(None, ctypes.c_size_t(0))
    arena = binding._aligned(size)
    given = (ctypes.c_void_p * len(arrays))(*[x.ctypes.data for x in arrays])
    results = (ctypes.c_void_p * 1)(output.ctypes.data)
    how = binding._How(model.level)
    call = model._library.model_predict
    pointers = (
        ctypes.byref(given), ctypes.byref(results), ctypes.c_void_p(arena.ctypes.data), ctypes.c_size_t(size),
        ctypes.c_void_p(model.weights_address), ctypes.byref(how),
    )  # fmt: skip

    alive = (arrays, output, arena, model)  # what the pointers lead to

    def calls(count: int) -> float:
        assert alive
        began = time.perf_counter()
        for _ in range(count):
            call(*pointers)
        return (time.perf_counter() - began) / count

    assert call(*pointers) == 0
    np.testing.assert_allclose(output, function(*args).detach().numpy(), rtol=1e-4, atol=1e-4)
    return calls


def in_node(folder: Path, function: Any, args: tuple[Any, ...]) -> tuple[subprocess.Popen[str], Any]:
    """The same in Node: the process, and the function."""
    program = export(function, args, name="model")
    fanal.edge.build(program, folder, "wasm32")
    names = [t.name for t in program.signatures["predict"].inputs]
    inputs = json.dumps({n: x.numpy().ravel().tolist() for n, x in zip(names, args, strict=True)})
    process = subprocess.Popen(
        ["node", "--input-type=module", "-e", _NODE, (folder / "model.mjs").as_uri()],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    assert process.stdin is not None
    process.stdin.write(f"{inputs}\n")

    def calls(count: int) -> float:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{count}\n")
        process.stdin.flush()
        return float(process.stdout.readline()) / 1e3

    return process, calls


def main() -> None:
    print(f"{'':38} {'WebAssembly':>12} {'baseline':>12} {'ratio':>6} {'of the best level':>18}")
    for name, (function, args, count) in cases().items():
        with tempfile.TemporaryDirectory() as folder:
            best = fanal.backends.native.target.host_target().name
            here = [native(Path(folder, level), level, function, args) for level in ("x86-64", best)]
            process, there = in_node(Path(folder, "wasm"), function, args)
            times = [[f(count) for f in (there, *here)] for _ in range(ROUNDS)]
            process.kill()
            wasm, plain, full = (min(column) for column in zip(*times, strict=True))
            print(f"{name:38} {wasm * 1e6:9.1f} µs {plain * 1e6:9.1f} µs {plain / wasm:6.2f} {full / wasm:18.2f}", flush=True)


if __name__ == "__main__":
    main()
