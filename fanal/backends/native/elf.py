"""Our own loader: maps a relocatable ELF object into this process and resolves its symbols.

An object becomes one private mapping: code and constants first, then (on pages of their own, and
only where an object has any) writable data and the table of outside addresses. Everything of one
object lies together, so the 32-bit distances of the small code model always reach, in a process of
any size; code pages are never writable and executable at once. Mappings are never undone: kernels
may be running, and a process makes a bounded number of them.

Formats: System V ABI, "x86-64 psABI" and "ELF for the Arm 64-bit Architecture" (relocation names
below are theirs).
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_NOBITS, _SYMTAB, _RELA = 8, 2, 4
_WRITE, _ALLOC = 1, 2
_GLOBAL = 1
_ABSOLUTE = 0xFFF1


class ObjectError(RuntimeError):
    """An object file that cannot be loaded: damaged, or made for something else."""


@dataclass(frozen=True, slots=True)
class _Section:
    name: int
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int


def load(
    data: bytes, symbols: tuple[str, ...], outside: Callable[[str], int] | None = None
) -> dict[str, int]:
    """Map an object; returns the addresses of `symbols`.

    `outside` gives the address of a name that the object refers to and does not define.
    """
    try:
        loader = _Loader(data, outside)
        memory = mmap.mmap(-1, loader.total, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        found = loader.link(memory, base, symbols)
    except (struct.error, IndexError, ValueError) as error:
        raise ObjectError(f"[load] damaged object file of {len(data)} bytes: {error}") from error
    _protect(base, loader.writable)
    # Held even while the interpreter goes down: objects of ours may outlive this module.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(memory))
    return found


def image(data: bytes, base: int, symbols: tuple[str, ...]) -> tuple[bytes, dict[str, int]]:
    """The bytes of an object as they would lie at address `base` (of whatever machine), and the
    addresses of `symbols` there."""
    loader = _Loader(data, None)
    memory = bytearray(loader.total)
    found = loader.link(memory, base, symbols)
    return bytes(memory), found


def process_symbol(name: str) -> int:
    """The address of a C symbol of this process (libc, libpthread, the interpreter)."""
    for library in (ctypes.pythonapi, _process()):
        try:
            return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
        except AttributeError:
            continue
    raise ObjectError(f"[load] this process has no symbol {name!r}")


@functools.cache
def _process() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


class _Loader:
    """One object on its way into memory."""

    def __init__(self, data: bytes, outside: Callable[[str], int] | None):
        if data[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<H", data, 16)[0] != 1:
            raise ObjectError("[load] not a little-endian 64-bit ELF object")
        self.data = data
        self.outside = outside
        self.machine = struct.unpack_from("<H", data, 18)[0]
        if self.machine not in _RULES:
            raise ObjectError(f"[load] object for machine {self.machine}: expected {set(_RULES)}")
        start = struct.unpack_from("<Q", data, 0x28)[0]
        count = struct.unpack_from("<H", data, 0x3C)[0]
        self.sections = [
            _Section(s[0], s[1], s[2], s[4], s[5], s[6], s[7], max(s[8], 1))
            for s in (_SECTION.unpack_from(data, start + 64 * i) for i in range(count))
        ]
        self.names = struct.unpack_from("<H", data, 0x3E)[0]
        self.table = next((s for s in self.sections if s.kind == _SYMTAB), None)
        self.slots: dict[str, int] = {}  # outside name -> offset of its address in the mapping
        self.stubs: dict[str, int] = {}  # outside name -> offset of a jump to it
        self.next_stub, self.writable, self.total = self._lay_out()

    def link(
        self, memory: mmap.mmap | bytearray, base: int, symbols: tuple[str, ...]
    ) -> dict[str, int]:
        """Copy into memory that lies (or will lie) at `base`, and relocate."""
        self.memory, self.base = memory, base
        for index, offset in self.places.items():
            section = self.sections[index]
            if section.kind != _NOBITS:
                memory[offset : offset + section.size] = self.data[
                    section.offset : section.offset + section.size
                ]
        addresses = self._addresses()
        for section in self.sections:
            if section.kind == _RELA and section.info in self.places:
                self._relocate(section, addresses)
        try:
            return {name: self.defined[name] for name in symbols}
        except KeyError as error:
            raise ObjectError(f"[load] the object defines no {error}") from None

    def _lay_out(self) -> tuple[int, int, int]:
        """Offsets of sections (constants and code | stubs || data, zeros, outside addresses):
        where stubs begin, where what may be written begins, and the size of all."""
        allocated = [i for i, s in enumerate(self.sections) if s.flags & _ALLOC and s.size]
        outside = self._outside_count()
        self.places: dict[int, int] = {}
        fixed = [i for i in allocated if not self._writable(self.sections[i])]
        offset = self._place(fixed, 0)
        stub_area = _up(offset, 16)
        offset = _up(stub_area + 16 * outside, mmap.PAGESIZE)
        writable = offset
        offset = self._place([i for i in allocated if i not in fixed], offset)
        self.next_slot = _up(offset, 8)
        return stub_area, writable, _up(self.next_slot + 8 * outside, mmap.PAGESIZE)

    def _writable(self, section: _Section) -> bool:
        """Writable to LLVM; the constants that it must not know to be such (emit) are not."""
        if not section.flags & _WRITE:
            return False
        return self._name(self.sections[self.names].offset + section.name) != ".constants"

    def _place(self, indices: list[int], offset: int) -> int:
        for index in indices:
            section = self.sections[index]
            offset = _up(offset, section.align)
            self.places[index] = offset
            offset += section.size
        return offset

    def _symbols(self) -> list[tuple[int, int, int, int]]:
        """(name offset, binding, section, value) of each symbol."""
        table = self.table
        if table is None:
            return []
        raw = self.data[table.offset : table.offset + table.size]
        return [(s[0], s[1] >> 4, s[3], s[4]) for s in _SYMBOL.iter_unpack(raw)]

    def _outside_count(self) -> int:
        """A bound on the outside addresses; kernels have none, and so no page for them."""
        symbols = self._symbols()
        if any(name and not section for name, _, section, _ in symbols):
            return len(symbols)
        got = _GOT[self.machine]
        for section in self.sections:
            if section.kind == _RELA:
                raw = self.data[section.offset : section.offset + section.size]
                if any(i & 0xFFFFFFFF in got for _, i, _ in _RELOCATION.iter_unpack(raw)):
                    return len(symbols)
        return 0

    def _addresses(self) -> list[int | str]:
        """Of each symbol its address, or its name where it is not ours."""
        assert self.table is not None
        names = self.sections[self.table.link].offset
        result: list[int | str] = []
        self.defined: dict[str, int] = {}
        for name, binding, section, value in self._symbols():
            if section == 0:
                result.append(self._name(names + name) if name else 0)
            elif section == _ABSOLUTE:
                result.append(value)
            else:
                address = self.base + self.places.get(section, 0) + value
                result.append(address)
                if binding == _GLOBAL:
                    self.defined[self._name(names + name)] = address
        return result

    def _name(self, offset: int) -> str:
        return self.data[offset : self.data.index(b"\0", offset)].decode()

    def _relocate(self, section: _Section, addresses: list[int | str]) -> None:
        rules = _RULES[self.machine]
        target = self.places[section.info]
        raw = self.data[section.offset : section.offset + section.size]
        for offset, info, addend in _RELOCATION.iter_unpack(raw):
            try:
                rule = rules[info & 0xFFFFFFFF]
            except KeyError:
                raise ObjectError(f"[load] relocation {info & 0xFFFFFFFF} is unknown") from None
            rule(self, target + offset, addresses[info >> 32], addend)

    # What the rules use.

    def address(self, symbol: int | str) -> int:
        """Where a symbol lies, be it ours or outside."""
        if isinstance(symbol, int):
            return symbol
        if self.outside is None:
            raise ObjectError(f"[load] the object refers to {symbol!r}, which it does not define")
        return self.outside(symbol)

    def slot(self, symbol: int | str) -> int:
        """The address of a word that holds a symbol's address."""
        key = str(symbol)
        if key not in self.slots:
            self.slots[key] = self.next_slot
            self.next_slot += 8
            if self.next_slot > len(self.memory):
                raise ObjectError("[load] more outside addresses than symbols")
            struct.pack_into("<Q", self.memory, self.slots[key], self.address(symbol))
        return self.base + self.slots[key]

    def reachable(self, symbol: int | str, stub: Callable[[int, int], bytes]) -> int:
        """An address near enough to call: the symbol's own, or a jump to it."""
        if isinstance(symbol, int):
            return symbol
        if symbol not in self.stubs:
            self.stubs[symbol] = self.next_stub
            self.next_stub += 16
            at = self.stubs[symbol]
            code = stub(self.base + at, self.slot(symbol))
            self.memory[at : at + len(code)] = code
        return self.base + self.stubs[symbol]

    def write32(self, at: int, value: int) -> None:
        """A signed 32-bit distance."""
        if not -(1 << 31) <= value < 1 << 31:
            raise ObjectError("[load] a distance does not fit 32 bits")
        struct.pack_into("<i", self.memory, at, value)

    def write64(self, at: int, value: int) -> None:
        """A whole address."""
        struct.pack_into("<Q", self.memory, at, value & (1 << 64) - 1)

    def insert(self, at: int, value: int, width: int, shift: int) -> None:
        """A field of an instruction."""
        word = struct.unpack_from("<I", self.memory, at)[0]
        mask = (1 << width) - 1
        word = word & ~(mask << shift) | (value & mask) << shift
        struct.pack_into("<I", self.memory, at, word)


