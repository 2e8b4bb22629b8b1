"""How fast the runtime is on this machine: `python -m fanal.backends.native.runtime.probe`.

Prints the price of a launch, of a barrier, of waking parked workers and of an allocation. The
kernels are a few lines of IR; `build_program` shows how a program is laid out in memory.
"""

from __future__ import annotations

import ctypes
import time
from array import array
from collections.abc import Callable, Sequence
from statistics import median

import llvmlite.binding as llvm

from fanal.backends.native.runtime import layout
from fanal.backends.native.runtime.loader import Runtime, compile_and_load

KERNELS = """
define void @nothing(ptr %desc, ptr %bufs, i64 %task, ptr %status) {
  ret void
}
define void @count(ptr %desc, ptr %bufs, i64 %task, ptr %status) {
  %base = load ptr, ptr %bufs
  %at = getelementptr i64, ptr %base, i64 %task
  %old = atomicrmw add ptr %at, i64 1 monotonic
  ret void
}
"""


def compile_kernels(ir: str, *names: str) -> dict[str, int]:
    """Addresses of the functions of a piece of IR, which is never unloaded."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    library = llvm.JITLibraryBuilder().add_ir(ir)
    for name in names:
        library.export_symbol(name)
    jit = llvm.create_lljit_compiler()
    tracker = library.link(jit, "probe")
    for immortal in (jit, tracker):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(immortal))
    return {name: tracker[name] for name in names}


def build_program(
    n_args: int,
    phases: Sequence[tuple[int, int, int]],
    flags: int = 0,
    temps: Sequence[int] = (),
    arena_bytes: int = 0,
) -> array[int]:
    """A program: `phases` are (kernel, descriptor, tasks), `temps` are offsets in the arena."""
    header = [layout.PROGRAM_MAGIC, n_args, len(temps), len(phases), flags, arena_bytes, 0, 0]
    words = [*header, *temps]
    for kernel, desc, tasks in phases:
        words += (kernel, desc, tasks, 0)
    return array("q", words)


def address_of(words: array[int]) -> int:
    """Where an array lies, which must stay alive and keep its length."""
    return words.buffer_info()[0]


def best_ns(call: Callable[[], object], count: int, rounds: int = 7) -> float:
    """The best mean time of one call, in nanoseconds, over a few rounds."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter_ns()
        for _ in range(count):
            call()
        best = min(best, (time.perf_counter_ns() - start) / count)
    return best


def main() -> None:
    runtime = compile_and_load()
    kernels = compile_kernels(KERNELS, "nothing", "count")
    loop = best_ns(lambda: None, 200_000)
    _launches(runtime, kernels["nothing"], loop)
    _barriers(runtime, kernels["nothing"])
    _allocations(runtime, loop)


def _launches(runtime: Runtime, nothing: int, loop: float) -> None:
    launch, a = runtime.launch, 1 << 46
    for flags, name in ((0, "GIL kept"), (layout.FLAG_RELEASE_GIL, "GIL released")):
        program = build_program(3, [(nothing, 0, 1)], flags)
        p = address_of(program)
        cost = best_ns(lambda p=p: launch(p, a, a, a), 200_000) - loop
        print(f"launch, 3 addresses, one phase, {name:<14} {cost:8.0f} ns")


def _barriers(runtime: Runtime, nothing: int) -> None:
    before = runtime.get_num_threads()
    for threads in sorted({1, 2, before}):
        runtime.set_num_threads(threads)
        program = build_program(0, [(nothing, 0, threads)] * 1000)
        p = address_of(program)
        cost = best_ns(lambda p=p: runtime.launch(p), 30) / 1000
        print(f"phase of {threads} empty tasks, {threads} threads, hot     {cost:8.0f} ns")
    program = build_program(0, [(nothing, 0, max(2, before))])
    p = address_of(program)
    times = []
    for _ in range(50):
        time.sleep(0.002)
        start = time.perf_counter_ns()
        runtime.launch(p)
        times.append(time.perf_counter_ns() - start)
    print(f"the same, workers parked                    {median(times):8.0f} ns")
    runtime.set_num_threads(before)


def _allocations(runtime: Runtime, loop: float) -> None:
    empty = runtime.empty
    for nbytes in (64, 4096, 65536, 4 << 20):
        cost = best_ns(lambda n=nbytes: empty(n), 200_000) - loop
        print(f"empty({nbytes}) and its end {cost:28.0f} ns")


if __name__ == "__main__":
    main()
