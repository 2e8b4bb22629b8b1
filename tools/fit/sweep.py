"""The largest float32 error over all 2^32 bit patterns: `python -m tools.fit.sweep [name …]`.

The reference is NumPy's (or SciPy's) float64. Takes one to five minutes a function on one core;
`--level x86-64` compiles for processors without a fused multiply-add, `--stride K` skips patterns.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import scipy.special

from fanal.backends.native.target import TARGETS, host_target
from fanal.backends.native.vecmath import FUNCTIONS, ULP
from fanal.backends.native.vecmath.loop import compile_loop


def _sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1.0) / (1.0 + e)


REFERENCE = {
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "erf": scipy.special.erf,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "cbrt": np.cbrt,
}
HOT = ["exp", "log", "tanh", "sigmoid", "erf", "sin", "cos", "exp2", "expm1", "log2", "log1p"]
CHUNK = 1 << 21


def ulps(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Errors in float32 ulps; an infinite result stands for 2^128."""
    exact = np.clip(exact, -(2.0**128), 2.0**128)
    wide = np.clip(got.astype(np.float64), -(2.0**128), 2.0**128)
    exponent = np.maximum(np.frexp(exact)[1] - 24, -149)
    errors = np.abs(wide - exact) * np.ldexp(1.0, -exponent)
    errors[np.isnan(got) & np.isnan(exact)] = 0.0
    return np.where(np.isnan(errors), np.inf, errors)


def sweep(name: str, level: str | None, stride: int) -> tuple[float, float, int]:
    """(largest error, where, results with the wrong sign)."""
    target = TARGETS[level] if level else host_target()
    kernel = compile_loop(FUNCTIONS[name], "float", target=target)
    worst, where, wrong = 0.0, 0.0, 0
    for start in range(0, 1 << 32, CHUNK * stride):
        stop = min(start + CHUNK * stride, 1 << 32)
        patterns = np.arange(start, stop, stride, dtype=np.uint64).astype(np.uint32)
        x = patterns.view(np.float32)
        with np.errstate(all="ignore"):
            exact = REFERENCE[name](x.astype(np.float64))
            got = kernel(x)
            errors = ulps(got, exact)
        wrong += int(((np.signbit(got) != np.signbit(exact)) & ~np.isnan(exact)).sum())
        at = int(np.argmax(errors))
        if errors[at] > worst:
            worst, where = float(errors[at]), float(x[at])
    return worst, where, wrong


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=HOT)
    parser.add_argument("--level")
    parser.add_argument("--stride", type=int, default=1)
    options = parser.parse_args()
    fused = (TARGETS[options.level] if options.level else host_target()).fma
    for name in options.names:
        start = time.time()
        worst, where, wrong = sweep(name, options.level, options.stride)
        bound = ULP[name]["float" if fused else "float_no_fma"]
        verdict = "ok" if worst <= bound and not wrong else "FAILED"
        print(
            f"{name:8} {worst:.4f} ulp at {where!r} (bound {bound}), {wrong} wrong signs, "
            f"{time.time() - start:.0f} s: {verdict}",
            flush=True,
        )


if __name__ == "__main__":
    main()
