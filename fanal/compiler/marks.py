"""Sizes of tensors that users marked, as `torch._dynamo.mark_dynamic` and `mark_static` do."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import NamedTuple

from fanal.core.errors import message
from fanal.ops.primitive import normalize_dim
from fanal.tensor.tensor import Tensor


class Mark(NamedTuple):
    """A dimension that changes (within bounds, where they are known), or never does."""

    dynamic: bool
    low: int | None = None
    high: int | None = None


_marks: dict[int, tuple[weakref.ref[Tensor], dict[int, Mark]]] = {}


def mark_dynamic(
    t: Tensor, index: int | Iterable[int], *, min: int | None = None, max: int | None = None
) -> None:
    """Let programs that are captured with this tensor serve other sizes of a dimension (or several), too.

    A compiled function finds out by itself which sizes change; a mark says so before its first call. min,
    max: bounds of the sizes to come, 2 and none where they are not given.

    >>> fanal.compiler.mark_dynamic(x, 0)
    """
    for dim in _dims("mark_dynamic", t, index):
        size = t.shape[dim]
        if (min is not None and size < min) or (max is not None and size > max):
            raise ValueError(
                message("mark_dynamic", "the size is out of the given bounds", size, f"{min} to {max}")
            )
        _put(t, dim, Mark(True, min, max))


def mark_static(t: Tensor, index: int | Iterable[int] | None = None) -> None:
    """Let programs that are captured with this tensor be for the size that a dimension has (all of them,
    if none is given), also where `dynamic=True`."""
    for dim in _dims("mark_static", t, range(t.ndim) if index is None else index):
        _put(t, dim, Mark(False))


def mark_of(t: Tensor, dim: int) -> Mark | None:
    """The mark of a dimension, if it has one."""
    found = _marks.get(id(t))
    return None if found is None else found[1].get(dim)


def is_marked(t: Tensor) -> bool:
    """Whether some dimension is marked as one that changes."""
    found = _marks.get(id(t))
    return found is not None and any(mark.dynamic for mark in found[1].values())


def _dims(name: str, t: Tensor, index: int | Iterable[int]) -> list[int]:
    if not isinstance(t, Tensor):
        raise TypeError(message(name, "not a tensor", type(t).__name__, "a Tensor"))
    return [normalize_dim(name, d, t.ndim) for d in ((index,) if isinstance(index, int) else index)]


def _put(t: Tensor, dim: int, mark: Mark) -> None:
    key = id(t)
    if key not in _marks:
        _marks[key] = (weakref.ref(t, lambda _: _marks.pop(key, None)), {})
    _marks[key][1][dim] = mark
