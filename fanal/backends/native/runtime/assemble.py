"""The runtime as one module of LLVM IR, for a target.

`runtime_ir` is deterministic (the same sources and triple give the same text), so that its hash is
a key for the object file made of it. Nothing here runs LLVM.
"""

from __future__ import annotations

from fanal.backends.native.runtime import (
    allocator,
    heap,
    launch,
    module,
    pool,
    python_api,
    storage,
    system,
)
from fanal.backends.native.runtime.dialect import translate
from fanal.backends.native.runtime.layout import CONSTANTS

# The symbols that a loader must look up; all others are internal. `fanal_runtime_init` makes the
# Python objects, the rest is for other generated code: see the signatures in the sources.
RUNTIME_SYMBOLS = (
    "fanal_runtime_init",
    "fanal_run",
    "fanal_alloc",
    "fanal_free",
    "fanal_storage_new",
    "fanal_storage_empty",
)

_PARTS = {
    "python_api": python_api.SOURCE,
    "heap": heap.SOURCE,
    "allocator": allocator.SOURCE,
    "storage": storage.SOURCE,
    "pool": pool.SOURCE,
    "launch": launch.SOURCE,
    "module": module.SOURCE,
}


def runtime_ir(target_triple: str) -> str:
    """The whole runtime as LLVM IR text for `target_triple` (x86-64 or aarch64)."""
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
