"""Kernels of a library as object files: compiled side by side, kept on disk between builds.

A kernel is named by what it computes, the processor it is for and the generator that wrote it, so that
libraries of different builds can be linked into one program. It is seen inside of its library only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

from fanal.backends.native import diskcache
from fanal.backends.native.jit import processor
from fanal.backends.native.kernels import sources_digest
from fanal.backends.native.program import CONTROL, Kernel
from fanal.backends.native.target import Target
from fanal.backends.native.workers import Batch
from fanal.edge.functions import Function
from fanal.edge.levels import module_flags
from fanal.edge.objects import with_constants


class Code(NamedTuple):
    """A kernel's machine code for a target."""

    symbol: str
    level: int
    data: bytes


def symbol(key: str, target: Target) -> str:
    """A kernel's name."""
    whole = f"{sources_digest()}|{target.key}|{target.features}|{key}"
    return "fanal_k" + hashlib.sha256(whole.encode()).hexdigest()[:24]


def kernels_of(function: Function) -> dict[str, Kernel]:
    """The kernels that a function runs, by key."""
    return {p.kernel.key: p.kernel for p in function.outline.phases if p.kernel is not CONTROL}


def compiled(functions: Iterable[Function], progress: Callable[[int, int], None]) -> dict[str, Code]:
    """The code of all kernels, by symbol. `progress` hears how many of how many are there."""
    wanted: dict[str, tuple[Kernel, Function]] = {}
    for f in functions:
        for key, kernel in kernels_of(f).items():
            wanted.setdefault(symbol(key, f.target), (kernel, f))
    found: dict[str, Code] = {}

    def done(name: str, data: bytes) -> None:
        found[name] = Code(name, wanted[name][1].level, data)
        progress(len(found), len(wanted))

    def fresh(name: str, data: bytes) -> None:
        data = with_constants(data)
        diskcache.write(name, data)
        done(name, data)

    batch: Batch | None = None
    try:
        for name, (kernel, f) in wanted.items():
            data = diskcache.read(name)
            if data is not None:
                done(name, data)
                continue
            if batch is None:
                batch = Batch(fresh)
            text = hidden(kernel.ir(f.target, name), name) + module_flags(f.target)
            batch.add(name, text, processor(f.target))
        if batch is not None:
            batch.finish()
    finally:
        if batch is not None:
            batch.close()
    return {name: found[name] for name in wanted}


def hidden(ir: str, name: str) -> str:
    """A module whose one function is seen by what it is linked with, and by nobody else."""
    head = f"@{name}("
    start = ir.rindex("define ", 0, ir.index(head))
    return f"{ir[:start]}define hidden {ir[start + len('define '):]}"
