"""Tensors whose elements are still to be computed: what a captured function holds in its hands.

While a function is captured, operations are taken down and run later as one program. A lazy tensor
lies in a *cell*, memory that does not exist yet, at an offset, with the layout that it will have.
Whoever asks for its address makes the recorder run what was taken down so far; from then on it is an
ordinary tensor. So code that knows nothing of capture works, only in more than one program.
"""

from __future__ import annotations

from typing import Any

from fanal.core.dispatch import recorder
from fanal.tensor.layout import Layout
from fanal.tensor.tensor import Rare, Tensor, new_tensor

_new = object.__new__
# The slot itself: of a lazy tensor it holds the offset (in bytes) in its cell.
_slot = Tensor.__dict__["_ptr"]
place = _slot.__get__
move = _slot.__set__


class Cell:
    """Memory to come. `regions` and `real` are the recorder's: values in it, and what it became."""

    __slots__ = ("__weakref__", "layout", "nbytes", "real", "recorder", "regions", "version")

    def __init__(self, recorder: Any, layout: Layout):
        self.recorder = recorder
        self.layout = layout
        self.nbytes = layout.nbytes
        self.version = 0
        self.regions: list[Any] = []
        self.real: Any = None

    @property
    def ptr(self) -> int:
        if self.real is None:
            self.recorder.settle()
        return int(self.real.ptr)


class LazyTensor(Tensor):
    """A tensor in a cell. Becomes an ordinary tensor when its address is asked for."""

    __slots__ = ()

    @property
    def _ptr(self) -> int:
        self._storage.recorder.settle()
        return int(place(self))  # this object is an ordinary tensor now

    @_ptr.setter
    def _ptr(self, value: int) -> None:
        self.__class__ = Tensor  # type: ignore[assignment]
        move(self, value)

    def _alias(self, node: Any, index: int) -> Tensor:
        out = another(self, self._layout.wanting(node is not None))
        out._node, out._index = node, index
        return out

    @property
    def data(self) -> Tensor:
        return another(self, self._layout.wanting(False))

    @data.setter
    def data(self, value: Tensor) -> None:
        Tensor.data.__set__(self, value)  # type: ignore[attr-defined]

    def detach(self) -> Tensor:
        return another(self, self._layout.wanting(False))


LazyTensor.__name__ = LazyTensor.__qualname__ = "Tensor"


def lazy_tensor(cell: Cell, layout: Layout, offset: int) -> Tensor:
    """A tensor in a cell, off the tape."""
    t: Tensor = _new(LazyTensor)
    t._storage = cell
    t._layout = layout
    move(t, offset)
    t._node = None
    t._index = 0
    t._grad = None
    t._rare = None
    cell.recorder.watch(t)
    return t


def another(t: Tensor, layout: Layout) -> Tensor:
    """Another tensor of the same cell and place."""
    if type(t._storage) is not Cell:
        return new_tensor(t._storage, layout, t._ptr)
    return lazy_tensor(t._storage, layout, place(t))


def take_lazy(t: Tensor, layout: Layout, offset: int, rare: Rare) -> Tensor:
    """A view in the same cell; the caller puts it on the tape."""
    out = lazy_tensor(t._storage, layout, place(t) + offset)
    if type(t) is not LazyTensor:
        out.__class__ = type(t)  # of a detached tensor, views are detached
    out._rare = rare
    return out


def offset_in_storage(t: Tensor) -> int:
    """Bytes from the beginning of a tensor's memory to its first element."""
    storage = t._storage
    if type(storage) is Cell and storage.real is None:
        return int(place(t))
    return t._ptr - int(storage.ptr)


def kept_again(storage: Cell, layout: Layout, offset: int) -> Tensor:
    """What the tape kept of a cell, as a tensor."""
    if storage.real is not None:
        return new_tensor(storage.real, layout, storage.real.ptr + offset)
    return lazy_tensor(storage, layout, offset)


def become_real(t: Tensor, storage: Any, pointer: int) -> None:
    """Make a lazy tensor an ordinary one."""
    t.__class__ = Tensor
    t._storage = storage
    t._ptr = pointer


def is_known(t: Tensor) -> bool:
    """Whether a tensor's elements can be looked at: not while a function is traced on whose arguments
    they depend. Checks of values are left out then."""
    known = getattr(recorder(), "is_known", None)
    return known is None or bool(known(t))


def settled(t: Tensor) -> Tensor:
    """The tensor, when all that was taken down and writes to its memory has run (or, where nothing
    is run, another one with the elements that it would have)."""
    listening = recorder()
    found: Tensor | None = None if listening is None else listening.settle_memory(t)
    return t if found is None else found
