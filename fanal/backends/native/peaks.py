"""What this machine can do at best: operations and bytes a second, to compare programs with.

Measured once a process for a number of threads (some tenths of a second); the best that was ever seen is
kept on disk beside the kernels, since a measurement on a machine that others use tells too little.
"""

from __future__ import annotations

import functools
import hashlib
import json
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fanal.backends.native import diskcache
from fanal.backends.native.emit.value import vector
from fanal.backends.native.executable import (
    Executable,
    compile_graph,
    launch,
    program_of,
    runtime,
)
from fanal.backends.native.loops.expression import Load
from fanal.backends.native.program import Access, Descriptor, Kernel, ProgramBuilder
from fanal.backends.native.target import host_target
from fanal.core import dtypes
from fanal.graph.ir import Builder
from fanal.ops.arithmetic import add_p

if TYPE_CHECKING:
    from fanal.backends.native.emit import Builder as Emitter

_CHAINS = 12  # independent sums: enough to hide the latency of two units
_STEPS = 20_000
_PATIENCE, _LIMIT = 0.08, 0.5  # seconds of measuring
_ELEMENTS = 1 << 23  # of each of three arrays: more than caches hold


class Peaks(NamedTuple):
    """Of `threads` threads together: float32 operations a second (a multiply-add is two), and bytes a
    second between memory and processor."""

    threads: int
    flops: float
    bandwidth: float


def peaks() -> Peaks:
    """The peaks for as many threads as programs run on now."""
    return _peaks(runtime.get_num_threads())


@functools.cache
def _peaks(threads: int) -> Peaks:
    what = f"{_processor()}|{host_target().key}|{threads}"
    name = "peaks-" + hashlib.sha256(what.encode()).hexdigest()[:40]
    kept = _kept(name)
    found = Peaks(threads, max(_flops(threads), kept[0]), max(_bandwidth(), kept[1]))
    if found[1:] != kept:
        diskcache.write(name, json.dumps(found[1:]).encode())
    return found


def _kept(name: str) -> tuple[float, float]:
    try:
        flops, bandwidth = json.loads(diskcache.read(name) or b"null")
        return float(flops), float(bandwidth)
    except (ValueError, TypeError):
        return 0.0, 0.0


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((x for x in lines if x.startswith(("model name", "CPU part"))), platform.machine())


def _best(program: Executable, words: list[Any]) -> float:
    """The least seconds of a launch: tried until a while has brought nothing better."""
    best, begun = float("inf"), time.perf_counter()
    found = now = begun
    while now - found < max(_PATIENCE, found - begun) and now - begun < _LIMIT:
        launch(program.address, *words)
        seconds, now = time.perf_counter() - now, time.perf_counter()
        if seconds < 0.99 * best:
            found = now
        best = min(best, seconds)
    return best


def _flops(threads: int) -> float:
    target = host_target()
    lanes, tasks = target.lanes(32), 8 * threads

    p = ProgramBuilder(target, 1)
    out = Access(0, dtypes.float32, (tasks * lanes,), (1,))
    p.phase(Kernel(f"peak of {_CHAINS} chains", _emit_chains), [out], [_STEPS], tasks)
    memory = runtime.empty(4 * tasks * lanes)
    return 2.0 * _CHAINS * lanes * _STEPS * tasks / _best(program_of(p, 10**6), [memory])


def _emit_chains(b: Emitter) -> None:
    lanes = b.target.lanes(32)
    type_ = vector("float", lanes)
    d = Descriptor(b, 1)
    out, steps = d.pointer(0), d.word()
    x = b.splat(steps.cast("sitofp", "float"), lanes)
    loop = b.loop(0, steps, 1, [b.const(type_, 0.0)] * _CHAINS)
    with loop as (_, *sums):
        loop.next(*(b.fma(x, x, s) for s in sums))
    total = loop.results[0]
    for s in loop.results[1:]:
        total = total + s
    b.store(total, b.at(out, b.arg("task") * lanes, "float"))
    b.ret()


def _bandwidth() -> float:
    """Of c = a + b."""
    b = Builder()
    values = [b.input(dtypes.float32, (_ELEMENTS,)) for _ in range(2)]
    graph = b.graph([b.trace(lambda: b.append(add_p, tuple(values), {}))])
    accesses = [Access(i, dtypes.float32, (_ELEMENTS,), (1,)) for i in range(3)]
    loads = [Load(dtypes.float32, (_ELEMENTS,), a) for a in accesses[:2]]
    program = compile_graph(graph, loads, accesses[2:])
    memories = [runtime.empty(4 * _ELEMENTS) for _ in range(3)]
    for memory in memories:
        memoryview(memory).cast("B")[:] = bytes(4 * _ELEMENTS)
    return 3 * 4 * _ELEMENTS / _best(program, memories)
