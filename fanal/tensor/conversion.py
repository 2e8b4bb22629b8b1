"""The same elements in another shape, dtype, device or order in memory: `view`, `to`, `contiguous`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fanal.core import dtypes
from fanal.core.device import device as device_type
from fanal.core.dtypes import DType
from fanal.core.errors import message
from fanal.core.memory_format import channels_last, channels_last_3d, contiguous_format
from fanal.core.symbols import size
from fanal.ops import shape
from fanal.tensor import creation, inplace
from fanal.tensor.layout import layout
from fanal.tensor.tensor import Tensor, shared


def view(self: Tensor, *sizes: Any) -> Tensor:
    """Another shape (or dtype) of the same memory; never copies.

    Raises RuntimeError where strides can't express it.
    """
    given = sizes[0] if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes
    if isinstance(given, DType):
        return _view_dtype(self, given)
    out: Tensor = shape.reshape(self, tuple(map(size, given)))
    if out._storage is not self._storage:
        raise RuntimeError(
            message(
                "view", "strides don't allow this shape without a copy",
                f"shape {tuple(self.shape)}, strides {self._layout.strides} to {tuple(given)}",
                hint="reshape()",
            )
        )
    return out


def _view_dtype(self: Tensor, dtype: DType) -> Tensor:
    """The bytes read as another dtype; another width changes the last extent."""
    source, old, new = self._layout, self.dtype.itemsize, dtype.itemsize
    if self.requires_grad and dtype.kind == "f":
        raise RuntimeError(message("view", "bits have no gradient", repr(dtype), hint="detach()"))
    extents, strides = source.shape, source.strides
    if old != new:
        fits = source.ndim > 0 and source.strides[-1] == 1 and extents[-1] * old % new == 0
        if new > old:
            fits = fits and all(s * old % new == 0 for s in strides[:-1])
        if not fits:
            raise RuntimeError(
                message(
                    "view", f"a width of {new} bytes instead of {old} does not fit",
                    f"shape {extents}, strides {strides}", "a last dimension without gaps",
                )
            )
        extents = (*extents[:-1], extents[-1] * old // new)
        strides = (*(s * old // new for s in strides[:-1]), 1)
    return shared(self, layout(dtype, extents, strides))


def view_as(self: Tensor, other: Tensor) -> Tensor:
    """The same memory in another tensor's shape."""
    return view(self, tuple(other.shape))


# -- order in memory -----------------------------------------------------------------------------------


def _channels_order(memory_format: Any, ndim: int) -> tuple[int, ...] | None:
    """The dimensions from the outermost to the innermost in memory; None: row-major."""
    wanted = {channels_last: 4, channels_last_3d: 5}.get(memory_format)
    if wanted is None:
        return None
    if ndim != wanted:
        raise RuntimeError(
            message("memory_format", f"{memory_format!r} is for {wanted} dimensions", ndim)
        )
    return (0, *range(2, ndim), 1)


def is_contiguous(self: Tensor, memory_format: Any = contiguous_format) -> bool:
    """Whether the elements lie in row-major order (or channels last)."""
    if memory_format is not contiguous_format and memory_format is not None:
        if self.ndim != {channels_last: 4, channels_last_3d: 5}.get(memory_format):
            return False
        order = _channels_order(memory_format, self.ndim)
        if order is not None:
            turned: Tensor = shape.permute(self.detach(), order)
            return turned._layout.contiguous
    return self._layout.contiguous


def contiguous(self: Tensor, memory_format: Any = contiguous_format) -> Tensor:
    """The tensor itself if its elements lie in row-major order, else a copy that does.

    `memory_format=fanal.channels_last`: the same with channels innermost.
    """
    order = _channels_order(memory_format, self.ndim)
    if order is None:
        return self if self._layout.contiguous else _row_major(self)
    turned = contiguous(shape.permute(self, order))
    back = [0] * self.ndim
    for i, d in enumerate(order):
        back[d] = i
    found: Tensor = shape.permute(turned, tuple(back))
    return found


