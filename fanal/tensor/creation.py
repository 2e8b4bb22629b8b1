"""Making tensors: from numbers, nested lists, NumPy arrays, shapes."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from fanal.backends.native.executable import runtime
from fanal.core import dtypes
from fanal.core.device import device as device_type
from fanal.core.dispatch import bind, fused, recorder
from fanal.core.dtypes import DType
from fanal.core.errors import message
from fanal.core.symbols import is_symbolic, largest, real
from fanal.graph.ir import Value
from fanal.ops.arithmetic import cast_p
from fanal.ops.create import iota_p
from fanal.ops.pointwise import eq
from fanal.ops.promotion import cast, constant
from fanal.tensor import inplace
from fanal.tensor.factory import factory
from fanal.tensor.layout import Layout, layout
from fanal.tensor.tensor import Tensor, allocate, new_tensor, shared

_wrap = runtime.wrap


def shape_of(size: Sequence[Any]) -> tuple[int, ...]:
    """A shape from `f(2, 3)` or `f((2, 3))`; raises for negative extents."""
    if len(size) == 1 and isinstance(size[0], tuple | list):
        size = size[0]
    if all([type(n) is int and n >= 0 for n in size]):
        return tuple(size)
    shape = tuple(
        int(n.item()) if isinstance(n, Tensor) else n if is_symbolic(n) else int(n.__index__())
        for n in size
    )
    if any(n < 0 for n in shape):
        raise RuntimeError(message("empty", "a negative extent", shape, "extents of 0 or more"))
    return shape


def check_options(dtype: Any, device: Any, default: DType | None = None) -> DType:
    """The dtype meant by a factory's arguments; raises for an unknown device."""
    if device is not None:
        device_type(device)
    if dtype is None:
        return default or dtypes.get_default_dtype()
    if not isinstance(dtype, DType):
        raise TypeError(message("dtype", "not a dtype", repr(dtype), "fanal.float32, …"))
    return dtype


def _fresh(where: Layout) -> Tensor:
    """A tensor of memory that nobody has written to."""
    listening = recorder()
    return allocate(where) if listening is None else listening.empty(where)


def _flagged(t: Tensor, requires_grad: bool) -> Tensor:
    return t.requires_grad_() if requires_grad else t


