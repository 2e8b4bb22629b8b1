"""How fast the runtime is on this machine: `python -m fanal.backends.native.runtime.probe`.

Prints the price of a launch, of a barrier, of waking parked workers and of an allocation. The
kernels are a few lines of IR; `build_program` shows how a program is laid out in memory.
"""

from __future__ import annotations

import time
import timeit
from array import array
from collections.abc import Sequence
from statistics import median

from fanal.backends.native import elf
from fanal.backends.native.jit import compile_ir
from fanal.backends.native.runtime import layout
from fanal.backends.native.runtime.loader import Runtime, compile_and_load

KERNELS = """
define void @nothing(ptr %desc, ptr %bufs, i64 %task, ptr %status) {
  ret void
}
; about desc[0] cycles
define void @work(ptr %desc, ptr %bufs, i64 %task, ptr %status) {
entry:
  %n = load i64, ptr %desc
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %j, %loop ]
  %j = add i64 %i, 1
  call void asm sideeffect "", ""()
  %more = icmp slt i64 %j, %n
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""


def compile_kernels(ir: str, *names: str) -> dict[str, int]:
    """Addresses of the functions of a piece of IR, which is never unloaded."""
    return elf.load(compile_ir(ir), names, elf.process_symbol)


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


def best_ns(statement: str, count: int, **names: object) -> float:
    """The best mean time of a statement, in nanoseconds, over a few rounds."""
    timer = timeit.Timer(statement, globals=names)
    return min(timer.repeat(7, count)) / count * 1e9


def main() -> None:
    runtime = compile_and_load()
    kernels = compile_kernels(KERNELS, "nothing", "work")
    _launches(runtime, kernels["nothing"])
    _barriers(runtime, kernels["work"])
    _waking(runtime, kernels["nothing"])
    _allocations(runtime)


def _launches(runtime: Runtime, nothing: int) -> None:
    for flags, name in ((0, "GIL kept"), (layout.FLAG_RELEASE_GIL, "GIL released")):
        program = build_program(3, [(nothing, 0, 1)], flags)
        names = {"launch": runtime.launch, "p": address_of(program), "a": 1 << 46}
        cost = best_ns("launch(p, a, a, a)", 200_000, **names)
        print(f"launch, 3 addresses, one phase, {name:<12} {cost:8.0f} ns")


def _barriers(runtime: Runtime, work: int) -> None:
    """What a phase of one task a thread, of some 3 µs each, takes beyond one such task."""
    before = runtime.get_num_threads()
    desc = array("q", [5000])
    alone = build_program(0, [(work, address_of(desc), 1)] * 1000)
    task = best_ns("launch(p)", 20, launch=runtime.launch, p=address_of(alone)) / 1000
    for threads in sorted({2, max(2, before)}):
        runtime.set_num_threads(threads)
        program = build_program(0, [(work, address_of(desc), threads)] * 1000)
        phase = best_ns("launch(p)", 20, launch=runtime.launch, p=address_of(program)) / 1000
        print(f"barrier of {threads} busy threads {phase - task:28.0f} ns")
    runtime.set_num_threads(before)


def _waking(runtime: Runtime, nothing: int) -> None:
    program = build_program(0, [(nothing, 0, max(2, runtime.get_num_threads()))])
    p = address_of(program)
    times = []
    for _ in range(50):
        time.sleep(0.002)
        start = time.perf_counter_ns()
        runtime.launch(p)
        times.append(time.perf_counter_ns() - start)
    print(f"phase of empty tasks, workers parked {median(times):15.0f} ns")


def _allocations(runtime: Runtime) -> None:
    for nbytes in (64, 4096, 65536, 4 << 20):
        cost = best_ns("empty(n)", 200_000, empty=runtime.empty, n=nbytes)
        print(f"empty({nbytes}) and its end".ljust(44) + f"{cost:8.0f} ns")


if __name__ == "__main__":
    main()
