"""The file around a program: safetensors, written so that it can be mapped, read so that nothing is trusted.

Eight bytes of length, a JSON header with each tensor's dtype, shape and place, then the tensors, end to end.
Each begins at a multiple of 64 bytes: entries named `__pad__` fill what is between them.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fanal.core.atomic import write_atomically
from fanal.core.errors import DataError, message

ALIGNMENT = 64
PADDING = "__pad__"
METADATA = "__metadata__"
LARGEST_HEADER = 100_000_000  # as in safetensors itself
_SIZES = {
    "BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4,
    "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip
_DIMENSIONS = 64


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor of a file: its dtype's code, its shape, and its bytes (a view of the mapped file)."""

    code: str
    shape: tuple[int, ...]
    data: memoryview


def write(path: Path, entries: Mapping[str, tuple[str, tuple[int, ...], bytes]], metadata: dict[str, str]) -> None:
    """Write a file, atomically. `metadata` gets the digest of it all."""
    header: dict[str, Any] = {}
    parts: list[bytes] = []
    at = 0
    for name, (code, shape, data) in entries.items():
        if name.startswith(("__pad__", METADATA)):
            raise ValueError(message("save", "a name that the format keeps for itself", name))
        header[name] = {"dtype": code, "shape": list(shape), "data_offsets": [at, at + len(data)]}
        parts.append(data)
        at += len(data)
        if gap := -at % ALIGNMENT:
            header[f"{PADDING}{len(header)}"] = {"dtype": "U8", "shape": [gap], "data_offsets": [at, at + gap]}
            parts.append(bytes(gap))
            at += gap
    whole = {METADATA: {**metadata, "sha256": _digest(metadata, header, parts)}, **header}
    head = json.dumps(whole, separators=(",", ":"), ensure_ascii=True).encode()
    head += b" " * (-(8 + len(head)) % ALIGNMENT)
    write_atomically(path, b"".join((len(head).to_bytes(8, "little"), head, *parts)))


def _digest(
    metadata: Mapping[str, str], header: Mapping[str, Any], parts: Iterable[bytes | memoryview]
) -> str:
    """The digest of a file's metadata, entries and tensors."""
    digest = hashlib.sha256()
    for text in (*(f"{k}\0{metadata[k]}\0" for k in sorted(metadata)), json.dumps(header, sort_keys=True)):
        digest.update(text.encode())
    for data in parts:
        digest.update(data)
    return digest.hexdigest()


class File:
    """A file that was opened: `entries` by name and `metadata`. Raises DataError unless it is whole."""

    def __init__(self, path: str | os.PathLike[str], check: bool = True):
        self.path = os.fspath(path)
        with open(self.path, "rb") as file:
            self.size = os.fstat(file.fileno()).st_size
            if self.size < 8:
                raise self._damaged("it is shorter than its header", f"{self.size} bytes")
            length = int.from_bytes(file.read(8), "little")
            if length > min(self.size - 8, LARGEST_HEADER):
                raise self._damaged("its header is longer than the file", f"{length} bytes")
            header = self._parsed(file.read(length))
            # Private: who writes to a tensor gets pages of his own, the file stays as it is.
            self._map = mmap.mmap(file.fileno(), self.size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        self.metadata = header.pop(METADATA, {})
        if not isinstance(self.metadata, dict) or not all(type(v) is str for v in self.metadata.values()):
            raise self._damaged("its metadata are no texts")
        self.entries = self._placed(header, 8 + length)
        if check:
            self._check(header, 8 + length)

    def _damaged(self, why: str, got: object = None) -> DataError:
        return DataError(
            message("load", f"{self.path} is damaged or no safetensors file: {why}", got, hint="a copy of the file that is whole")
        )

    def _parsed(self, head: bytes) -> dict[str, Any]:
        if head[:1] != b"{":
            raise self._damaged("its header is no JSON object")

        try:
            found = strict_json(head)
        except (ValueError, RecursionError) as error:
            raise self._damaged(f"its header can't be read ({error})") from None
        if not isinstance(found, dict):
            raise self._damaged("its header is no JSON object")
        return found

    def _placed(self, header: dict[str, Any], start: int) -> dict[str, Entry]:
        """The tensors: end to end, in any order, each as long as its shape says."""
        found, spans = {}, []
        whole = memoryview(self._map)
        for name, record in header.items():
            if not isinstance(record, dict) or set(record) != {"dtype", "shape", "data_offsets"}:
                raise self._damaged(f"the entry {name!r}")
            code, shape, offsets = record["dtype"], record["shape"], record["data_offsets"]
            if not (isinstance(code, str) and code in _SIZES and _numbers(shape) and _numbers(offsets)):
                raise self._damaged(f"the entry {name!r}")
            if len(shape) > _DIMENSIONS or len(offsets) != 2:
                raise self._damaged(f"the entry {name!r}")
            begin, end = offsets
            nbytes = _SIZES[code]
            for n in shape:
                nbytes *= n
            if not begin <= end <= self.size - start or end - begin != nbytes:
                raise self._damaged(f"the place of {name!r}", offsets)
            spans.append((begin, end))
            if not name.startswith(PADDING):
                found[name] = Entry(code, tuple(shape), whole[start + begin : start + end])
        at = 0
        for begin, end in sorted(spans):
            if begin != at:
                raise self._damaged("its tensors overlap, or there are holes between them")
            at = end
        if at != self.size - start:
            raise self._damaged("it is longer or shorter than its tensors")
        return found

    def _check(self, header: dict[str, Any], start: int) -> None:
        """DataError if a bit has changed since it was written."""
        wanted = self.metadata.get("sha256")
        if wanted is None:
            return
        rest = {k: v for k, v in self.metadata.items() if k != "sha256"}
        if _digest(rest, header, [memoryview(self._map)[start:]]) != wanted:
            raise self._damaged("its contents are not what was written (sha256)")


def strict_json(text: str | bytes) -> Any:
    """What a JSON text says; ValueError for a key twice in one object, and for NaN and infinities."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key twice")
        return found

    def no_number(name: str) -> Any:
        raise ValueError(f"{name} is no number of JSON's")

    return json.loads(text, object_pairs_hook=unique, parse_constant=no_number)


def _numbers(x: Any) -> bool:
    """Whether it is a list of sizes or places."""
    return isinstance(x, list) and all(type(n) is int and 0 <= n < 2**62 for n in x)
