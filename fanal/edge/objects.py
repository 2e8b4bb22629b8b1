"""Object files and libraries as bytes: an ELF reader, and what is mended in an object before it is linked.

Only what building needs: sections, symbols, segments, of 32 and 64 bits, little endian. Nothing here knows
what the code does.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

WRITE, ALLOC, EXECUTE = 1, 2, 4
PROGBITS, SYMTAB, STRTAB, RELA, DYNAMIC, NOBITS, REL, DYNSYM = 1, 2, 3, 4, 6, 8, 9, 11
INIT_ARRAY, FINI_ARRAY, PREINIT_ARRAY = 14, 15, 16
LOAD, RELRO, TLS, STACK = 1, 0x6474E552, 7, 0x6474E551
# Names that a linker provides by itself.
_PROVIDED = frozenset(["_GLOBAL_OFFSET_TABLE_", "_DYNAMIC"])


class Section(NamedTuple):
    """One section; `at` is where its header lies in the file."""

    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    at: int


class Symbol(NamedTuple):
    """One symbol: `place` is the number of its section (0: undefined)."""

    name: str
    binding: int  # 0 local, 1 global, 2 weak
    kind: int  # 1 data, 2 function
    visibility: int  # 2: hidden
    place: int
    size: int


class Segment(NamedTuple):
    """One segment of a library."""

    kind: int
    flags: int  # 1 execute, 2 write, 4 read
    alignment: int


@dataclass(frozen=True, slots=True)
class Elf:
    """An ELF file that has been read."""

    data: bytes
    wide: bool
    sections: list[Section]
    segments: list[Segment]

    @classmethod
    def read(cls, data: bytes) -> Elf:
        """Read headers; raises ValueError where this is no little-endian ELF file."""
        if data[:4] != b"\x7fELF" or data[5] != 1:
            raise ValueError(f"no little-endian ELF file: it starts with {data[:6]!r}")
        wide = data[4] == 2
        if wide:
            programs, start = struct.unpack_from("<QQ", data, 0x20)
            program_size, program_count, size, count, names = struct.unpack_from("<HHHHH", data, 0x36)
            form, section, segment = "<QQ", "<IIQQQQIIQQ", "<IIQQQQQQ"
        else:
            programs, start = struct.unpack_from("<II", data, 0x1C)
            program_size, program_count, size, count, names = struct.unpack_from("<HHHHH", data, 0x2A)
            form, section, segment = "<II", "<IIIIIIIIII", "<IIIIIIII"
        raw = [struct.unpack_from(section, data, start + size * i) for i in range(count)]
        texts = raw[names][4] if count else 0
        sections = [
            Section(_text(data, texts + s[0]), s[1], s[2], s[4], s[5], s[6], start + size * i)
            for i, s in enumerate(raw)
        ]
        found = (struct.unpack_from(segment, data, programs + program_size * i) for i in range(program_count))
        segments = [Segment(s[0], s[1] if wide else s[6], s[7]) for s in found]
        del form
        return cls(data, wide, sections, segments)

    def symbols(self, kind: int = SYMTAB) -> Iterator[Symbol]:
        """The symbols of a table (SYMTAB, or DYNSYM of a library), without the first, which is empty."""
        form = "<IBBHQQ" if self.wide else "<IIIBBH"
        step = struct.calcsize(form)
        for table in self.sections:
            if table.kind != kind:
                continue
            names = self.sections[table.link].offset
            for at in range(table.offset + step, table.offset + table.size, step):
                found = struct.unpack_from(form, self.data, at)
                if self.wide:
                    name, info, other, place, _, size = found
                else:
                    name, _, size, info, other, place = found
                yield Symbol(_text(self.data, names + name), info >> 4, info & 15, other & 3, place, size)

    def contents(self, section: Section) -> bytes:
        """The bytes of a section."""
        return self.data[section.offset : section.offset + section.size]

    def undefined(self) -> set[str]:
        """Names that it refers to and does not define."""
        tables = (SYMTAB, DYNSYM)
        found = {s.name for t in tables for s in self.symbols(t) if s.place == 0}
        return found - _PROVIDED - {""}


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode()


def with_constants(data: bytes) -> bytes:
    """An object whose data is taken to be read-only, as all data of a library is.

    Pools of constants are variables to LLVM (see `emit.Builder.pooled`), and so are tables of distances
    in code that may lie anywhere. Neither is ever written to.
    """
    if data[:4] != b"\x7fELF":
        return data
    elf = Elf.read(data)
    made = bytearray(data)
    for section in elf.sections:
        if section.flags & WRITE and section.flags & ALLOC and section.kind == PROGBITS:
            form = "<Q" if elf.wide else "<I"
            struct.pack_into(form, made, section.at + 8, section.flags & ~WRITE)
    return bytes(made)


def text_bytes(data: bytes) -> int:
    """Bytes of machine code in an ELF object."""
    elf = Elf.read(data)
    return sum(s.size for s in elf.sections if s.flags & EXECUTE)
