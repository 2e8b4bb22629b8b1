"""The tensors of a function that is being traced: they have layouts, but no elements.

They are lazy tensors whose memory never comes into being. Whether one is detached is kept with it, as
the tape can't: a detached tensor may be asked for a gradient of its own.
"""

from __future__ import annotations

from typing import Any

from fanal.backends.native.executable import runtime
from fanal.core.dispatch import tracing
from fanal.core.errors import message
from fanal.tensor.layout import Layout, extent_bytes
from fanal.tensor.lazy import LazyTensor, another
from fanal.tensor.tensor import Tensor, allocate, new_tensor


class TracedTensor(LazyTensor):
    """A tensor of a function that is being traced."""

    __slots__ = ()

    @property
    def _ptr(self) -> int:
        return int(self._storage.recorder.address(self))

    @_ptr.setter
    def _ptr(self, value: int) -> None:
        raise RuntimeError(
            message("trace", "a tensor of the traced function is given other memory", tuple(self.shape),
                    hint="an operation that makes a new tensor")
        )  # fmt: skip

    def detach(self) -> Tensor:
        out = another(self, self._layout.wanting(False))
        out.__class__ = DetachedTensor
        return out

    @property
    def data(self) -> Tensor:
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        Tensor.data.__set__(self, value)  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        name = self._storage.recorder.name
        return f"tensor(..., shape={tuple(self.shape)}, dtype={self.dtype!r}, traced by {name})"


class DetachedTensor(TracedTensor):
    """A traced tensor through which no derivative flows, and its views."""

    __slots__ = ()

    def _alias(self, node: Any, index: int) -> Tensor:
        out = super()._alias(node, index)
        out.__class__ = DetachedTensor
        return out


for _class in (TracedTensor, DetachedTensor):
    _class.__name__ = _class.__qualname__ = "Tensor"


def identity(t: Tensor) -> Any:
    """What a tensor from outside is to derivatives."""
    if t._layout.grad:
        node = t._current_node()
        return id(t) if node is None else (id(node), t._index)
    return type(t) is DetachedTensor


def laid_out(t: Tensor, layout: Layout) -> Tensor:
    """A tensor's elements in a layout."""
    if t._layout.strides == layout.strides:
        return t
    if layout.dense:
        out = allocate(layout.wanting(False))
    else:
        _, end = extent_bytes(layout.shape, layout.strides, layout.dtype.itemsize)
        storage = runtime.empty(end)
        out = new_tensor(storage, layout.wanting(False), storage.ptr)
    with tracing(None):
        if not layout.overlaps:
            return out.copy_(t)
        once = tuple(slice(0, 1) if s == 0 else slice(None) for s in layout.strides)
        out[once].copy_(t[once])
        return out
