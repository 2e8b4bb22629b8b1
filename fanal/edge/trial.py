"""A library is tried out where it was built: its golden cases at every level that this processor has."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fanal.core.errors import message
from fanal.edge.interface import Interface


class _How(ctypes.Structure):
    _fields_ = [("level", ctypes.c_int), ("parallel_for", ctypes.c_void_p), ("context", ctypes.c_void_p)]


def tried(shared: bytes, library: Interface, golden: bytes, weights: bytes, levels: Sequence[int]) -> None:
    """Refuse a library whose own self-test fails here."""
    if not levels:
        return
    with tempfile.TemporaryDirectory(prefix="fanal-trial-") as folder:
        path = Path(folder, "library.so")
        path.write_bytes(shared)
        loaded = ctypes.CDLL(str(path))
        test = getattr(loaded, f"{library.prefix}_selftest")
        arena, cases, panels = _memory(library.selftest_bytes), _memory(len(golden), golden), _memory(len(weights), weights)
        which = ctypes.c_size_t()
        for level in levels:
            status = test(
                ctypes.c_void_p(cases[1]), ctypes.c_size_t(len(golden)), ctypes.c_void_p(arena[1]),
                ctypes.c_size_t(library.selftest_bytes), ctypes.c_void_p(panels[1] if weights else None),
                ctypes.byref(_How(level, None, None)), ctypes.byref(which),
            )  # fmt: skip
            if status != 0:
                text = getattr(loaded, f"{library.prefix}_status_text")
                text.restype = ctypes.c_char_p
                name = library.machine.levels[level].name
                raise RuntimeError(
                    message("build", f"the library's self-test fails at level {name}",
                            f"{text(status).decode()} (result {which.value})", "the results of this process")
                )  # fmt: skip


def _memory(size: int, data: bytes = b"") -> tuple[ctypes.Array[ctypes.c_char], int]:
    """Memory at a multiple of 64 bytes, and its address."""
    memory = ctypes.create_string_buffer(size + 64)
    address = -(-ctypes.addressof(memory) // 64) * 64
    ctypes.memmove(address, data, len(data))
    return memory, address
