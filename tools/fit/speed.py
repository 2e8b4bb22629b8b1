"""Throughput beside PyTorch's, in one process, interleaved: `python -m tools.fit.speed [name …]`.

Options: `--double`, `--size N` (elements), `--unroll K`. One thread, best of several rounds.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from fanal.backends.native.vecmath import FUNCTIONS
from fanal.backends.native.vecmath.loop import compile_loop

HOT = [
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "tanh",
    "sigmoid",
    "erf",
    "sin",
    "cos",
    "rsqrt",
    "sqrt",
    "pow",
]
TORCH = {"pow": torch.pow, "round": torch.round, "ndtri": torch.special.ndtri}


def _torch_function(name: str):  # type: ignore[no-untyped-def]
    for place in (torch, torch.special):
        for alias in (name, {"gammainc": "igamma", "gammaincc": "igammac"}.get(name, name)):
            if hasattr(place, alias):
                return getattr(place, alias)
    return None


def _arguments(name: str, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    x = rng.uniform(-4, 4, size)
    if name.startswith(("log", "sqrt", "rsqrt", "pow", "lgamma", "digamma", "trigamma")):
        x = np.abs(x) + 1e-3
    if name in ("asin", "acos", "atanh", "erfinv"):
        x = x / 4.001
    if name == "acosh":
        x = np.abs(x) + 1
    if name == "ndtri":
        x = np.abs(x) / 4.001
    if name in ("bessel_y0", "bessel_y1"):
        x = np.abs(x) * 4
    if name == "zeta":
        return [np.abs(x) + 1.1, rng.uniform(0.5, 4, size)]
    if name in ("gammainc", "gammaincc"):
        return [np.abs(x) + 0.1, rng.uniform(0, 5, size)]
    two = [
        "pow",
        "atan2",
        "fmod",
        "remainder",
        "hypot",
        "copysign",
        "nextafter",
        "logaddexp",
        "xlogy",
        "xlog1py",
        "ldexp",
    ]
    return [x, rng.uniform(0.1, 4, size)] if name in two else [x]


def measure(name: str, size: int, unroll: int, double: bool) -> tuple[float, float, float]:
    """(ours, torch's) nanoseconds an element, and milliseconds to compile."""
    rng = np.random.default_rng(0)
    dtype = np.float64 if double else np.float32
    arrays = [a.astype(dtype) for a in _arguments(name, size, rng)]
    start = time.perf_counter()
    ours = compile_loop(
        FUNCTIONS[name], "double" if double else "float", len(arrays), unroll=unroll
    )
    compiled = time.perf_counter() - start
    tensors, out = [torch.from_numpy(a) for a in arrays], np.empty_like(arrays[0])
    target, theirs = torch.empty_like(tensors[0]), _torch_function(name)
    repeats = max(1, (1 << 20) // size)
    best = [float("inf")] * 2
    for _ in range(15):
        start = time.perf_counter()
        for _ in range(repeats):
            ours(*arrays, out=out)
        best[0] = min(best[0], time.perf_counter() - start)
        if theirs is None:
            continue
        start = time.perf_counter()
        for _ in range(repeats):
            theirs(*tensors, out=target)
        best[1] = min(best[1], time.perf_counter() - start)
    scale = 1e9 / size / repeats
    return best[0] * scale, best[1] * scale, compiled * 1e3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--double", action="store_true")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--size", type=int, default=1 << 20)
    parser.add_argument("--unroll", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("function        ours   torch  ratio  compile ms   (ns an element)")
    names = options.names or (list(FUNCTIONS) if options.all else HOT)
    for name in names:
        a, t, c = measure(name, options.size, options.unroll, options.double)
        print(f"{name:14} {a:6.2f}  {t:6.2f}  {t / a:5.2f}  {c:8.1f}", flush=True)


if __name__ == "__main__":
    main()
