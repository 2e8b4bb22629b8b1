"""From IR text to an object file, compiled for one of our target records in this process.

Nothing here knows what the code does; the disk cache stands in front, `elf` behind.
"""

from __future__ import annotations

from fanal.backends.native import codegen
from fanal.backends.native.target import Target, host_target


def processor(target: Target | None = None) -> tuple[str, str, str]:
    """What LLVM calls a target (by default this process's): its triple, processor and features."""
    target = target or host_target()
    return target.triple, target.cpu, target.features


def compile_ir(ir: str, target: Target | None = None) -> bytes:
    """An object file of a module's text."""
    return codegen.object_of(ir, *processor(target))


def assembly(ir: str, target: Target | None = None) -> str:
    """The machine code as text, for reading."""
    return codegen.assembly_of(ir, *processor(target))