_Rule = Callable[[_Loader, int, "int | str", int], None]


def _up(value: int, align: int) -> int:
    return (value + align - 1) // align * align


def _protect(base: int, size: int) -> None:
    """Make the first `size` bytes executable and no longer writable."""
    # On Arm, Linux makes the instruction cache coherent when pages first become executable.
    if size and _mprotect()(base, size, mmap.PROT_READ | mmap.PROT_EXEC):
        raise OSError(ctypes.get_errno(), "[load] this system refuses to run generated code")


@functools.cache
def _mprotect() -> Callable[[int, int, int], int]:
    function = _process().mprotect
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return function


# x86-64


def _x86_stub(at: int, slot: int) -> bytes:
    return b"\xff\x25" + struct.pack("<i", slot - at - 6)  # jmp [rip + distance]


def _x86_64(o: _Loader, at: int, symbol: int | str, addend: int) -> None:
    o.write64(at, o.address(symbol) + addend)


def _x86_pc32(o: _Loader, at: int, symbol: int | str, addend: int) -> None:
    o.write32(at, o.reachable(symbol, _x86_stub) + addend - (o.base + at))


def _x86_got(o: _Loader, at: int, symbol: int | str, addend: int) -> None:
    o.write32(at, o.slot(symbol) + addend - (o.base + at))


