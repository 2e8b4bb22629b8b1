"""The less common ways of making tensors: given strides, foreign buffers, closed ranges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fanal.core import dtypes
from fanal.core.dtypes import DType
from fanal.core.errors import message
from fanal.core.symbols import size as size_of
from fanal.tensor.creation import (
    _flagged,
    _memory,
    _ramp,
    as_tensor,
    check_options,
    from_numpy,
    tensor,
)  # fmt: skip
from fanal.tensor.factory import factory
from fanal.tensor.layout import layout
from fanal.tensor.tensor import Tensor, allocate, new_tensor


@factory
def empty_strided(
    size: Sequence[int], stride: Sequence[int], *, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Uninitialised memory with given strides (in elements)."""
    extents, steps = tuple(map(size_of, size)), tuple(map(size_of, stride))
    if len(extents) != len(steps) or any(n < 0 for n in (*extents, *steps)):
        raise RuntimeError(
            message("empty_strided", "one stride of 0 or more a dimension is needed", (size, stride))
        )
    target = layout(check_options(dtype, device), extents, steps)
    reach = sum((n - 1) * s for n, s in zip(extents, steps, strict=True)) + 1
    count = reach if math.prod(extents) else 0
    memory = allocate(layout(target.dtype, (count,)))
    return _flagged(new_tensor(memory._storage, target, memory._ptr), requires_grad)


@factory
def empty_permuted(
    size: Sequence[int], physical_layout: Sequence[int], *, dtype: DType | None = None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Uninitialised memory whose dimensions lie in a given order, the outermost first."""
    if sorted(physical_layout) != list(range(len(size))):
        raise RuntimeError(
            message("empty_permuted", "the layout is not an order of the dimensions",
                    tuple(physical_layout), f"0 to {len(size) - 1}, each once")
        )
    strides, step = [0] * len(size), 1
    for d in reversed(physical_layout):
        strides[d] = step
        step *= max(int(size[d]), 1)
    made: Tensor = empty_strided(size, strides, dtype=dtype, device=device)
    return _flagged(made, requires_grad)


@factory
def range_closed(
    start: Any = 0, end: Any = None, step: Any = 1, *, dtype: DType | None = None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """start, start + step, … up to and with end (PyTorch's deprecated `range`; see `arange`)."""
    if end is None:
        start, end = 0, start
    if step == 0 or (end - start) * step < 0:
        raise RuntimeError(message("range", "the end can't be reached", f"{start} to {end} by {step}"))
    count = math.floor((end - start) / step) + 1
    return _flagged(_ramp(count, start, step, check_options(dtype, device)), requires_grad)


def scalar_tensor(
    s: Any, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A 0-d tensor of one number, in the default floating dtype."""
    return tensor(s, dtype=check_options(dtype, device), requires_grad=requires_grad)


def asarray(
    obj: Any, *, dtype: DType | None = None, device: Any = None, copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Anything as a tensor: tensors, arrays, objects with DLPack or a buffer, nested numbers.

    Memory is shared where possible, unless `copy=True`; `copy=False` raises ValueError otherwise.
    """
    if not isinstance(obj, Tensor | np.ndarray | bool | int | float | list | tuple):
        if hasattr(obj, "__dlpack__"):
            from fanal.tensor.interop import from_dlpack

            obj = from_dlpack(obj)
        elif not isinstance(obj, np.generic) and hasattr(obj, "__array__"):
            obj = np.asarray(obj)
        elif isinstance(obj, bytes | bytearray | memoryview):
            obj = frombuffer(obj, dtype=dtype or dtypes.get_default_dtype())
    out = as_tensor(obj, dtype, device)
    shared = out is obj or (isinstance(obj, np.ndarray) and np.shares_memory(_memory(out), obj))
    if copy is False and not shared:
        raise ValueError(message("asarray", "a copy is needed", hint="copy=None"))
    if copy and shared:
        out = out.detach().clone()
    return _flagged(out.detach() if requires_grad else out, requires_grad)


def frombuffer(
    buffer: Any, *, dtype: DType, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """A vector that shares the memory of a buffer (bytearray, mmap, …); read-only ones are copied."""
    view = memoryview(buffer).cast("B")
    rest = view.nbytes - offset
    size = rest // dtype.itemsize if count < 0 else count
    if offset < 0 or size <= 0 or size * dtype.itemsize > rest or (count < 0 and rest % dtype.itemsize):
        raise ValueError(
            message("frombuffer", "the buffer does not hold so many elements",
                    f"{view.nbytes} bytes, offset {offset}, count {count}", f"of {dtype.itemsize} bytes")
        )
    array = np.frombuffer(view, dtype.numpy, size, offset)
    return _flagged(from_numpy(array if array.flags.writeable else array.copy()), requires_grad)
