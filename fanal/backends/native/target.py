"""What the generator must know of a processor: one small record a target.

A kernel is generated for a `Target`, never for "this machine": the same generator makes kernels for
the processor at hand, for another instruction-set level of it and for another architecture. Whatever
a rule decides (vector width, tile shape, whether a fused multiply-add exists) it reads here, so that
a new target is a new record and no new code.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, replace

import llvmlite.binding as llvm


@dataclass(frozen=True)
class Target:
    """A processor as the kernel generator sees it.

    `vector_bytes` is the width of the registers that kernels are written for, `vector_registers`
    how many of them there are; `fma` and `f16` say whether the instruction exists (without it, code
    is emitted that needs no library call). So do `division_bits` and `conversion_bits`: the widest
    integers that it divides, and that it converts to and from floats.
    """

    name: str
    triple: str
    cpu: str
    features: str
    vector_bytes: int
    vector_registers: int
    fma: bool
    f16: bool
    function_attributes: str = ""
    pointer_bits: int = 64
    # Whether panels that are packed ahead are one cache line wide, whatever the tile: the same for all
    # levels of a processor, and for few rows as for many.
    line_panels: bool = False
    division_bits: int = 64
    conversion_bits: int = 64

    def lanes(self, bits: int) -> int:
        """Number of elements of `bits` bits in one vector register."""
        return max(1, self.vector_bytes * 8 // bits)

    def matmul_tile(self, bits: int) -> tuple[int, int]:
        """(rows, vectors) of the register tile of a contraction whose elements have `bits` bits.

        The accumulators (rows × vectors), the vectors of B and one broadcast of A must fit into
        the registers: 6×2 in 16 registers, 14×2 in 32 with memory-operand broadcasts, 8×3 on NEON. Where
        there are no vectors, lanes are registers by themselves: 5 rows of four numbers in 32.
        """
        if self.vector_bytes == 8:
            return (5, max(1, bits // 16))
        if self.vector_registers >= 32:
            return (14, 2) if self.triple.startswith("x86_64") else (8, 3)
        return (6, 2)

    @property
    def key(self) -> str:
        """Text that names everything that can change the generated code."""
        return f"{self.triple}|{self.cpu}|{self.features}|{self.vector_bytes}|{self.fma}|{self.f16}"


_LINUX = "-unknown-linux-gnu"

X86_64 = Target(
    name="x86-64",
    triple="x86_64" + _LINUX,
    cpu="x86-64",
    features="",
    vector_bytes=16,
    vector_registers=16,
    fma=False,
    f16=False,
)
X86_64_V3 = replace(
    X86_64,
    name="x86-64-v3",
    cpu="x86-64-v3",
    features="+avx2,+fma,+f16c,+bmi,+bmi2",
    vector_bytes=32,
    fma=True,
    f16=True,
)
X86_64_V4 = replace(
    X86_64_V3,
    name="x86-64-v4",
    cpu="x86-64-v4",
    # Without this, LLVM splits 512-bit operations on several processors.
    features="+avx512f,+avx512bw,+avx512dq,+avx512vl,+fma,+f16c,-prefer-256-bit",
    vector_bytes=64,
    vector_registers=32,
)
AARCH64 = Target(
    name="aarch64",
    triple="aarch64" + _LINUX,
    cpu="generic",
    features="+neon",
    vector_bytes=16,
    vector_registers=32,
    fma=True,
    f16=True,
)
ARMV7 = Target(
    name="armv7",
    triple="armv7-unknown-linux-gnueabihf",
    cpu="cortex-a9",
    features="+neon,+vfp3",
    vector_bytes=16,
    vector_registers=16,
    fma=False,
    f16=False,
    pointer_bits=32,
    division_bits=0,
    conversion_bits=32,
)
RISCV64 = Target(
    name="riscv64",
    triple="riscv64" + _LINUX,
    cpu="generic-rv64",
    features="+m,+a,+f,+d,+c",
    vector_bytes=8,
    vector_registers=32,
    fma=True,
    f16=False,
)
WASM32 = Target(
    name="wasm32",
    triple="wasm32-unknown-unknown",
    cpu="generic",
    features="+simd128,+bulk-memory",
    vector_bytes=16,
    vector_registers=16,
    fma=False,
    f16=False,
    pointer_bits=32,
)

TARGETS = {t.name: t for t in (X86_64, X86_64_V3, X86_64_V4, AARCH64, ARMV7, RISCV64, WASM32)}


@functools.cache
def host_target() -> Target:
    """The best level that this processor runs (env `FANAL_TARGET` names another one of `TARGETS`)."""
    chosen = os.environ.get("FANAL_TARGET")
    if chosen:
        if chosen not in TARGETS:
            raise ValueError(
                f"[target] unknown target in FANAL_TARGET: got {chosen!r}; "
                f"expected one of {', '.join(TARGETS)}."
            )
        return TARGETS[chosen]
    triple = llvm.get_process_triple()
    if triple.startswith("aarch64") or triple.startswith("arm64"):
        return replace(AARCH64, triple=triple)
    if not triple.startswith("x86_64"):
        raise ImportError(
            f"[target] no kernels for this processor: got {triple}; expected x86_64 or aarch64."
        )
    has = llvm.get_host_cpu_features()
    level = X86_64
    if has.get("avx2") and has.get("fma") and has.get("f16c"):
        level = X86_64_V3
        if all(has.get(f) for f in ("avx512f", "avx512bw", "avx512dq", "avx512vl")):
            level = X86_64_V4
    return replace(level, triple=triple)
