"""From a list of samples to a batch: tensors are stacked, containers keep their form."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

from fanal.core import dtypes
from fanal.core.errors import message
from fanal.ops.shape import stack
from fanal.tensor.creation import as_tensor, tensor
from fanal.tensor.interop import as_array
from fanal.tensor.layout import Layout, layout
from fanal.tensor.stacking import copy_rows
from fanal.tensor.tensor import Tensor, allocate

Collate = Callable[..., Any]
_TEXT = "SUOM"

# Where the memory of batches comes from; a worker process puts its shared memory here.
allocate_batch: Callable[[Layout], Tensor] = allocate


def default_convert(data: Any) -> Any:
    """NumPy arrays in nested containers as tensors; anything else as it is.

    What a loader without batches does with each sample.
    """
    if isinstance(data, Tensor | str | bytes):
        return data
    if isinstance(data, np.ndarray | np.generic):
        return data if data.dtype.kind in _TEXT else as_tensor(data)
    if isinstance(data, Mapping):
        return _like_mapping(data, {k: default_convert(data[k]) for k in data})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(default_convert(x) for x in data))
    if isinstance(data, tuple):
        return [default_convert(x) for x in data]
    if isinstance(data, Sequence):
        return _like_sequence(data, [default_convert(x) for x in data])
    return data


def _like_mapping(model: Any, items: dict[Any, Any]) -> Any:
    """A mapping of the model's type; a dict where that type can't be made so."""
    try:
        if isinstance(model, MutableMapping):
            made = copy.copy(model)
            made.update(items)
            return made
        return type(model)(items)
    except TypeError:
        return items


def _like_sequence(model: Any, items: list[Any]) -> Any:
    """A sequence of the model's type; a list where that type can't be made so."""
    try:
        if isinstance(model, MutableSequence):
            made = copy.copy(model)
            for i, x in enumerate(items):
                made[i] = x
            return made
        return type(model)(items)
    except TypeError:
        return items


def collate(batch: Sequence[Any], *, collate_fn_map: dict[Any, Collate] | None = None) -> Any:
    """A batch of samples of one form: each leaf is collated by the function of its type."""
    first = batch[0]
    kind = type(first)
    if collate_fn_map is not None:
        found = collate_fn_map.get(kind)
        if found is None:
            fits = (f for t, f in collate_fn_map.items() if isinstance(first, t))
            found = next(fits, None)
        if found is not None:
            return found(batch, collate_fn_map=collate_fn_map)

    def each(columns: Any) -> list[Any]:
        return [collate(c, collate_fn_map=collate_fn_map) for c in columns]

    if isinstance(first, Mapping):
        columns = each([d[key] for d in batch] for key in first)
        return _like_mapping(first, dict(zip(first, columns, strict=True)))
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return kind(*each(zip(*batch, strict=True)))
    if isinstance(first, Sequence):
        if any(len(x) != len(first) for x in batch):
            raise RuntimeError(
                message(
                    "default_collate", "each element in list of batch should be of equal size",
                    sorted({len(x) for x in batch}),
                )
            )
        columns = each(list(zip(*batch, strict=True)))
        return columns if isinstance(first, tuple) else _like_sequence(first, columns)
    if dataclasses.is_dataclass(first) and not isinstance(first, type):
        names = [f.name for f in dataclasses.fields(first) if f.init]
        columns = each([getattr(x, n) for x in batch] for n in names)
        return kind(**dict(zip(names, columns, strict=True)))
    raise _refused(kind)


def _refused(kind: Any) -> TypeError:
    return TypeError(
        message(
            "default_collate", "this type can't be put into a batch", kind,
            "tensors, numpy arrays, numbers, strings, dicts, lists, tuples or dataclasses",
            "collate_fn=… of DataLoader",
        )
    )


def collate_tensor_fn(batch: Sequence[Tensor], *, collate_fn_map: Any = None) -> Tensor:
    """Tensors of one shape as one tensor with a new first dimension."""
    first = batch[0]
    shape, dtype = first._layout.shape, first._layout.dtype
    for i, t in enumerate(batch):
        if t._layout.shape != shape:
            raise RuntimeError(
                message(
                    "default_collate", f"samples differ in shape (sample {i} from the first)",
                    f"{t._layout.shape} and {shape}", "equal shapes",
                    "padding in the dataset, or collate_fn=…",
                )
            )
    if any(t._layout.grad or t._layout.dtype is not dtype for t in batch):
        return stack(list(batch))
    out = allocate_batch(layout(dtype, (len(batch), *shape)))
    copy_rows(out, batch)
    return out


def collate_numpy_array_fn(batch: Sequence[Any], *, collate_fn_map: Any = None) -> Any:
    """NumPy arrays of one shape as one tensor."""
    if batch[0].dtype.kind in _TEXT:
        raise _refused(f"ndarray of {batch[0].dtype}")
    shape, dtype = batch[0].shape, batch[0].dtype
    if any(type(x) is not np.ndarray or x.shape != shape or x.dtype != dtype for x in batch):
        return collate([as_tensor(np.asarray(x)) for x in batch], collate_fn_map=collate_fn_map)
    out = allocate_batch(layout(dtypes.from_numpy_dtype(dtype), (len(batch), *shape)))
    memory = as_array(out)
    for i, x in enumerate(batch):
        memory[i] = x
    return out


def collate_numpy_scalar_fn(batch: Sequence[Any], *, collate_fn_map: Any = None) -> Any:
    """NumPy numbers as a tensor of their dtype."""
    return as_tensor(np.asarray(batch))


def collate_float_fn(batch: Sequence[float], *, collate_fn_map: Any = None) -> Tensor:
    """Python floats as a float64 tensor, as in PyTorch."""
    return tensor(batch, dtype=dtypes.float64)


def collate_int_fn(batch: Sequence[int], *, collate_fn_map: Any = None) -> Tensor:
    """Python integers (or bools) as an int64 (or bool) tensor."""
    return tensor(batch)


def collate_str_fn(batch: Any, *, collate_fn_map: Any = None) -> Any:
    """Strings stay as they are."""
    return batch


default_collate_fn_map: dict[Any, Collate] = {
    Tensor: collate_tensor_fn,
    np.ndarray: collate_numpy_array_fn,
    (np.bool_, np.number, np.object_): collate_numpy_scalar_fn,
    float: collate_float_fn,
    int: collate_int_fn,
    str: collate_str_fn,
    bytes: collate_str_fn,
}


def default_collate(batch: Sequence[Any]) -> Any:
    """Samples as a batch: what a loader does unless it is given `collate_fn`.

    Tensors and arrays are stacked; numbers become a tensor; strings stay a list; dicts, named
    tuples, dataclasses and lists keep their form, tuples become lists.

    >>> fanal.data.default_collate([(0, 1.5), (2, 3.5)])
    [tensor([0, 2]), tensor([1.5000, 3.5000], dtype=fanal.float64)]
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)
