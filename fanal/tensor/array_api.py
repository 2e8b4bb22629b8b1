"""Names of the Python Array API standard (data-apis.org/array-api) that PyTorch does not have.

Where both have a name, Fanal's is PyTorch's; these are for programs written for any array library:
`xp = x.__array_namespace__()`.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from fanal.core import dtypes
from fanal.core.device import CPU
from fanal.core.device import device as device_type
from fanal.core.dtypes import DType
from fanal.core.errors import message
from fanal.ops.gathering import take_along_dim
from fanal.ops.ordering import argsort
from fanal.ops.pointwise import bitwise_not
from fanal.ops.rearranging import broadcast_tensors
from fanal.ops.reductions import sum as sum_of
from fanal.ops.running import cumprod, cumsum
from fanal.ops.shape import cat, flatten, permute, reshape, transpose, unbind, unsqueeze
from fanal.tensor.creation import full
from fanal.tensor.selection import repeat_interleave
from fanal.tensor.tensor import Tensor
from fanal.tensor.unique import unique

bitwise_invert = bitwise_not

_KINDS = {
    "bool": "b", "signed integer": "i", "unsigned integer": "u", "integral": "iu",
    "real floating": "f", "complex floating": "c", "numeric": "iufc",
}  # fmt: skip
# The standard has no bfloat16 and no float16.
_STANDARD = [d for d in dtypes.ALL if d not in (dtypes.float16, dtypes.bfloat16)]


class UniqueAll(NamedTuple):
    """Different values, where each first stands, where each element's value stands, how many."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """Different values and how often each is there."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """Different values, and for each element which of them it is."""

    values: Tensor
    inverse_indices: Tensor


# -- dtypes ---------------------------------------------------------------------------------------------


