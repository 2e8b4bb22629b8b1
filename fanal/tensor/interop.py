"""Passage to NumPy, DLPack, Python numbers and other processes."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from fanal.backends.native.runtime.layout import EXPORT
from fanal.core.dispatch import recorder, tracing
from fanal.core.errors import message
from fanal.tensor.lazy import Cell, settled
from fanal.tensor.tensor import Tensor


class _Memory:
    """An object with the array interface that keeps a tensor's storage alive, and known as exported."""

    __slots__ = ("__array_interface__", "storage")

    def __init__(self, t: Tensor):
        pointer = settled(t)._ptr
        size = t._layout.dtype.itemsize
        self.__array_interface__ = {
            "version": 3,
            "shape": t._layout.shape,
            "strides": tuple(s * size for s in t._layout.strides),
            "typestr": f"|V{size}" if t.dtype.name == "bfloat16" else t.dtype.numpy.str,
            "data": (pointer, False),
        }
        self.storage = t._storage  # of a traced tensor a cell: its known value is the tracer's
        if type(self.storage) is not Cell:
            self.storage.exports += EXPORT

    def __del__(self) -> None:
        storage = getattr(self, "storage", None)  # none where a lazy tensor's program failed
        if storage is not None and type(storage) is not Cell:
            storage.exports -= 1


def as_array(t: Tensor) -> np.ndarray:
    """A NumPy array of the same memory."""
    array = np.asarray(_Memory(t))
    return array.view(t.dtype.numpy) if t.dtype.name == "bfloat16" else array


def numpy(self: Tensor, *, force: bool = False) -> np.ndarray:
    """A NumPy array that shares this tensor's memory. bfloat16 uses ml_dtypes' dtype.

    Raises RuntimeError for a tensor that requires grad, unless `force`.
    """
    if self._layout.grad and not force:
        raise RuntimeError(
            message("numpy", "the tensor requires grad", hint="tensor.detach().numpy()")
        )
    return as_array(self)


def __array_wrap__(
    self: Tensor, array: Any, context: Any = None, return_scalar: bool = False
) -> Any:
    """What NumPy's universal functions of a tensor return: a tensor over the array they made."""
    from fanal.tensor.creation import as_tensor

    return array if array.dtype.kind == "c" else as_tensor(array)


def __array__(self: Tensor, dtype: Any = None, copy: bool | None = None) -> Any:
    array = numpy(self)
    if dtype is not None and array.dtype != dtype:
        if copy is False:
            raise ValueError(message("__array__", "another dtype needs a copy", dtype))
        return array.astype(dtype)
    return array.copy() if copy else array


def item(self: Tensor) -> bool | int | float:
    """The only element as a Python number; raises RuntimeError if there are more or none."""
    if self._layout.numel != 1:
        raise RuntimeError(
            message("item", "not exactly one element", tuple(self.shape), hint="tolist()")
        )
    found: bool | int | float = _answer(self, None)
    return found


def _answer(t: Tensor, convert: Any) -> Any:
    """The value of the only element, as what Python asked for. Whoever captures the call gets to know
    what that was: its path may depend on it."""
    listening = recorder()
    read = _READERS[t.dtype.name]
    if listening is None:
        value = read(t)
        return value if convert is None else convert(value)
    return listening.answer(t, read, convert)


def _reader(kind: Any) -> Any:
    return lambda t: kind.from_address(t._ptr).value


_READERS: dict[str, Any] = {
    "float32": _reader(ctypes.c_float), "float64": _reader(ctypes.c_double),
    "int64": _reader(ctypes.c_int64), "int32": _reader(ctypes.c_int32),
    "int16": _reader(ctypes.c_int16), "int8": _reader(ctypes.c_int8),
    "uint8": _reader(ctypes.c_uint8), "uint16": _reader(ctypes.c_uint16),
    "uint32": _reader(ctypes.c_uint32), "uint64": _reader(ctypes.c_uint64),
    "bool": _reader(ctypes.c_bool),
    "float16": lambda t: float(_array_of(t).reshape(())),
    "bfloat16": lambda t: float(_array_of(t).reshape(())),
}  # fmt: skip
_FEW = 64  # elements of a list on which a captured call's path may depend