@factory
def empty(
    *size: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """A tensor of the given shape with whatever is in memory."""
    kind = check_options(dtype, device)
    return _flagged(_fresh(layout(kind, shape_of(size))), requires_grad)


@fused(scalars=("value",))
def _filled(shape: tuple[int, ...], value: Any, dtype: DType) -> Any:
    from fanal.ops.layout import expand_to

    if isinstance(value, Value):
        return expand_to(cast(value, dtype), shape)
    return constant(value, dtype, shape)


def _constant(size: tuple[Any, ...], value: int, dtype: DType, requires_grad: bool) -> Tensor:
    made = _fresh(layout(dtype, shape_of(size)))
    inplace.fill_(made, value)
    made._storage.version = 0  # nothing was overwritten
    return _flagged(made, requires_grad)


@factory
def full(
    size: Sequence[int], fill_value: Any, *, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """A tensor filled with one number; its dtype is the number's by default."""
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    kind = check_options(dtype, device, dtypes.scalar_dtype(fill_value))
    return _flagged(_filled(shape_of(tuple(size)), fill_value, kind), requires_grad)


@factory
def zeros(
    *size: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """A tensor of zeros."""
    return _constant(size, 0, check_options(dtype, device), requires_grad)


@factory
def ones(
    *size: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """A tensor of ones."""
    return _constant(size, 1, check_options(dtype, device), requires_grad)


def _like(input: Tensor, dtype: DType | None, device: Any) -> Layout:
    kind = check_options(dtype, device, input.dtype)
    strides = input._layout.strides if input._layout.dense else None
    return layout(kind, input._layout.shape, strides)


@factory
def empty_like(input: Tensor, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Uninitialised memory of a tensor's shape (and dtype)."""
    return _flagged(_fresh(_like(input, dtype, device)), requires_grad)


@factory
def zeros_like(input: Tensor, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of a tensor's shape (and dtype)."""
    return _flagged(empty_like(input, dtype=dtype, device=device).zero_(), requires_grad)


@factory
def ones_like(input: Tensor, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of a tensor's shape (and dtype)."""
    return _flagged(empty_like(input, dtype=dtype, device=device).fill_(1), requires_grad)


@factory
def full_like(input: Tensor, fill_value: Any, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """One number in a tensor's shape (and dtype)."""
    return _flagged(empty_like(input, dtype=dtype, device=device).fill_(fill_value), requires_grad)


@fused(scalars=("start", "step"))
def _ramp(count: int, start: Any, step: Any, dtype: DType) -> Any:
    wide = dtypes.float64 if dtype.kind == "f" else dtypes.int64
    index = bind(iota_p, shape=(count,), dim=0, dtype=wide)
    return bind(cast_p, index * cast(step, wide) + cast(start, wide), dtype=dtype)


@factory
def arange(
    start: Any = 0, end: Any = None, step: Any = 1, *, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """start, start + step, … below end; int64 for integers, else the default floating dtype."""
    if end is None:
        start, end = 0, start
    if type(start) is type(end) is type(step) is int:
        integral = True
    else:
        numbers = [x.item() if isinstance(x, Tensor) else x for x in (start, end, step)]
        start, end, step = numbers
        integral = all(isinstance(x, int) for x in numbers)
        if not all(isinstance(x, int) or math.isfinite(x) for x in numbers):
            raise RuntimeError(
                message("arange", "the range is not finite", f"{start} to {end} by {step}")
            )
    if step == 0:
        raise RuntimeError(message("arange", "step is zero", None, "a step that is not 0"))
    if (end - start) * step < 0:
        raise RuntimeError(
            message("arange", "the end can't be reached", f"{start} to {end} by {step}")
        )
    kind = check_options(dtype, device, dtypes.int64 if integral else None)
    count = -((start - end) // step) if integral else math.ceil((end - start) / step)
    return _flagged(_ramp(count, start, step, kind), requires_grad)


@factory
def linspace(
    start: Any, end: Any, steps: int, *, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """`steps` numbers at equal distances from start to end, both included."""
    start, end = (x.item() if isinstance(x, Tensor) else x for x in (start, end))
    if not isinstance(steps, int):
        raise TypeError(message("linspace", "steps is not an int", type(steps).__name__))
    if steps < 0:
        raise RuntimeError(message("linspace", "a negative number of steps", steps))
    kind = check_options(dtype, device)
    return _flagged(_spaced(steps, float(start), float(end), kind), requires_grad)


@fused(scalars=("start", "end"))
def _spaced(steps: int, start: Any, end: Any, dtype: DType) -> Any:
    from fanal.ops.pointwise import where

    wide = dtypes.float64
    i = bind(iota_p, shape=(steps,), dim=0, dtype=wide)
    first, last = cast(start, wide), cast(end, wide)
    step = (last - first) / real(largest(steps - 1, 1))
    # From both ends, so that the last one is exact.
    upper = last - step * (real(steps - 1) - i)
    result = where(i < steps / 2, first + step * i, upper)
    return bind(cast_p, result, dtype=dtype)


@factory
def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, dtype: DType | None = None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """base to the powers start … end at equal distances."""
    kind = check_options(dtype, device)
    start, end = (x.item() if isinstance(x, Tensor) else x for x in (start, end))
    if kind.kind != "f":  # of whole numbers, as in PyTorch, base and ends are cut first
        start, end, base = int(start), int(end), int(base)
    exponents = linspace(start, end, steps, dtype=dtypes.float64)
    from fanal.ops.pointwise import pow_general

    return _flagged(pow_general(float(base), exponents).to(kind), requires_grad)


@factory
def eye(
    n: int, m: int | None = None, *, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Ones on the diagonal, zeros elsewhere."""
    kind = check_options(dtype, device)
    if n < 0 or (m is not None and m < 0):
        raise RuntimeError(message("eye", "a negative extent", (n, m)))
    return _flagged(_eye(n, n if m is None else m, kind), requires_grad)


@fused
def _eye(n: int, m: int, dtype: DType) -> Any:
    rows = bind(iota_p, shape=(n, m), dim=0, dtype=dtypes.int64)
    columns = bind(iota_p, shape=(n, m), dim=1, dtype=dtypes.int64)
    return bind(cast_p, eq(rows, columns), dtype=dtype)


# -- from Python and NumPy ----------------------------------------------------------------------------


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor that shares a NumPy array's memory (any strides). The array must be writable."""
    if not isinstance(array, np.ndarray):
        raise TypeError(message("from_numpy", "not a NumPy array", type(array).__name__))
    kind = dtypes.from_numpy_dtype(array.dtype)
    if not array.dtype.isnative:
        raise ValueError(message("from_numpy", "foreign byte order", array.dtype))
    size = array.itemsize
    strides = tuple([s // size for s in array.strides])
    if any([s % size for s in array.strides]):
        raise ValueError(message("from_numpy", "strides are not whole elements", array.strides))
    pointer = array.__array_interface__["data"][0]
    storage = _wrap(pointer, array.nbytes, array)
    return new_tensor(storage, layout(kind, array.shape, strides), pointer)


def _to_array(data: Any) -> tuple[np.ndarray, DType]:
    """Nested numbers, arrays or tensors as an array, and the dtype that they ask for."""
    if isinstance(data, np.ndarray | np.generic):
        array = np.asarray(data)
        return array, dtypes.from_numpy_dtype(array.dtype)
    if hasattr(data, "__array__"):  # a pandas Series or DataFrame, say
        return _to_array(np.asarray(data))
    if isinstance(data, list | tuple) and _holds_tensor(data):
        data = _without_tensors(data)
    try:
        array = np.array(data)
    except ValueError as error:
        raise ValueError(
            message("tensor", "rows of different lengths", hint="lists of equal lengths")
        ) from error
    if array.dtype.kind == "O" or array.dtype.kind in "USM":
        raise TypeError(
            message("tensor", "not numbers", type(data).__name__, "numbers, nested lists, arrays")
        )
    if array.size == 0 and not isinstance(data, np.ndarray):
        return array, dtypes.get_default_dtype()
    if array.dtype.kind == "f" and not _numpy_floats(data):
        return array, dtypes.get_default_dtype()
    if array.dtype.kind == "u":
        return array, dtypes.int64
    return array, dtypes.from_numpy_dtype(array.dtype)


def _numpy_floats(data: Any) -> bool:
    while isinstance(data, list | tuple) and data:
        data = data[0]
    return isinstance(data, np.generic | np.ndarray)


def _holds_tensor(data: Any) -> bool:
    while isinstance(data, list | tuple) and data:
        data = data[0]
    return isinstance(data, Tensor)


def _without_tensors(data: Any) -> Any:
    if isinstance(data, Tensor):
        return data.detach().numpy() if data.ndim else data.item()
    return [_without_tensors(x) for x in data] if isinstance(data, list | tuple) else data


# What a few numbers of one Python type become, and how they are written to memory.
_NATURAL = {int: dtypes.int64, bool: dtypes.bool_}
_CODES = {dtypes.float32: "f", dtypes.float64: "d", dtypes.int64: "q", dtypes.bool_: "?"}
_FEW = 64


def _packed(data: Any, dtype: DType | None, device: Any) -> Tensor | None:
    """A number, or a flat list of a few numbers of one type, without a detour by NumPy."""
    kind = type(data)
    if kind is list or kind is tuple:
        if not 0 < len(data) <= _FEW:
            return None
        found = {type(x) for x in data}
        if len(found) > 1:
            return None
        kind, shape = found.pop(), (len(data),)
    else:
        shape, data = (), (data,)  # type: ignore[assignment]
    if kind is not float and kind not in _NATURAL:
        return None
    target = check_options(dtype, device, _NATURAL.get(kind))
    if target not in _CODES or (kind is float and target.kind != "f"):
        return None
    out = allocate(layout(target, shape))
    try:
        struct.pack_into(f"{len(data)}{_CODES[target]}", out._storage, 0, *data)
    except (struct.error, OverflowError):  # a number that the dtype does not hold
        return None
    return out


def tensor(
    data: Any, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """A new tensor with a copy of `data`: numbers, nested lists, a NumPy array.

    Floats get the default floating dtype, integers int64, bools bool.

    >>> fanal.tensor([[1.0, 2.0], [3.0, 4.0]]).sum()
    tensor(10.)
    """
    if isinstance(data, Tensor):
        kind = check_options(dtype, device, data.dtype)
        return _flagged(data.detach().clone().to(kind), requires_grad)
    made = _packed(data, dtype, device)
    if made is not None:
        return _flagged(_adopted(made), requires_grad)
    array, natural = _to_array(data)
    kind = check_options(dtype, device, natural)
    with np.errstate(all="ignore"):
        array = np.array(array, dtype=kind.numpy, order="C", copy=True)
    out = allocate(layout(kind, array.shape))
    if array.nbytes:
        _memory(out)[...] = array
    return _flagged(_adopted(out), requires_grad)


def _adopted(made: Tensor) -> Tensor:
    """A new tensor; where calls are captured, as a value of what is captured."""
    listening = recorder()
    return made if listening is None else listening.adopt(made)


def _memory(t: Tensor) -> np.ndarray:
    """A NumPy view of a tensor's memory."""
    from fanal.tensor.interop import as_array

    return as_array(t)


def as_tensor(data: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """`data` as a tensor, without a copy where it is one already or a NumPy array."""
    if isinstance(data, Tensor):
        return data if dtype is None else data.to(dtype)
    if isinstance(data, np.ndarray) and data.dtype.isnative and data.flags.writeable:
        out = from_numpy(data)
        return out if dtype is None else out.to(dtype)
    return tensor(data, dtype=dtype, device=device)


def legacy_tensor(cls: type, data: Any = None, *rest: Any) -> Tensor:
    """`Tensor(2, 3)` (uninitialised) and `Tensor([…])`, in the default dtype."""
    if data is None:
        made = empty(0)
    elif isinstance(data, int):
        made = empty(data, *rest)
    elif isinstance(data, Tensor):
        made = data.detach()
    else:
        made = tensor(data, dtype=dtypes.get_default_dtype())
    if cls is Tensor:
        return made
    return shared(made, made._layout, cls)