def astype(x: Tensor, dtype: DType, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """The elements in another dtype; `copy=False`: the tensor itself where it has that dtype."""
    if device is not None:
        device_type(device)
    return x.to(dtype, copy=copy)


def isdtype(dtype: DType, kind: DType | str | tuple[DType | str, ...]) -> bool:
    """Whether a dtype is of a kind: a dtype, a name such as "real floating", or one of a tuple.

    >>> fanal.isdtype(fanal.int8, ("integral", fanal.float32))
    True
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, DType):
        return dtype is kind
    if kind not in _KINDS:
        raise ValueError(message("isdtype", "no such kind", repr(kind), ", ".join(_KINDS)))
    return dtype.kind in _KINDS[kind]


# -- shapes ---------------------------------------------------------------------------------------------


def permute_dims(x: Tensor, /, axes: Sequence[int]) -> Tensor:
    """The dimensions in another order: `permute`."""
    found: Tensor = permute(x, tuple(axes))
    return found


def expand_dims(x: Tensor, /, axis: int | Sequence[int] = 0) -> Tensor:
    """New dimensions of length 1 at `axis` (places in the result)."""
    places = (axis,) if isinstance(axis, int) else tuple(axis)
    ndim = x.ndim + len(places)
    if any(not -ndim <= p < ndim for p in places) or len({p % ndim for p in places}) < len(places):
        raise IndexError(
            message("expand_dims", "axis out of range or there twice", axis, f"-{ndim} to {ndim - 1}")
        )
    for p in sorted(p % ndim for p in places):
        x = unsqueeze(x, p)
    return x


def matrix_transpose(x: Tensor, /) -> Tensor:
    """The last two dimensions exchanged."""
    if x.ndim < 2:
        raise ValueError(
            message("matrix_transpose", "not a matrix", tuple(x.shape), "two dimensions or more")
        )
    found: Tensor = transpose(x, -2, -1)
    return found


def broadcast_arrays(*arrays: Tensor) -> tuple[Tensor, ...]:
    """The tensors expanded to one shape: `broadcast_tensors`."""
    return tuple(broadcast_tensors(*arrays))


def unstack(x: Tensor, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices along a dimension: `unbind`."""
    return tuple(unbind(x, axis))


def repeat(x: Tensor, repeats: Any, /, *, axis: int | None = None) -> Tensor:
    """Each element (each slice along `axis`) several times: `repeat_interleave`."""
    found: Tensor = repeat_interleave(x, repeats, axis)
    return found


# -- values ---------------------------------------------------------------------------------------------


def take_along_axis(x: Tensor, indices: Tensor, /, *, axis: int = -1) -> Tensor:
    """The elements at indices along a dimension: `take_along_dim`."""
    found: Tensor = take_along_dim(x, indices, axis)
    return found


def vecdot(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """Σ x1·x2 along a dimension that both have; the others are broadcast."""
    if x1.shape[axis] != x2.shape[axis]:
        raise ValueError(
            message("vecdot", f"lengths along axis {axis} differ", tuple(x1.shape), str(tuple(x2.shape)))
        )
    product = x1 * x2
    found: Tensor = sum_of(product, axis, dtype=product.dtype)
    return found


def cumulative_sum(
    x: Tensor, /, *, axis: int | None = None, dtype: DType | None = None, include_initial: bool = False
) -> Tensor:
    """Σ of the elements up to each; `include_initial`: a 0 in front. `axis` is needed above 1-d."""
    return _cumulative("cumulative_sum", cumsum, 0, x, axis, dtype, include_initial)


def cumulative_prod(
    x: Tensor, /, *, axis: int | None = None, dtype: DType | None = None, include_initial: bool = False
) -> Tensor:
    """Π of the elements up to each; `include_initial`: a 1 in front. `axis` is needed above 1-d."""
    return _cumulative("cumulative_prod", cumprod, 1, x, axis, dtype, include_initial)


def _cumulative(
    name: str, function: Any, first: int, x: Tensor, axis: int | None, dtype: DType | None,
    include_initial: bool,
) -> Tensor:  # fmt: skip
    if axis is None:
        if x.ndim > 1:
            raise ValueError(message(name, "axis is missing", f"{x.ndim} dimensions", "one, or axis"))
        axis = 0
    if dtype is None and x.dtype.kind == "u":
        dtype = dtypes.uint64
    found: Tensor = function(x, axis, dtype=dtype)
    if include_initial:
        shape = list(found.shape)
        shape[axis] = 1
        found = cat([full(shape, first, dtype=found.dtype), found], axis)
    return found


def unique_values(x: Tensor, /) -> Tensor:
    """The different values, sorted."""
    found: Tensor = unique(x)
    return found


def unique_counts(x: Tensor, /) -> UniqueCounts:
    """The different values, sorted, and how often each is there."""
    values, counts = unique(x, return_counts=True)
    return UniqueCounts(values, counts)


def unique_inverse(x: Tensor, /) -> UniqueInverse:
    """The different values, sorted, and for each element which of them it is."""
    values, inverse = unique(x, return_inverse=True)
    return UniqueInverse(values, reshape(inverse, tuple(x.shape)))


def unique_all(x: Tensor, /) -> UniqueAll:
    """The different values, sorted; where each first stands in `flatten(x)`; inverse; counts."""
    values, inverse, counts = unique(x, return_inverse=True, return_counts=True)
    order = argsort(flatten(inverse), stable=True)
    first = order[cumsum(counts, 0) - counts]
    return UniqueAll(values, first, reshape(inverse, tuple(x.shape)), counts)


# -- what there is --------------------------------------------------------------------------------------


class NamespaceInfo:
    """Devices, dtypes and abilities, in the standard's words."""

    def capabilities(self) -> dict[str, Any]:
        """What works: masks as indices, results whose shape depends on values."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": None}

    def default_device(self) -> Any:
        """Where tensors are made."""
        return CPU

    def devices(self) -> tuple[Any, ...]:
        """The devices that there are."""
        return (CPU,)

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        """The dtypes of new tensors; there are no complex ones."""
        return {
            "real floating": dtypes.get_default_dtype(), "integral": dtypes.int64,
            "indexing": dtypes.int64,
        }  # fmt: skip

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, DType]:
        """The standard's dtypes, by name; only those of a kind where one is given."""
        return {d.name: d for d in _STANDARD if kind is None or isdtype(d, kind)}


def __array_namespace_info__() -> NamespaceInfo:
    """What the library can do, for programs that work with any: see `NamespaceInfo`."""
    return NamespaceInfo()


def __array_namespace__(self: Tensor, *, api_version: str | None = None) -> Any:
    """The standard's functions for this tensor: `fanal.array_api`."""
    return importlib.import_module("fanal.array_api")


def to_device(self: Tensor, device: Any, /, *, stream: Any = None) -> Tensor:
    """The tensor on a device; there is only the CPU."""
    device_type(device)
    return self
