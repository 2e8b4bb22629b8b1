"""Static libraries: the `ar` format, with the index of symbols that linkers look into.

A member is a header of 60 characters and its bytes. The first one, called "/", is the index: a number of
symbols, of each the place of the member that defines it, and their names (big endian, after System V).
No times, no owners: the same members give the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

_MAGIC = b"!<arch>\n"
_NAME = 15  # characters that fit a header


def archive(members: Mapping[str, bytes], symbols: Mapping[str, Sequence[str]]) -> bytes:
    """A library of object files by name; `symbols` are those that each defines."""
    for name in members:
        if len(name) > _NAME:
            raise ValueError(f"a member's name has at most {_NAME} characters: got {name!r}")
    names = [(s, member) for member in members for s in symbols[member]]
    texts = b"".join(s.encode() + b"\0" for s, _ in names)
    index_size = 4 + 4 * len(names) + len(texts)
    places, at = {}, len(_MAGIC) + 60 + index_size + index_size % 2
    for name, data in members.items():
        places[name] = at
        at += 60 + len(data) + len(data) % 2
    index = struct.pack(f">{1 + len(names)}I", len(names), *(places[m] for _, m in names)) + texts
    parts = [_MAGIC, _member("/", index)]
    parts += [_member(f"{name}/", data) for name, data in members.items()]
    return b"".join(parts)


def _member(name: str, data: bytes) -> bytes:
    head = f"{name:<16}{0:<12}{0:<6}{0:<6}{'644':<8}{len(data):<10}`\n".encode()
    return head + data + b"\n" * (len(data) % 2)
