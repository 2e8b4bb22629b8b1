"""Batches from one process to another through memory that both have mapped.

A worker puts a batch into a *segment*, an anonymous file in memory (`memfd_create`) whose descriptor
crosses the socket once; after that only numbers do. Nothing has a name, so nothing is left behind
when a process dies, and /dev/shm (64 MB in a container) is not used. When the last tensor of a batch
is gone in the receiving process, its segment goes back to the worker and is filled again: pages that
are mapped already cost no page faults.

In a message: a pickle (protocol 5) in which tensors and arrays stand as places in the segment.
"""

from __future__ import annotations

import ctypes
import io
import itertools
import mmap
import os
import pickle
import tempfile
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fanal.backends.native.executable import runtime
from fanal.core.dtypes import BY_NAME, uint8
from fanal.core.errors import message
from fanal.tensor.interop import as_array
from fanal.tensor.layout import Layout, layout
from fanal.tensor.tensor import Tensor, allocate, new_tensor

ALIGNMENT = 64
# Bytes of batches that travel in messages themselves: few enough for the socket to hold all that
# can be on its way, so that nobody waits in `send` while the other end does too.
INLINE, INLINE_TOGETHER = 4096, 1 << 16
_ROUND = 1 << 16


class Batch(NamedTuple):
    """A batch on its way: where its pickle and buffers lie in a segment, or their bytes."""

    segment: int  # -1: `inline` holds everything
    capacity: int  # of a segment whose descriptor follows; 0 for one known already
    places: list[tuple[int, int]]  # offset and size of each buffer, the pickle last
    inline: bytes


class Segment:
    """A mapped anonymous file, filled by one process and read by another."""

    def __init__(self, number: int, capacity: int, descriptor: int):
        self.number, self.capacity = number, capacity
        self.map = mmap.mmap(descriptor, capacity)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        self.user: weakref.ref[Any] | None = None

    def root(self, released: Callable[[Any], None] | None = None) -> Any:
        """An array of all bytes; when it and all that refers to it are gone, `released` is called."""
        array = np.frombuffer(self.map, np.uint8)
        self.user = weakref.ref(array, released)
        return array

    @property
    def in_use(self) -> bool:
        """Whether something of this process still refers to the last root."""
        return self.user is not None and self.user() is not None


