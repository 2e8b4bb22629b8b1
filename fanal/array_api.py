"""The Python Array API standard's namespace: `xp = x.__array_namespace__()`.

What programs written for any array library call: `fanal` itself, except for the functions whose
name PyTorch uses for something else (`sort` gives values and places there, `var` divides by n - 1,
`nonzero` gives a matrix), which are the standard's here. There are no complex numbers yet.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any, NamedTuple

import fanal
from fanal.core.dtypes import DType
from fanal.core.errors import message
from fanal.tensor.array_api import __array_namespace_info__ as __array_namespace_info__
from fanal.tensor.tensor import Tensor

__array_api_version__ = "2025.12"
Axis = int | Sequence[int] | None


def __getattr__(name: str) -> Any:
    """Everything else is fanal's."""
    return getattr(fanal, name)


def __dir__() -> list[str]:
    return [*set(globals()) | set(dir(fanal)), "linalg"]


equal = fanal.eq  # PyTorch's answers for whole tensors


# -- order ----------------------------------------------------------------------------------------------


def sort(x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The elements in order along a dimension."""
    return fanal.sort(x, axis, descending, stable=stable).values if x.ndim else x


def argsort(x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """Where the elements of the sorted tensor stand."""
    return fanal.argsort(x, axis, descending, stable)


def searchsorted(
    x1: Tensor, x2: Any, /, *, side: str = "left", sorter: Tensor | None = None
) -> Tensor:
    """Where each element of x2 would stand in x1, which is sorted."""
    values = x2 if isinstance(x2, Tensor) else fanal.asarray(x2, dtype=x1.dtype)
    return fanal.searchsorted(x1, values, right=side == "right", sorter=sorter)


def nonzero(x: Tensor, /) -> tuple[Tensor, ...]:
    """Where elements are not zero: a vector of indices for each dimension."""
    if x.ndim == 0:
        raise ValueError(message("nonzero", "a tensor without dimensions", hint="x != 0"))
    return fanal.nonzero(x, as_tuple=True)


# -- reductions -----------------------------------------------------------------------------------------


def _all_axes(x: Tensor, axis: Axis) -> tuple[int, ...]:
    if axis is None:
        return tuple(builtins.range(x.ndim))
    return (axis,) if isinstance(axis, int) else tuple(axis)


def _sum_dtype(x: Tensor, dtype: DType | None) -> DType | None:
    return fanal.uint64 if dtype is None and x.dtype.kind == "u" else dtype


def sum(x: Tensor, /, *, axis: Axis = None, dtype: DType | None = None, keepdims: bool = False) -> Tensor:
    """Σ over dimensions; small integers in 64 bits, unsigned ones stay unsigned."""
    dtype, axes = _sum_dtype(x, dtype), _all_axes(x, axis)
    if not axes:
        return x.to(dtype or (fanal.int64 if x.dtype.kind in "bi" else x.dtype))
    return fanal.sum(x, axes, keepdims, dtype=dtype)


def prod(x: Tensor, /, *, axis: Axis = None, dtype: DType | None = None, keepdims: bool = False) -> Tensor:
    """Π over dimensions; small integers in 64 bits, unsigned ones stay unsigned."""
    dtype = _sum_dtype(x, dtype) or (fanal.int64 if x.dtype.kind in "bi" else x.dtype)
    return _one_by_one(fanal.prod, x.to(dtype), axis, keepdims, dtype=dtype)


def _one_by_one(function: Any, x: Tensor, axis: Axis, keepdims: bool, **options: Any) -> Tensor:
    """A reduction that PyTorch has over one dimension, over several."""
    axes = {a % x.ndim for a in _all_axes(x, axis)}
    for a in sorted(axes):
        x = function(x, a, True, **options)
    kept = [n for d, n in enumerate(x.shape) if d not in axes]
    return x if keepdims else x.reshape(kept)


def max(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest element over dimensions."""
    axes = _all_axes(x, axis)
    return fanal.amax(x, axes, keepdims) if axes else x


def min(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The smallest element over dimensions."""
    axes = _all_axes(x, axis)
    return fanal.amin(x, axes, keepdims) if axes else x


def any(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether an element is not zero."""
    axes = _all_axes(x, axis)
    return fanal.any(x, axes, keepdims).bool() if axes else x.bool()


def all(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether no element is zero."""
    axes = _all_axes(x, axis)
    return fanal.all(x, axes, keepdims).bool() if axes else x.bool()


def mean(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The arithmetic mean over dimensions."""
    axes = _all_axes(x, axis)
    return fanal.mean(x, axes, keepdims) if axes else x


def var(x: Tensor, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """Σ (x - mean)² / (n - correction) over dimensions."""
    axes = _all_axes(x, axis)
    if not axes:
        return x * 0
    return fanal.var(x, axes, correction=correction, keepdim=keepdims)


def std(x: Tensor, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The square root of `var`."""
    return var(x, axis=axis, correction=correction, keepdims=keepdims) ** 0.5


def count_nonzero(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """How many elements are not zero."""
    return sum(x != 0, axis=axis, keepdims=keepdims)


def clip(x: Tensor, /, min: Any = None, max: Any = None) -> Tensor:
    """The elements, or the bounds that they exceed, in x's dtype."""
    if min is None and max is None:
        return x.clone()
    return fanal.clamp(x, min, max).to(x.dtype)


# -- shapes ---------------------------------------------------------------------------------------------


def squeeze(x: Tensor, /, axis: int | Sequence[int]) -> Tensor:
    """Without the dimensions `axis`, whose length must be 1."""
    axes = _all_axes(x, axis)
    if builtins.any(x.shape[a] != 1 for a in axes):
        raise ValueError(message("squeeze", "a length is not 1", tuple(x.shape), f"1 at {axis}"))
    return fanal.squeeze(x, axes)


def flip(x: Tensor, /, *, axis: Axis = None) -> Tensor:
    """Reversed along dimensions (all)."""
    return fanal.flip(x, _all_axes(x, axis)) if x.ndim else x


def roll(x: Tensor, /, shift: Any, *, axis: Axis = None) -> Tensor:
    """Elements moved along dimensions, those that leave coming in again."""
    several = not isinstance(shift, int) and not isinstance(axis, int) and axis is not None
    shifts = shift if isinstance(shift, int) or several else shift[0]
    if isinstance(shifts, int) and axis is not None and not isinstance(axis, int):
        shifts = [shifts] * len(axis)
    return fanal.roll(x, shifts, axis)


def concat(arrays: Sequence[Tensor], /, *, axis: int | None = 0) -> Tensor:
    """Tensors one after another along a dimension; None: all elements in one vector."""
    dtype = fanal.result_type(*arrays) if len(arrays) == 2 else arrays[0].dtype
    for x in arrays[1:]:
        dtype = fanal.promote_types(dtype, x.dtype)
    parts = [x.to(dtype) if axis is not None else x.to(dtype).reshape(-1) for x in arrays]
    return fanal.cat(parts, axis or 0)


def stack(arrays: Sequence[Tensor], /, *, axis: int = 0) -> Tensor:
    """Tensors of one shape along a new dimension."""
    return fanal.stack(list(arrays), axis)


def meshgrid(*arrays: Tensor, indexing: str = "xy") -> tuple[Tensor, ...]:
    """Coordinates of a grid; the standard's default order is "xy"."""
    if len(arrays) < 2:
        return tuple(arrays)
    return tuple(fanal.meshgrid(*arrays, indexing=indexing))


def take(x: Tensor, indices: Tensor, /, *, axis: int | None = None) -> Tensor:
    """The slices at indices along a dimension."""
    where = axis or 0
    flat = fanal.index_select(x, where, indices.reshape(-1).long())
    where %= x.ndim
    return flat.reshape((*x.shape[:where], *indices.shape, *x.shape[where + 1 :]))


def repeat(x: Tensor, repeats: Any, /, *, axis: int | None = None) -> Tensor:
    """Each element (each slice along `axis`) several times."""
    if isinstance(repeats, Tensor):
        repeats = repeats.long() if repeats.numel() != 1 else int(repeats)
    return fanal.repeat(x, repeats, axis=axis)


def tensordot(x1: Tensor, x2: Tensor, /, *, axes: Any = 2) -> Tensor:
    """Σ over the last `axes` dimensions of x1 and the first of x2, or over pairs of dimensions."""
    dtype = fanal.promote_types(x1.dtype, x2.dtype)
    return fanal.tensordot(x1.to(dtype), x2.to(dtype), axes)


def tril(x: Tensor, /, *, k: int = 0) -> Tensor:
    """The lower triangle."""
    return fanal.tril(x, k)


def triu(x: Tensor, /, *, k: int = 0) -> Tensor:
    """The upper triangle."""
    return fanal.triu(x, k)


# -- creation -------------------------------------------------------------------------------------------


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: Any = None) -> Tensor:
    """Ones on the k-th diagonal, zeros elsewhere."""
    columns = n_rows if n_cols is None else n_cols
    row, column = fanal.arange(n_rows).unsqueeze(1), fanal.arange(columns)
    return (column - row == k).to(dtype or fanal.get_default_dtype())


def full(shape: int | Sequence[int], fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """One number everywhere."""
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    return fanal.full(sizes, fill_value, dtype=dtype, device=device)


def linspace(
    start: float, stop: float, /, num: int, *, dtype: Any = None, device: Any = None, endpoint: bool = True
) -> Tensor:
    """`num` numbers at equal distances; `endpoint`: `stop` is the last of them."""
    if not endpoint:
        return fanal.linspace(start, stop, num + 1, dtype=dtype, device=device)[:-1].clone()
    return fanal.linspace(start, stop, num, dtype=dtype, device=device)


# -- dtypes ---------------------------------------------------------------------------------------------


class FloatInfo(NamedTuple):
    """Limits of a floating dtype."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


class IntInfo(NamedTuple):
    """Limits of an integer dtype."""

    bits: int
    max: int
    min: int
    dtype: DType


def _dtype_of(x: Any) -> DType:
    found: DType = x.dtype if isinstance(x, Tensor) else x
    return found


def finfo(type: Any, /) -> FloatInfo:
    """Limits of a floating dtype, or of a tensor's."""
    dtype = _dtype_of(type)
    found = fanal.finfo(dtype)
    return FloatInfo(found.bits, found.eps, found.max, found.min, found.smallest_normal, dtype)


def iinfo(type: Any, /) -> IntInfo:
    """Limits of an integer dtype, or of a tensor's."""
    dtype = _dtype_of(type)
    found = fanal.iinfo(dtype)
    return IntInfo(found.bits, found.max, found.min, dtype)


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The dtype that these are promoted to together; Python numbers follow the others."""
    numbers = [x for x in arrays_and_dtypes if isinstance(x, bool | int | float)]
    strong = [_dtype_of(x) for x in arrays_and_dtypes if not isinstance(x, bool | int | float)]
    if not strong:
        raise ValueError(message("result_type", "no tensor and no dtype", arrays_and_dtypes))
    found = strong[0]
    for dtype in strong[1:]:
        found = fanal.promote_types(found, dtype)
    for number in numbers:
        one = fanal.zeros(1, dtype=found)
        found = fanal.result_type(one, number)
    return found


_ORDER = {"b": 0, "u": 1, "i": 1, "f": 2}


def can_cast(from_: Any, to: DType, /) -> bool:
    """Whether promotion leads from a dtype (or a tensor's) to another."""
    source = _dtype_of(from_)
    if _ORDER[source.kind] != _ORDER[to.kind]:
        return False
    return fanal.promote_types(source, to) is to


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that shapes are broadcast to together."""
    try:
        return tuple(fanal.broadcast_shapes(*shapes))
    except RuntimeError as error:
        raise ValueError(*error.args) from None


def broadcast_to(x: Tensor, /, shape: Sequence[int]) -> Tensor:
    """Expanded to a shape."""
    return fanal.broadcast_to(x, tuple(shape))
