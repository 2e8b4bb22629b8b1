"""One function as a loop over arrays: how tests, sweeps and benchmarks run the functions.

`compile_loop` writes `for i in range(0, n, lanes·unroll)`, loads the inputs, calls the function and
stores the result; the caller's arrays must have a multiple of lanes·unroll elements.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable

import numpy as np

from fanal.backends.native import elf, jit
from fanal.backends.native.emit import Builder, V, vector
from fanal.backends.native.emit.value import bits_of
from fanal.backends.native.target import Target, host_target

_numbers = itertools.count()
NUMPY = {
    "float": np.float32,
    "double": np.float64,
    "i8": np.int8,
    "i16": np.int16,
    "i32": np.int32,
    "i64": np.int64,
}


def loop_ir(
    function: Callable[..., V],
    type_: str,
    inputs: int,
    lanes: int,
    target: Target,
    name: str = "loop",
    unroll: int = 1,
) -> str:
    """The module's text: `void name(i64 n, ptr x0, …, ptr out)`."""
    arguments = [("i64", "n"), *(("ptr", f"x{k}") for k in range(inputs)), ("ptr", "out")]
    b = Builder(target, name, arguments)
    whole = vector(type_, lanes)
    with b.loop(0, b.arg("n"), lanes * unroll) as (i,):
        for part in range(unroll):
            at = i + part * lanes
            xs = [b.load(whole, b.at(b.arg(f"x{k}"), at, type_)) for k in range(inputs)]
            b.store(function(b, *xs), b.at(b.arg("out"), at, type_))
    b.ret()
    return b.finish()


def compile_loop(
    function: Callable[..., V],
    type_: str,
    inputs: int = 1,
    lanes: int | None = None,
    target: Target | None = None,
    unroll: int = 1,
) -> Callable[..., np.ndarray]:
    """The loop as a Python function of NumPy arrays; returns `out` (a new array by default)."""
    target = target or host_target()
    lanes = lanes or target.lanes(bits_of(type_))
    name = f"vecmath_loop{next(_numbers)}"
    data = jit.compile_ir(loop_ir(function, type_, inputs, lanes, target, name, unroll), target)
    address = elf.load(data, (name,))[name]
    call = ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * (inputs + 1))(address)
    dtype, step = np.dtype(NUMPY[type_]), lanes * unroll

    def run(*arrays: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        n = arrays[0].size
        if len(arrays) != inputs or any(
            a.dtype.itemsize != dtype.itemsize or a.size != n for a in arrays
        ):
            raise ValueError(f"expected {inputs} arrays of {dtype} of one size")
        padded = -n % step
        if padded:
            arrays = tuple(np.concatenate([a, np.ones(padded, a.dtype)]) for a in arrays)
            out = None
        if out is None:
            out = np.empty(n + padded, arrays[0].dtype)
        call(n + padded, *(a.ctypes.data for a in arrays), out.ctypes.data)
        return out[:n]

    return run
