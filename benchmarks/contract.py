"""Speed of the contraction engine against PyTorch, in one process, rounds interleaved.

    python -m benchmarks.contract [--threads 1,2] [--rounds 7] [--only matmul] [--compile]

Every case prints the best time of both, the rate, and PyTorch's time over ours (above 1: we are
faster). The first lines give the FMA peak of one core as measured by a loop of twelve chains.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import mmap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.pairs import timed
from fanal.backends.native import elf, jit
from fanal.backends.native.contract import (
    lower_conv,
    lower_conv_input_grad,
    lower_conv_weight_grad,
    lower_dot,
    probe,
)
from fanal.backends.native.emit import Builder, vector
from fanal.backends.native.program import ProgramBuilder
from fanal.backends.native.target import host_target

SETTLE = 0.01


@dataclass
class Case:
    name: str
    flops: float
    ours: Callable[[], object]
    theirs: Callable[[], object]
    check: Callable[[], float]


def huge(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """A float32 array on huge pages, 64-byte aligned, with values of a normal distribution."""
    count = math.prod(shape)
    size = -(-max(count, 1) * 4 // (2 << 20)) * (2 << 20)
    memory = mmap.mmap(-1, size + (2 << 20))
    memory.madvise(mmap.MADV_HUGEPAGE)
    raw = np.frombuffer(memory, np.uint8)
    skip = -raw.ctypes.data % (2 << 20)
    x = raw[skip : skip + count * 4].view(np.float32).reshape(shape)
    x[...] = np.random.default_rng(seed).standard_normal(shape, np.float32)
    return x


def program(lower: Callable[..., None], *arrays: np.ndarray, **attributes: object):
    """Our callable for one lowering."""
    p = ProgramBuilder(host_target(), len(arrays))
    lower(p, *(probe.access(i, x) for i, x in enumerate(arrays)), **attributes)
    run = probe.runnable(p)
    launch, where = probe.runtime().launch, run.address
    addresses = [probe.first_element(x) for x in arrays]

    def call() -> None:
        launch(where, *addresses)

    call.keep = (run, arrays)
    return call


def matmul(m: int, k: int, n: int, transposed: bool = False, batch: int = 0) -> Case:
    lead = (batch,) if batch else ()
    a, b, out = huge((*lead, m, k)), huge((*lead, n, k) if transposed else (*lead, k, n), 1), None
    right = b.swapaxes(-1, -2) if transposed else b
    out = huge((*lead, m, n))
    theirs_out = torch.from_numpy(huge((*lead, m, n)))
    at, bt = torch.from_numpy(a), torch.from_numpy(b)
    bt = bt.transpose(-1, -2) if transposed else bt
    axes = ((2,), (1,)) if batch else ((1,), (0,))
    ours = program(lower_dot, a, right, out, contract=axes, batch=((0,), (0,)) if batch else ((), ()))
    name = f"matmul {f'{batch}x' if batch else ''}{m}x{k}x{n}{' NT' if transposed else ''}"
    return Case(
        name,
        2.0 * m * k * n * max(batch, 1),
        ours,
        lambda: torch.matmul(at, bt, out=theirs_out),
        lambda: _difference(out, theirs_out),
    )


def _difference(ours: np.ndarray, theirs: torch.Tensor) -> float:
    scale = float(theirs.abs().max()) or 1.0
    return float((torch.from_numpy(ours) - theirs).abs().max()) / scale


def conv(kind: str, n: int, c: int, size: int, o: int, k: int, stride: int = 1, groups: int = 1,
         channels_last: bool = False) -> Case:  # fmt: skip
    pad = k // 2
    x, w = huge((n, c, size, size)), huge((o, c // groups, k, k), 1)
    side = (size + 2 * pad - k) // stride + 1
    y = huge((n, o, side, side), 2)
    xt, wt, yt = (torch.from_numpy(v) for v in (x, w, y))
    if channels_last:
        x, y = (np.ascontiguousarray(v.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for v in (x, y))
        xt, yt = (v.contiguous(memory_format=torch.channels_last) for v in (xt, yt))
    attributes = {
        "stride": (stride, stride), "padding": ((pad, pad),) * 2, "dilation": (1, 1),
        "input_dilation": (1, 1), "groups": groups,
    }  # fmt: skip
    result: list[torch.Tensor] = []
    if kind == "fwd":
        out = np.empty_like(y)
        ours = program(lower_conv, x, w, out, **attributes)

        def theirs() -> None:
            result[:] = [F.conv2d(xt, wt, None, stride, pad, 1, groups)]
    else:
        mask = [kind == "dx", kind == "dw", False]
        if kind == "dx":
            out = np.empty_like(x)
            ours = program(lower_conv_input_grad, y, w, out, **attributes)
        else:
            out = np.empty_like(w)
            ours = program(lower_conv_weight_grad, x, y, out, **attributes)

        def theirs() -> None:
            grads = torch.ops.aten.convolution_backward(
                yt, xt, wt, None, [stride] * 2, [pad] * 2, [1, 1], False, [0, 0], groups, mask
            )
            result[:] = [g for g in grads if g is not None]

    tag = " nhwc" if channels_last else ""
    name = f"conv {kind} {n}x{c}x{size}^2->{o} k{k} s{stride} g{groups}{tag}"
    flops = 2.0 * n * o * side * side * (c // groups) * k * k
    return Case(name, flops, ours, theirs, lambda: _difference(out, result[0]))


CONVOLUTIONS = [
    (3, 224, 64, 7, 2, 1), (64, 32, 64, 3, 1, 1), (128, 16, 128, 3, 1, 1),
    (256, 16, 512, 3, 2, 1), (512, 4, 512, 3, 1, 1), (64, 32, 256, 1, 1, 1),
    (64, 32, 64, 3, 1, 64),
]  # fmt: skip
MATMULS = [
    (512, 512, 512), (1024, 1024, 1024), (64, 768, 768), (512, 3072, 768), (512, 768, 3072),
    (8, 4096, 1024), (8, 1024, 4096), (1, 4096, 4096),
]  # fmt: skip


def cases() -> Iterator[tuple[str, Callable[[], Case]]]:
    """All cases: a text to select them by, and a function that makes one."""
    for nt in (False, True):
        for mkn in MATMULS:
            yield f"matmul {mkn}", lambda mkn=mkn, nt=nt: matmul(*mkn, nt)
        yield "matmul batched", lambda nt=nt: matmul(128, 64, 128, nt, batch=32)
    for kind in ("fwd", "dx", "dw"):
        for n in (1, 8, 32):
            for shape in CONVOLUTIONS:
                if n * shape[0] != 96:
                    name = f"conv {kind} n{n} c{shape[0]} k{shape[3]} s{shape[4]} g{shape[5]}"
                    yield name, lambda kind=kind, n=n, shape=shape: conv(kind, n, *shape)


def peak() -> tuple[Callable[[], float], float]:
    """A function that runs twelve chains of vector FMAs, and its number of operations."""
    target = host_target()
    type_ = vector("float", target.lanes(32))
    count = 200_000

    def emit(b: Builder) -> None:
        x = b.splat(b.load("float", b.arg("desc")), target.lanes(32))
        loop = b.loop(0, count, 1, [b.const(type_, 0.0)] * 12)
        with loop as (_, *sums):
            loop.next(*(b.fma(x, x, s) for s in sums))
        total = loop.results[0]
        for s in loop.results[1:]:
            total = total + s
        b.store(total, b.at(b.arg("desc"), 64))
        b.ret()

    b = Builder(target, "contract_peak")
    emit(b)
    address = elf.load(jit.compile_ir(b.finish()), ("contract_peak",))["contract_peak"]
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64,
                                ctypes.c_void_p)(address)  # fmt: skip
    memory = np.zeros(256, np.float32)

    def run() -> float:
        start = time.perf_counter()
        function(memory.ctypes.data, None, 0, None)
        return time.perf_counter() - start

    return run, 2.0 * 12 * target.lanes(32) * count


def measure(case: Case, rounds: int, run_peak: Callable[[], float]) -> tuple[float, float, float]:
    """Best seconds of ours and theirs, and of the peak loop, in interleaved rounds."""
    case.ours(), case.theirs()
    once = max(timed(case.ours, 1), timed(case.theirs, 1))
    repeats = max(1, int(0.02 / once))
    ours, theirs, peaks = [], [], []
    for _ in range(rounds):
        # Idle threads of either pool spin for a while: let them park before the other one's turn.
        time.sleep(SETTLE)
        peaks.append(run_peak())
        ours.append(timed(case.ours, repeats))
        time.sleep(SETTLE)
        theirs.append(timed(case.theirs, repeats))
    return min(ours), min(theirs), min(peaks)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="")
    parser.add_argument("--compile", action="store_true", help="print compile times of kernels")
    options = parser.parse_args()
    run_peak, operations = peak()
    print(f"FMA peak of one core: {operations / min(run_peak() for _ in range(20)) / 1e9:.1f} GFLOP/s")
    ratios: dict[tuple[str, int], list[float]] = {}
    for text, make in cases():
        if not all(word in text for word in options.only.split("+")):
            continue
        case = make()
        for threads in (int(t) for t in options.threads.split(",")):
            probe.runtime().set_num_threads(threads)
            torch.set_num_threads(threads)
            ours, theirs, best = measure(case, options.rounds, run_peak)
            wrong = case.check()
            ratios.setdefault((case.name.split()[0], threads), []).append(theirs / ours)
            share = case.flops / ours / (operations / best) / threads
            print(
                f"{case.name:38} t{threads} {ours * 1e6:9.1f} us {case.flops / ours / 1e9:6.1f} GF"
                f" ({share:4.0%} of peak)  torch {theirs * 1e6:9.1f} us"
                f" {case.flops / theirs / 1e9:6.1f} GF  x{theirs / ours:5.2f}"
                f"{'' if wrong < 1e-4 else f'  WRONG by {wrong:.2g}'}",
                flush=True,
            )
    for (family, threads), values in ratios.items():
        mean = math.exp(sum(map(math.log, values)) / len(values))
        print(f"{family} t{threads}: geometric mean x{mean:.2f}, worst x{min(values):.2f}")
    if options.compile:
        for key, (seconds, size) in sorted(probe.compile_seconds.items()):
            print(f"{seconds * 1e3:6.1f} ms  {size:7} bytes of IR  {key}")


if __name__ == "__main__":
    main()
