"""A reader of WebAssembly modules: what one imports, how much code it has, how much memory it begins with."""

from __future__ import annotations

import re
from collections.abc import Iterator

# How a function takes memory from the stack: global.get, perhaps some moves between locals, i32.const, i32.sub.
_FRAME = re.compile(
    rb"\x23\x80\x80\x80\x80\x00(?:[\x20-\x22][\x80-\xff]*[\x00-\x7f]){0,4}"
    rb"\x41([\x80-\xff]*[\x00-\x7f])\x6b",
    re.DOTALL,
)


def sections(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The sections of a module: number and contents."""
    if data[:8] != b"\0asm\1\0\0\0":
        raise ValueError(f"no WebAssembly module: it starts with {data[:8]!r}")
    at = 8
    while at < len(data):
        kind = data[at]
        size, at = _number(data, at + 1)
        yield kind, data[at : at + size]
        at += size


def imports(data: bytes) -> list[str]:
    """Names of what a module imports."""
    found: list[str] = []
    for kind, body in sections(data):
        if kind != 2:
            continue
        count, at = _number(body, 0)
        for _ in range(count):
            size, at = _number(body, at)
            at += size
            size, at = _number(body, at)
            found.append(body[at : at + size].decode())
            at = _skipped(body, at + size)
    return found


def memory_pages(data: bytes) -> int:
    """How large the memory has to be that a module imports, in pages of 64 KiB."""
    for kind, body in sections(data):
        if kind != 2:
            continue
        count, at = _number(body, 0)
        for _ in range(count):
            for _ in range(2):
                size, at = _number(body, at)
                at += size
            if body[at] == 2:
                _, at = _number(body, at + 1)
                return _number(body, at)[0]
            at = _skipped(body, at)
    raise ValueError("the module imports no memory")


def frame_bytes(data: bytes) -> int:
    """The most that one of an object's functions takes from the stack."""
    return max((_number(m[1], 0)[0] for m in _FRAME.finditer(data)), default=0)


def code_bytes(data: bytes) -> int:
    """Bytes of functions."""
    return sum(len(body) for kind, body in sections(data) if kind == 10)


def _skipped(body: bytes, at: int) -> int:
    """Behind the description of what is imported: a function, table, memory or global."""
    kind = body[at]
    at += 1
    if kind == 0:
        return _number(body, at)[1]
    if kind == 3:
        return at + 2
    at += kind == 1
    limited, at = _number(body, at)
    _, at = _number(body, at)
    return _number(body, at)[1] if limited & 1 else at


def _number(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return result, at