# aarch64


def _arm_stub(at: int, slot: int) -> bytes:
    # adrp x16, page; ldr x16, [x16, #offset]; br x16
    pages = (slot >> 12) - (at >> 12)
    adrp = 0x90000010 | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5
    ldr = 0xF9400210 | ((slot & 0xFFF) >> 3) << 10
    return struct.pack("<III", adrp, ldr, 0xD61F0200)


def _arm_abs64(o: _Loader, at: int, symbol: int | str, addend: int) -> None:
    o.write64(at, o.address(symbol) + addend)


def _arm_prel32(o: _Loader, at: int, symbol: int | str, addend: int) -> None:
    o.write32(at, o.address(symbol) + addend - (o.base + at))


def _arm_branch(o: _Loader, at: int, symbol: int | str, addend: int) -> None:
    distance = o.reachable(symbol, _arm_stub) + addend - (o.base + at)
    if not -(1 << 27) <= distance < 1 << 27:
        raise ObjectError("[load] a branch is too long")
    o.insert(at, distance >> 2, 26, 0)


def _arm_page(o: _Loader, at: int, address: int) -> None:
    pages = (address >> 12) - (o.base + at >> 12)
    o.insert(at, pages, 2, 29)
    o.insert(at, pages >> 2, 19, 5)


def _arm_low(shift: int) -> _Rule:
    def rule(o: _Loader, at: int, symbol: int | str, addend: int) -> None:
        o.insert(at, (o.address(symbol) + addend & 0xFFF) >> shift, 12, 10)

    return rule


_RULES: Mapping[int, Mapping[int, _Rule]] = {
    62: {  # EM_X86_64
        1: _x86_64,  # R_X86_64_64
        2: _x86_pc32,  # R_X86_64_PC32
        4: _x86_pc32,  # R_X86_64_PLT32
        9: _x86_got,  # R_X86_64_GOTPCREL
        41: _x86_got,  # R_X86_64_GOTPCRELX
        42: _x86_got,  # R_X86_64_REX_GOTPCRELX
    },
    183: {  # EM_AARCH64
        257: _arm_abs64,  # R_AARCH64_ABS64
        261: _arm_prel32,  # R_AARCH64_PREL32
        275: lambda o, at, s, a: _arm_page(o, at, o.address(s) + a),  # ADR_PREL_PG_HI21
        277: _arm_low(0),  # ADD_ABS_LO12_NC
        278: _arm_low(0),  # LDST8_ABS_LO12_NC
        282: _arm_branch,  # JUMP26
        283: _arm_branch,  # CALL26
        284: _arm_low(1),  # LDST16_ABS_LO12_NC
        285: _arm_low(2),  # LDST32_ABS_LO12_NC
        286: _arm_low(3),  # LDST64_ABS_LO12_NC
        299: _arm_low(4),  # LDST128_ABS_LO12_NC
        311: lambda o, at, s, a: _arm_page(o, at, o.slot(s) + a),  # ADR_GOT_PAGE
        312: lambda o, at, s, a: o.insert(at, (o.slot(s) + a & 0xFFF) >> 3, 12, 10),  # LD64_GOT
    },
}
_GOT = {62: frozenset((9, 41, 42)), 183: frozenset((311, 312))}
