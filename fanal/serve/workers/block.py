"""Memory that the server and one worker have mapped: a batch's inputs and outputs, and the worker's pulse.

It is an anonymous file; nothing of it is left when both are gone. One end writes at a time: the server until it
has sent a batch, the worker until it has answered. Either may make it larger; the other learns of it by message.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from typing import Any

import numpy as np

START = 4096  # where batches begin; the pulse is before
_ALIGNMENT = 64
_ROUND = 1 << 16


class Block:
    """A mapped file of memory; `descriptor` is its own to close."""

    def __init__(self, descriptor: int | None = None):
        made = descriptor is None
        self.descriptor = os.memfd_create("fanal-batch", os.MFD_CLOEXEC) if descriptor is None else descriptor
        if made:
            os.ftruncate(self.descriptor, _ROUND)
        self.size = os.fstat(self.descriptor).st_size
        self._map = mmap.mmap(self.descriptor, self.size)

    def reserve(self, size: int) -> None:
        """Make it at least so large."""
        if size > self.size:
            size = max(size, self.size * 5 // 4)
            size = -(-size // _ROUND) * _ROUND
            os.ftruncate(self.descriptor, size)
            self.see(size)

    def see(self, size: int) -> None:
        """The other end has made it so large."""
        if size != self.size:
            # Arrays that lie in the old mapping keep it.
            self._map = mmap.mmap(self.descriptor, size)
            self.size = size

    def array(self, offset: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array that lies in it."""
        return np.ndarray(shape, dtype, self._map, offset)

    # -- the pulse --------------------------------------------------------------------------------

    def beat(self, number: int) -> None:
        struct.pack_into("<Q", self._map, 0, number)

    def pulse(self) -> int:
        found: int = struct.unpack_from("<Q", self._map, 0)[0]
        return found

    def close(self) -> None:
        """Unmap it, as soon as nothing lies in it that somebody uses."""
        os.close(self.descriptor)
        with contextlib.suppress(BufferError):
            self._map.close()


def aligned(offset: int) -> int:
    """The next place at which an array may begin."""
    return -(-offset // _ALIGNMENT) * _ALIGNMENT
