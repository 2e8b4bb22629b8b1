"""Memory whose equal pages are held once: what several programs keep of the same weights, say."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import mmap
import os
from collections.abc import Callable
from typing import Any

from fanal.backends.native.executable import runtime

PAGE = mmap.PAGESIZE
_FIXED = 0x10  # MAP_FIXED, which Python's mmap does not name
_MOST_RUNS = 1024  # mappings of one memory: a process may have some 65,000 of them


class Pages:
    """Pages by their content. They are there as long as somebody has them mapped; processes that are forked
    from this one share them. Not for several threads at once."""

    def __init__(self) -> None:
        self._file = os.memfd_create("fanal-pages", os.MFD_CLOEXEC)
        self._places: dict[bytes, int] = {}

    def close(self) -> None:
        """No more pages come; what is mapped stays."""
        os.close(self._file)

    def held(self, memory: Any) -> Any:
        """Memory with the same contents, which can't be written to; the same one where nothing was gained."""
        size = memory.nbytes
        source = memoryview((ctypes.c_char * size).from_address(memory.ptr)).cast("B")
        places = [self._place(source[i : i + PAGE]) for i in range(0, size, PAGE)]
        runs = _runs(places)
        if not runs or len(runs) > _MOST_RUNS:
            return memory
        block = mmap.mmap(-1, len(places) * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        address = ctypes.addressof(ctypes.c_char.from_buffer(block))
        for first, count, place in runs:
            at = address + first * PAGE
            if _mmap()(at, count * PAGE, mmap.PROT_READ, mmap.MAP_SHARED | _FIXED, self._file, place * PAGE) != at:
                return memory  # the system allows no more mappings
        return runtime.wrap(address, size, block)

    def _place(self, page: memoryview) -> int:
        """The number of the page in the file that has this content."""
        digest = hashlib.sha256(page).digest()
        found = self._places.get(digest)
        if found is None:
            found = self._places[digest] = len(self._places)
            os.pwrite(self._file, page, found * PAGE)
            if page.nbytes < PAGE:
                os.ftruncate(self._file, (found + 1) * PAGE)
        return found


def _runs(places: list[int]) -> list[tuple[int, int, int]]:
    """Consecutive pages that are consecutive in the file: (first, how many, the first's place)."""
    found: list[tuple[int, int, int]] = []
    for number, place in enumerate(places):
        if found and found[-1][2] + found[-1][1] == place:
            first, count, start = found[-1]
            found[-1] = (first, count + 1, start)
        else:
            found.append((number, 1, place))
    return found


@functools.cache
def _mmap() -> Callable[[int, int, int, int, int, int], int]:
    function = ctypes.CDLL(None).mmap
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64)
    function.restype = ctypes.c_void_p
    return function
