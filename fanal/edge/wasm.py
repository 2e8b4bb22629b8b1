"""A reader of WebAssembly modules: what one imports, and how much code it has."""

from __future__ import annotations

from collections.abc import Iterator


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
