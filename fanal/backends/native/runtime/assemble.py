"""The runtime as one module of LLVM IR, for a target.

`runtime_ir` is deterministic (the same sources and triple give the same text), so that its hash is
a key for the object file made of it. Nothing here runs LLVM, and importing this is cheap.
"""

from __future__ import annotations

from fanal.backends.native.runtime import (
    allocator,
    control,
    guards,
    heap,
    heap_space,
    launch,
    module,
    pool,
    python_api,
    replay,
    storage,
    system,
)
from fanal.backends.native.runtime.layout import CONSTANTS

_PARTS = {
    "python_api": python_api.SOURCE,
    "heap": heap.SOURCE,
    "heap_space": heap_space.SOURCE,
    "allocator": allocator.SOURCE,
    "storage": storage.SOURCE,
    "pool": pool.SOURCE,
    "control": control.SOURCE,
    "launch": launch.SOURCE,
    "guards": guards.SOURCE,
    "replay": replay.SOURCE,
    "module": module.SOURCE,
}


def runtime_ir(target_triple: str) -> str:
    """The whole runtime as LLVM IR text for `target_triple` (x86-64 or aarch64)."""
    from fanal.backends.native.runtime.dialect import translate  # not needed on a cache hit

    raw, system_source, constants = system.describe(target_triple)
    parts = {"system": system_source, **_PARTS}
    body = translate(
        parts,
        {**CONSTANTS, **constants},
        known=system.RAW,
        symbols=module.TABLES,
    )
    attributes = 'attributes #0 = { nounwind "no-builtins" }\n'
    return f'target triple = "{target_triple}"\n{module.tables_ir()}{raw}{body}{attributes}'