def tolist(self: Tensor) -> Any:
    """Nested lists of Python numbers (a number for a 0-d tensor)."""
    listening = recorder()
    if listening is None or self._layout.numel > _FEW:
        return _listed(as_array(self), self)
    return listening.answer(self, lambda t: _listed(_array_of(t), t), None)


def _array_of(t: Tensor) -> np.ndarray:
    """An array of a tensor whose elements are there: nobody who listens is to hear of it."""
    with tracing(None):
        return as_array(t)


def _listed(array: np.ndarray, t: Tensor) -> Any:
    return (array.astype(np.float32) if t.dtype.name == "bfloat16" else array).tolist()


def _only(self: Tensor, what: str, convert: Any) -> Any:
    if self._layout.numel != 1:
        raise RuntimeError(
            message(
                what, "more or less than one element has no single value", tuple(self.shape),
                hint="any(), all() or item() on one element",
            )
        )
    return _answer(self, convert)


def __bool__(self: Tensor) -> bool:
    found: bool = _only(self, "bool", bool)
    return found


def __int__(self: Tensor) -> int:
    found: int = _only(self, "int", int)
    return found


def __float__(self: Tensor) -> float:
    found: float = _only(self, "float", float)
    return found


def __complex__(self: Tensor) -> complex:
    found: complex = _only(self, "complex", complex)
    return found


def __index__(self: Tensor) -> int:
    if self.dtype.kind not in "iub" or self._layout.numel != 1:
        raise TypeError(
            message("index", "only an integer tensor of one element is an index", str(self.dtype))
        )
    found: int = _answer(self, int)
    return found


def __dlpack__(self: Tensor, *, stream: Any = None, **options: Any) -> Any:
    """A DLPack capsule of this memory (also consumed by PyTorch, NumPy, JAX)."""
    array = numpy(self)
    if self.dtype.name == "bfloat16":
        raise BufferError(message("dlpack", "bfloat16 can't pass through NumPy's exporter"))
    return array.__dlpack__(**options) if options else array.__dlpack__()


def __dlpack_device__(self: Tensor) -> tuple[int, int]:
    return (1, 0)


def from_dlpack(x: Any) -> Tensor:
    """A tensor of the memory of any object with `__dlpack__` (zero copy)."""
    from fanal.tensor.creation import from_numpy

    array = np.from_dlpack(x)
    if not array.flags.writeable:
        array = array.copy()
    return from_numpy(array)


def __reduce_ex__(self: Tensor, protocol: int) -> Any:
    return (_rebuild, (as_array(self).copy(), self.requires_grad, type(self)))


def _rebuild(array: Any, requires_grad: bool, cls: type) -> Tensor:
    from fanal.tensor.creation import from_numpy
    from fanal.tensor.tensor import shared

    t = from_numpy(np.ascontiguousarray(array).reshape(array.shape))
    out = shared(t, t._layout, cls)
    return out.requires_grad_() if requires_grad else out


def __deepcopy__(self: Tensor, memo: dict[int, Any]) -> Tensor:
    """A copy of its own memory; only leaves can be copied, as in PyTorch."""
    if self._current_node() is not None:
        raise RuntimeError(
            message("deepcopy", "only leaf tensors can be copied", hint="detach() or clone()")
        )
    found = memo.get(id(self))
    if found is None:
        from fanal.tensor.tensor import new_tensor

        fresh = self.detach().clone()
        pointer = fresh._ptr  # first: it may bring the memory into being
        layout = fresh._layout.wanting(self._layout.grad)
        found = new_tensor(fresh._storage, layout, pointer, type(self))
        if self.grad is not None:
            found.grad = __deepcopy__(self.grad, memo)
        memo[id(self)] = found
    return found
