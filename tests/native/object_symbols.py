"""Which symbols an object file leaves undefined: a reader of ELF and of wasm objects.

Generated code must need nothing: a name that turns up here (`floorf`, `memcpy`, `__aeabi_ldivmod`)
is an instruction that the target lacks and LLVM turned into a call.
"""

from __future__ import annotations

import struct

# Names that a linker or a wasm host provides by itself.
PROVIDED = {
    "_GLOBAL_OFFSET_TABLE_",
    "__linear_memory",
    "__stack_pointer",
    "__indirect_function_table",
    "__memory_base",
    "__table_base",
}


def undefined_symbols(data: bytes) -> set[str]:
    """Names that the object refers to and does not define."""
    if data[:4] == b"\x7fELF":
        names = _elf(data)
    elif data[:4] == b"\0asm":
        names = _wasm(data)
    else:
        raise ValueError(f"[object_symbols] neither ELF nor wasm: starts with {data[:4]!r}")
    return names - PROVIDED


def _elf(data: bytes) -> set[str]:
    wide = data[4] == 2
    order = "<" if data[5] == 1 else ">"
    if wide:
        (start,) = struct.unpack_from(order + "Q", data, 0x28)
        size, count = struct.unpack_from(order + "HH", data, 0x3A)
        header, symbol = order + "IIQQQQIIQQ", order + "IBBHQQ"
    else:
        (start,) = struct.unpack_from(order + "I", data, 0x20)
        size, count = struct.unpack_from(order + "HH", data, 0x2E)
        header, symbol = order + "IIIIIIIIII", order + "IIIBBH"
    sections = [struct.unpack_from(header, data, start + size * k) for k in range(count)]
    out = set()
    for section in sections:
        kind, offset, length, link = section[1], section[4], section[5], section[6]
        if kind != 2:  # SHT_SYMTAB
            continue
        names = sections[link][4]
        step = struct.calcsize(symbol)
        for at in range(offset + step, offset + length, step):
            entry = struct.unpack_from(symbol, data, at)
            place = entry[3] if wide else entry[5]
            if place == 0:  # SHN_UNDEF
                begin = names + entry[0]
                out.add(data[begin : data.index(b"\0", begin)].decode())
    return out - {""}


class _Reader:
    """A cursor over a wasm section."""

    def __init__(self, data: bytes, at: int = 0):
        self.data, self.at = data, at

    def number(self) -> int:
        """An unsigned LEB128 number."""
        result = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            result |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return result

    def name(self) -> str:
        length = self.number()
        self.at += length
        return self.data[self.at - length : self.at].decode()


def _wasm(data: bytes) -> set[str]:
    reader, out, own = _Reader(data, 8), set(), set()
    while reader.at < len(data):
        kind = data[reader.at]
        reader.at += 1
        length = reader.number()
        end = reader.at + length
        if kind == 2:
            out |= _wasm_imports(_Reader(data, reader.at))
        elif kind == 0 and _Reader(data, reader.at).name() == "linking":
            own |= _wasm_defined(_Reader(data, reader.at), end)
        reader.at = end
    return out - own


def _wasm_imports(r: _Reader) -> set[str]:
    names = set()
    for _ in range(r.number()):
        r.name()
        names.add(r.name())
        kind = r.data[r.at]
        r.at += 1
        if kind == 0:  # function: its type
            r.number()
        elif kind in (1, 2):  # table, memory: limits
            if kind == 1:
                r.at += 1
            flags = r.number()
            r.number()
            if flags & 1:
                r.number()
        else:  # global: type and mutability
            r.at += 2
    return names


def _wasm_defined(r: _Reader, end: int) -> set[str]:
    """Data symbols that the object defines itself (position-independent code imports them too)."""
    names: set[str] = set()
    r.name()
    r.number()  # version
    while r.at < end:
        kind = r.data[r.at]
        r.at += 1
        stop = r.number()
        stop += r.at
        if kind == 8:  # symbol table
            for _ in range(r.number()):
                names |= _wasm_symbol(r)
        r.at = stop
    return names


def _wasm_symbol(r: _Reader) -> set[str]:
    kind = r.data[r.at]
    r.at += 1
    flags = r.number()
    undefined = bool(flags & 0x10)
    if kind in (0, 2, 4, 5):  # function, global, event, table
        r.number()
        if not undefined or flags & 0x40:
            return set() if undefined else {r.name()}
        return set()
    if kind == 1:  # data
        name = r.name()
        if not undefined:
            for _ in range(3):
                r.number()
            return {name}
        return set()
    r.number()  # section
    return set()
