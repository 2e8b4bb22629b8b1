"""Running the phases of a `ProgramBuilder` by themselves, for tests and benchmarks.

The planner proper reuses arenas and caches kernels on disk; here every temporary has its own place
and every kernel is compiled once a process.
"""

from __future__ import annotations

import time
from array import array
from dataclasses import dataclass

import numpy as np

from fanal.backends.native import elf, jit
from fanal.backends.native.program import Access, ProgramBuilder
from fanal.backends.native.runtime import FLAG_RELEASE_GIL, Runtime, compile_and_load, layout
from fanal.core.dtypes import from_numpy_dtype

_loaded: dict[str, int] = {}
compile_seconds: dict[str, tuple[float, int]] = {}
_runtime: list[Runtime] = []


def runtime() -> Runtime:
    """The one runtime of this process."""
    if not _runtime:
        _runtime.append(compile_and_load())
    return _runtime[0]


def access(buffer: int, x: np.ndarray) -> Access:
    """The access of a NumPy array, whatever its strides."""
    strides = tuple(s // x.itemsize for s in x.strides)
    return Access(buffer, from_numpy_dtype(x.dtype), x.shape, strides)


def kernel_address(p: ProgramBuilder, index: int) -> int:
    """Machine code of a phase's kernel, compiled when first asked for."""
    kernel = p.phases[index].kernel
    key = kernel.key + "|" + p.target.key
    if key not in _loaded:
        name = f"contract_kernel_{len(_loaded)}"
        start = time.perf_counter()
        ir = kernel.ir(p.target, name)
        middle = time.perf_counter()
        data = jit.compile_ir(ir, p.target)
        compile_seconds[kernel.key] = (time.perf_counter() - middle, len(ir))
        del start
        _loaded[key] = elf.load(data, (name,))[name]
    return _loaded[key]


@dataclass
class Runnable:
    """A program laid out in memory: `run(addresses)` launches it."""

    program: array[int]
    descriptors: list[array[int]]
    address: int

    def __call__(self, *addresses: int) -> int:
        return _runtime[0].launch(self.address, *addresses)


def runnable(p: ProgramBuilder) -> Runnable:
    """Compile a builder's kernels and lay its program out."""
    runtime()
    offsets, total = [], 0
    for temp in p.temps:
        offsets.append(total)
        total += (temp.nbytes + 127) // 64 * 64
    words = [layout.PROGRAM_MAGIC, p.arguments, len(p.temps), len(p.phases)]
    words += [FLAG_RELEASE_GIL, total, 0, 0, *offsets]
    descriptors = [array("q", [*phase.descriptor, 0]) for phase in p.phases]
    for i, (phase, descriptor) in enumerate(zip(p.phases, descriptors, strict=True)):
        words += (kernel_address(p, i), descriptor.buffer_info()[0], phase.tasks, 0)
    program = array("q", words)
    return Runnable(program, descriptors, program.buffer_info()[0])


def first_element(x: np.ndarray) -> int:
    """The address of x[0, 0, …]."""
    return x.__array_interface__["data"][0]