def _row_major(self: Tensor) -> Tensor:
    out: Tensor = shape.clone(self)
    if out._layout.contiguous:
        return out
    target = creation.empty(tuple(self.shape), dtype=self.dtype)
    return target.copy_(self) if self.requires_grad else inplace.copy_(target, self)


def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy with memory of its own."""
    out: Tensor = shape.clone(input)
    if memory_format is None or out is input:
        return out
    return contiguous(out, memory_format)


def dim_order(self: Tensor) -> tuple[int, ...]:
    """The dimensions from the outermost to the innermost in memory."""
    strides = self._layout.strides
    return tuple(sorted(range(self.ndim), key=lambda d: -strides[d]))


# -- dtype and device ----------------------------------------------------------------------------------


def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Another dtype, device or order: `x.to(fanal.float64)`, `x.to("cpu")`, `x.to(other)`.

    Returns the tensor itself where nothing changes, unless `copy=True`.
    """
    dtype, where = kwargs.get("dtype"), kwargs.get("device")
    copy, flags = kwargs.get("copy", False), 0
    for a in args:
        if isinstance(a, DType):
            dtype = a
        elif isinstance(a, Tensor):
            dtype = a.dtype
        elif isinstance(a, bool):  # non_blocking, copy
            flags += 1
            copy = a if flags == 2 else copy
        elif isinstance(a, str | device_type):
            where = a
        elif a is not None:
            raise TypeError(
                message("to", "not a dtype, device or tensor", repr(a), "fanal.float32, 'cpu', …")
            )
    if where is not None:
        device_type(where)
    memory_format = kwargs.get("memory_format")
    if dtype is not None and not isinstance(dtype, DType):
        raise TypeError(message("to", "not a dtype", repr(dtype), "fanal.float32, …"))
    if dtype is None or dtype is self.dtype:
        out: Tensor = shape.clone(self) if copy else self
    else:
        out = shape.to_dtype(self, dtype)
    return out if memory_format is None else contiguous(out, memory_format)


def cast_to(dtype: DType, name: str) -> Callable[..., Tensor]:
    """The method that converts to one dtype."""

    def method(self: Tensor, memory_format: Any = None) -> Tensor:
        return to(self, dtype)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"The tensor as {dtype.name}."
    return method


def type_as(self: Tensor, other: Tensor) -> Tensor:
    """The tensor in another's dtype."""
    return to(self, other.dtype)


TYPES = {
    "FloatTensor": dtypes.float32, "DoubleTensor": dtypes.float64, "HalfTensor": dtypes.float16,
    "BFloat16Tensor": dtypes.bfloat16, "LongTensor": dtypes.int64, "IntTensor": dtypes.int32,
    "ShortTensor": dtypes.int16, "CharTensor": dtypes.int8, "ByteTensor": dtypes.uint8,
    "BoolTensor": dtypes.bool_,
}  # fmt: skip


def type_of(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The old name of a tensor's type ("fanal.FloatTensor"); or the tensor in another dtype."""
    if dtype is None:
        names = {d: n for n, d in TYPES.items()}
        return f"fanal.{names.get(self.dtype, self.dtype.name)}"
    if isinstance(dtype, str):
        found = TYPES.get(dtype.rsplit(".", 1)[-1])
        if found is None:
            raise ValueError(message("type", "unknown tensor type", repr(dtype), ", ".join(TYPES)))
        dtype = found
    return to(self, getattr(dtype, "dtype", dtype))  # a dtype, or FloatTensor and its like


def as_subclass(self: Tensor, cls: type) -> Any:
    """The same memory as an instance of a subclass of Tensor."""
    if not issubclass(cls, Tensor):
        raise RuntimeError(message("as_subclass", "not a subclass of Tensor", cls.__name__))
    out = shared(self, self._layout, cls)
    out._node, out._index = self._current_node(), self._index
    return out


def device_moved(name: str) -> Callable[..., Tensor]:
    """`x.cuda()` and its like: an error that says which devices exist."""

    def method(self: Tensor, device: Any = None, non_blocking: bool = False) -> Tensor:
        return to(self, device_type(name))

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"Move to {name}: raises RuntimeError, as the CPU is the only device today."
    return method