def anonymous_file(capacity: int) -> int:
    """The descriptor of a file of zeros that has no name."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("fanal-batch", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, capacity)
    return descriptor


def aligned(n: int, to: int = ALIGNMENT) -> int:
    return -(-n // to) * to


# -- pickling ---------------------------------------------------------------------------------------


class _Pickler(pickle.Pickler):
    """Tensors as buffers, with their strides where their memory is dense."""

    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, Tensor):
            return NotImplemented
        if obj.requires_grad and not obj.is_leaf:
            raise RuntimeError(
                message(
                    "DataLoader", "a non-leaf tensor that requires grad can't leave its process",
                    tuple(obj.shape), hint="detach() in the dataset or collate_fn",
                )
            )
        t = obj.detach()
        if not t._layout.dense:
            t = t.contiguous()
        flat = new_tensor(t._storage, layout(uint8, (t._layout.nbytes,)), t._ptr)
        array: Any = as_array(flat)
        buffer = pickle.PickleBuffer(array)
        l = t._layout
        return _tensor, (buffer, l.dtype.name, l.shape, l.strides, obj.requires_grad, type(obj))


def _tensor(
    buffer: Any, dtype: str, shape: tuple[int, ...], strides: tuple[int, ...], grad: bool, cls: type
) -> Tensor:
    kind = layout(BY_NAME[dtype], shape, strides)
    memory = np.frombuffer(buffer, np.uint8)
    if not memory.size:
        made = allocate(kind)
        return new_tensor(made._storage, kind.wanting(grad), made._ptr, cls)
    pointer = memory.__array_interface__["data"][0]
    return new_tensor(
        runtime.wrap(pointer, memory.nbytes, memory), kind.wanting(grad), pointer, cls
    )


def dump(obj: Any) -> tuple[bytes, list[Any]]:
    """The pickle of an object and the buffers beside it, as flat byte arrays."""
    buffers: list[pickle.PickleBuffer] = []
    file = io.BytesIO()
    _Pickler(file, protocol=5, buffer_callback=buffers.append).dump(obj)
    return file.getvalue(), [np.frombuffer(b.raw(), np.uint8) for b in buffers]


# -- the worker's end -------------------------------------------------------------------------------


class Outbox:
    """The segments of one worker: `put` a batch into one, `give_back` those that were read."""

    def __init__(self, ahead: int = 2) -> None:
        self.inline = min(INLINE, max(256, INLINE_TOGETHER // ahead))
        self.free: list[Segment] = []
        self.away: dict[int, Segment] = {}
        self.filling: Segment | None = None
        self.root: Any = None
        self.used = 0
        self.count = 0

    def begin(self) -> None:
        """Choose the segment that the next batch is collated into."""
        self._abandon()
        fit = [s for s in self.free if not s.in_use]
        if fit:
            self.filling = max(fit, key=lambda s: s.capacity)
            self.free.remove(self.filling)
            self.root = self.filling.root()

    def _abandon(self) -> None:
        if self.filling is not None:
            self.free.append(self.filling)
        self.filling, self.root, self.used = None, None, 0

    def allocate(self, kind: Layout) -> Tensor:
        """Memory for a tensor of the batch: in the segment where there is room."""
        start = aligned(self.used)
        if self.filling is None or not kind.nbytes or start + kind.nbytes > self.filling.capacity:
            return allocate(kind)
        self.used = start + kind.nbytes
        pointer = self.filling.address + start
        return new_tensor(runtime.wrap(pointer, kind.nbytes, self.root), kind, pointer)

    def put(self, obj: Any) -> tuple[Batch, int | None]:
        """A batch as a message, and the descriptor that must follow it (closed by the caller)."""
        data, buffers = dump(obj)
        sizes = [b.nbytes for b in buffers] + [len(data)]
        if sum(sizes) <= self.inline:
            self._abandon()
            inline = b"".join([b.tobytes() for b in buffers] + [data])
            starts = itertools.accumulate([0, *sizes])
            return Batch(-1, 0, list(zip(starts, sizes, strict=False)), inline), None
        pieces = [*buffers, np.frombuffer(data, np.uint8)]
        places = self._places(pieces)
        descriptor = None
        if places is None:
            self._abandon()
            wanted = sum(aligned(n) for n in sizes)
            self.filling, descriptor = self._new(wanted + wanted // 8)
            self.root = self.filling.root()
            places = self._places(pieces)
            assert places is not None
        segment = self.filling
        assert segment is not None
        for piece, (start, size) in zip(pieces, places, strict=True):
            if size and _address(piece) != segment.address + start:
                self.root[start : start + size] = piece
        self.away[segment.number] = segment
        capacity = segment.capacity if descriptor is not None else 0
        self.filling, self.root, self.used = None, None, 0
        return Batch(segment.number, capacity, places, b""), descriptor

    def _places(self, pieces: Sequence[Any]) -> list[tuple[int, int]] | None:
        """Where each piece lies, or will lie, in the segment; None if they don't fit."""
        segment, at = self.filling, self.used
        if segment is None:
            return None
        places = []
        for piece in pieces:
            inside = _address(piece) - segment.address if piece.nbytes else -1
            if 0 <= inside < self.used and inside + piece.nbytes <= self.used:
                places.append((inside, piece.nbytes))
                continue
            at = aligned(at)
            places.append((at, piece.nbytes))
            at += piece.nbytes
        return places if at <= segment.capacity else None

    def _new(self, nbytes: int) -> tuple[Segment, int]:
        capacity = aligned(nbytes, _ROUND)
        descriptor = anonymous_file(capacity)
        segment = Segment(self.count, capacity, descriptor)
        self.count += 1
        return segment, descriptor

    def give_back(self, numbers: Sequence[int], keep: int) -> list[int]:
        """Take back segments that were read; returns those dropped since there are enough."""
        for number in numbers:
            self.free.append(self.away.pop(number))
        dropped = []
        while len(self.free) > keep:
            smallest = min(self.free, key=lambda s: s.capacity)
            self.free.remove(smallest)
            dropped.append(smallest.number)
        return dropped


def _address(array: Any) -> int:
    found: int = array.__array_interface__["data"][0]
    return found


# -- the reader's end -------------------------------------------------------------------------------


class Inbox:
    """What the receiving process knows of one worker's segments."""

    def __init__(self) -> None:
        self.segments: dict[int, Segment] = {}
        self.released: list[int] = []

    def add(self, batch: Batch, descriptor: int) -> None:
        """Map a new segment; the descriptor is closed."""
        try:
            segment = Segment(batch.segment, batch.capacity, descriptor)
        finally:
            os.close(descriptor)
        self.segments[batch.segment] = segment

    def drop(self, numbers: Sequence[int]) -> None:
        """Forget segments; their memory goes when the last tensor does."""
        for number in numbers:
            del self.segments[number]

    def open(self, batch: Batch) -> Any:
        """The object; its tensors lie in the segment, which is released with the last of them."""
        if batch.segment < 0:
            root: Any = np.frombuffer(bytearray(batch.inline), np.uint8)
        else:
            number, released = batch.segment, self.released
            root = self.segments[number].root(lambda _: released.append(number))
        view = memoryview(root)
        *buffers, data = [view[start : start + size] for start, size in batch.places]
        return pickle.loads(data, buffers=buffers)

    def skip(self, batch: Batch) -> None:
        """Release a batch unread."""
        if batch.segment >= 0:
            self.released.append(batch.segment)

    def take_released(self) -> list[int]:
        """Segments to give back to the worker with the next message."""
        found = self.released[:]
        del self.released[: len(found)]
        return found
