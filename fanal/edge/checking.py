"""What a finished library must be, looked up in its own bytes: nothing that does not hold leaves the house."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from fanal.core.errors import message
from fanal.edge.link import PAGE
from fanal.edge.objects import (
    ALLOC,
    DYNSYM,
    EXECUTE,
    FINI_ARRAY,
    INIT_ARRAY,
    LOAD,
    PREINIT_ARRAY,
    REL,
    RELA,
    TLS,
    WRITE,
    Elf,
)

# A program loader's own table is written to by some loaders; it is read-only after that, as is the rest of
# its page, which newer linkers name.
_LOADERS = frozenset([".dynamic", ".relro_padding"])


def check_library(data: bytes, exports: Sequence[str]) -> None:
    """Refuse a library that needs others, writes to itself, runs code on loading, or shows too much."""
    elf = Elf.read(data)
    problems = []
    missing = elf.undefined()
    if missing:
        problems.append(f"it needs {', '.join(sorted(missing))}")
    writable = [s.name for s in elf.sections if s.flags & WRITE and s.flags & ALLOC and s.name not in _LOADERS]
    if writable:
        problems.append(f"it has writable sections: {', '.join(writable)}")
    if any(s.kind in (INIT_ARRAY, FINI_ARRAY, PREINIT_ARRAY) or s.name in (".init", ".fini") for s in elf.sections):
        problems.append("it has constructors")
    if any(s.kind == TLS for s in elf.segments):
        problems.append("it has variables of threads")
    if any(s.kind in (RELA, REL) and s.flags & ALLOC and s.size for s in elf.sections):
        problems.append("it has to be relocated when it is loaded")
    if any(s.kind == LOAD and s.alignment % PAGE for s in elf.segments):
        problems.append(f"its segments are not aligned to pages of {PAGE} bytes")
    if any(s.kind == LOAD and s.flags & 3 == 3 for s in elf.segments):
        problems.append("it has memory that can be written and executed")
    shown = {s.name for s in elf.symbols(DYNSYM) if s.place} ^ set(exports)
    if shown:
        problems.append(f"its symbols are others than they should be: {', '.join(sorted(shown))}")
    _refuse(problems)


def check_wasm(imports: Collection[str]) -> None:
    """Refuse a module that imports anything but its memory."""
    others = set(imports) - {"memory"}
    _refuse([f"it imports {', '.join(sorted(others))}"] if others else [])


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise RuntimeError(message("build", "the library is not fit to leave", "; ".join(problems)))


def library_text(data: bytes) -> int:
    """Bytes of machine code in a library."""
    return sum(s.size for s in Elf.read(data).sections if s.flags & EXECUTE)
