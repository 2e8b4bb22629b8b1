"""A tensor's memory as an object of its own, and the methods that are about memory only."""

from __future__ import annotations

import ctypes
import mmap
import weakref
from typing import Any

from fanal.backends.native.executable import runtime
from fanal.backends.native.runtime.layout import EXPORT
from fanal.core import dtypes
from fanal.core.errors import message
from fanal.tensor.layout import layout
from fanal.tensor.lazy import settled
from fanal.tensor.tensor import Tensor, new_tensor


class UntypedStorage:
    """The bytes that one or more tensors are views of."""

    __slots__ = ("_storage",)

    def __init__(self, storage: Any):
        self._storage = storage

    def data_ptr(self) -> int:
        """The address of the first byte."""
        self._storage.exports += EXPORT
        return int(self._storage.ptr)

    def nbytes(self) -> int:
        """Number of bytes."""
        return int(self._storage.nbytes)

    def size(self) -> int:
        """Number of bytes."""
        return self.nbytes()

    def __len__(self) -> int:
        return self.nbytes()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UntypedStorage) and self._storage is other._storage

    def __hash__(self) -> int:
        return id(self._storage)

    def __getitem__(self, index: int) -> int:
        n = self.nbytes()
        if not -n <= index < n:
            raise IndexError(message("storage", "index out of range", index, f"below {n}"))
        return ctypes.c_uint8.from_address(self._storage.ptr + index % n).value

    def tolist(self) -> list[int]:
        """The bytes as numbers."""
        line = layout(dtypes.uint8, (self.nbytes(),))
        found: list[int] = new_tensor(self._storage, line, self._storage.ptr).tolist()
        return found

    def __repr__(self) -> str:
        return f"<fanal.UntypedStorage of {self.nbytes()} bytes>"


def untyped_storage(self: Tensor) -> UntypedStorage:
    """The memory that the tensor is a view of."""
    settled(self)._ptr  # noqa: B018 - brings lazy memory into being
    return UntypedStorage(self._storage)


def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """The tensor itself: there is no device that pinned memory would be copied to faster."""
    return self


def is_pinned(self: Tensor, device: Any = None) -> bool:
    """Whether the memory is pinned: never."""
    return False


_shared: weakref.WeakSet[Any] = weakref.WeakSet()


def share_memory_(self: Tensor) -> Tensor:
    """Move the elements to memory that processes forked from this one share."""
    if not is_shared(self) and self._layout.nbytes:
        settled(self)._ptr  # noqa: B018
        size = self._storage.nbytes
        block = mmap.mmap(-1, size)
        address = ctypes.addressof(ctypes.c_char.from_buffer(block))
        ctypes.memmove(address, self._storage.ptr, size)
        storage = runtime.wrap(address, size, block)
        self._ptr = address + self._ptr - self._storage.ptr
        self._storage = storage
        _shared.add(storage)
    return self


def is_shared(self: Tensor) -> bool:
    """Whether `share_memory_` was called."""
    return self._storage in _shared


def apply_(self: Tensor, callable: Any) -> Tensor:
    """Replace each element by `callable(element)`, a Python call each: slow, for tests and tables."""
    return _called(self, "apply_", callable)


def map_(self: Tensor, tensor: Tensor, callable: Any) -> Tensor:
    """Replace each element by `callable(element, element of tensor)`, a Python call each."""
    return _called(self, "map_", callable, tensor)


def _called(self: Tensor, name: str, callable: Any, *others: Tensor) -> Tensor:
    from fanal.ops.shape import expand, reshape
    from fanal.tensor.creation import tensor

    if self.requires_grad or any(t.requires_grad for t in others):
        raise RuntimeError(message(name, "a tensor requires grad", hint="detach()"))
    rows = [reshape(expand(t, tuple(self.shape)), (-1,)).tolist() for t in (self, *others)]
    made = tensor([callable(*elements) for elements in zip(*rows, strict=True)], dtype=self.dtype)
    return self.copy_(made.reshape(tuple(self.shape)))


def module_load(self: Tensor, other: Tensor, assign: bool = False) -> Tensor:
    """What `load_state_dict` puts in this tensor's place: a copy into it, or `other` itself."""
    return other.detach() if assign else self.detach().copy_(other).detach()
