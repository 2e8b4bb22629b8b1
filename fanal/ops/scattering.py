"""Writing at computed places: PyTorch's scatter and index functions, made of one primitive."""

from __future__ import annotations

import math
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused
from fanal.core.errors import OutOfRangeError, message
from fanal.core.limits import highest, lowest
from fanal.graph.ir import Value
from fanal.ops.arithmetic import floor_div_p, where_p
from fanal.ops.create import iota_p
from fanal.ops.gathering import check_along, check_index, wrapped
from fanal.ops.index import scatter_p
from fanal.ops.layout import expand_to, move_axis
from fanal.ops.pointwise import maximum, ne, where
from fanal.ops.primitive import normalize_dim
from fanal.ops.promotion import cast, constant
from fanal.ops.shape import reshaped

MODES = {"sum": "add", "add": "add", "prod": "mul", "multiply": "mul", "amax": "max", "amin": "min"}


def _places(index: Value, dim: int) -> list[Value]:
    return [
        index if d == dim else bind(iota_p, shape=index.shape, dim=d, dtype=dtypes.int64)
        for d in range(index.ndim)
    ]


def _same_dtype(name: str, x: Value, source: Value) -> None:
    if source.dtype is not x.dtype:
        raise RuntimeError(
            message(name, "dtypes differ", f"{x.dtype!r} and {source.dtype!r}", "one dtype",
                    "casting the source with .to(...)")
        )


def _written(name: str, x: Value, dim: int, index: Value, src: Any, mode: str) -> Value:
    """x with `src` (a tensor, or a number) written at index along a dimension."""
    d = normalize_dim(name, dim, x.ndim)
    index = check_index(name, index)
    shape = x.shape
    if math.prod(index.shape) == 0:
        return x
    if x.ndim == 0:
        x = reshaped(x, (1,))
    if index.ndim == 0:
        index = reshaped(index, (1,))
    check_along(name, x, index, d)
    if not isinstance(src, Value) or src.weak:
        updates = expand_to(cast(src, x.dtype), index.shape)
    else:
        _same_dtype(name, x, src)
        updates = src if src.ndim else reshaped(src, (1,))
        check_along(name, updates, index, -1)
        updates = _cropped(updates, index.shape)
    places = _places(index, d)
    out = bind(scatter_p, x, updates, *places, dims=tuple(range(x.ndim)), mode=mode)
    return reshaped(out, shape)


def _cropped(x: Value, shape: tuple[int, ...]) -> Value:
    from fanal.ops.layout import slice_dim

    for d, n in enumerate(shape):
        x = slice_dim(x, d, 0, n)
    return x


@fused(scalars=("value",))
def _scatter(input: Any, dim: int, index: Any, value: Any, mode: str) -> Any:
    return _written("scatter", input, dim, index, value, mode)


def scatter(
    input: Any, dim: int, index: Any, src: Any = None, *, value: Any = None,
    reduce: str | None = None,
) -> Any:  # fmt: skip
    """A copy of input with out[index[i][j]][j] = src[i][j] (for dim 0).

    `src` is a tensor or a number (`value`); with `reduce` ("add", "multiply") it is combined with
    what is there. Where several elements go to one place the last one wins.
    """
    return _scatter(input, dim, index, *scatter_source(src, value, reduce))


def scatter_source(src: Any, value: Any, reduce: str | None) -> tuple[Any, str]:
    """What `scatter` writes, and how."""
    source = value if src is None else src
    if source is None:
        raise TypeError(message("scatter", "nothing to write", None, "src or value"))
    if reduce is not None and reduce not in ("add", "multiply"):
        raise RuntimeError(message("scatter", "unknown reduce", repr(reduce), "'add' or 'multiply'"))
    return source, "set" if reduce is None else MODES[reduce]


@fused
def scatter_add(input: Any, dim: int, index: Any, src: Any) -> Any:
    """A copy of input with src[i][j] added to out[index[i][j]][j] (for dim 0)."""
    return _written("scatter_add", input, dim, index, src, "add")


def _identity(mode: str, x: Value) -> Value:
    number = {"add": 0, "mul": 1, "max": lowest(x.dtype), "min": highest(x.dtype)}[mode]
    return constant(number, x.dtype, x.shape)


@fused
def scatter_reduce(
    input: Any, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True
) -> Any:
    """Elements of src combined at the indexed places: "sum", "prod", "mean", "amax" or "amin".

    Without `include_self` the input counts only at places that nothing is written to.
    """
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError(
            message("scatter_reduce", "unknown reduce", repr(reduce), "sum, prod, mean, amax, amin")
        )

    def write(x: Value, value: Any, mode: str) -> Value:
        return _written("scatter_reduce", x, dim, index, value, mode)

    return _combined(write, input, src, reduce, include_self)


def _combined(write: Any, x: Value, src: Value, reduce: str, include_self: bool) -> Value:
    mode = MODES.get(reduce, "add")
    start = x
    touched: Any = None
    if not include_self or reduce == "mean":
        from fanal.core import dtypes

        flags = constant(0, dtypes.int64, x.shape)
        touched = write(flags, 1, "add")
    if not include_self:
        start = bind(where_p, touched > 0, _identity(mode, x), x)
    out = write(start, src, mode)
    if reduce == "mean":
        count = cast(maximum(touched + int(include_self), 1), x.dtype)
        out = out / count if x.dtype.kind == "f" else bind(floor_div_p, out, count)
    return out


# -- whole slices ------------------------------------------------------------------------------------


def _slices_written(
    name: str, x: Value, dim: int, index: Value, source: Any, mode: str
) -> Value:
    """x with slices along a dimension written at a vector of indices."""
    d = normalize_dim(name, dim, x.ndim)
    if index.ndim > 1:
        raise IndexError(message(name, "the index is not a vector", index.shape))
    shape = x.shape
    at = check_index(name, index)
    at = reshaped(at, (math.prod(at.shape),))
    x = x if x.ndim else reshaped(x, (1,))
    wanted = (*x.shape[:d], at.shape[0], *x.shape[d + 1 :])
    if not isinstance(source, Value) or source.weak or mode == "fill":
        updates = expand_to(cast(source, x.dtype), wanted)
    else:
        _same_dtype(name, x, source)
        if math.prod(source.shape) != math.prod(wanted) or (source.ndim and source.shape != wanted):
            raise OutOfRangeError(  # PyTorch's functions disagree on which error it is
                message(name, "the source does not fit the indexed slices", source.shape, str(wanted))
            )
        updates = reshaped(source, wanted)
    how = "set" if mode == "fill" else mode
    out = bind(scatter_p, x, move_axis(updates, d, 0), at, dims=(d,), mode=how)
    return reshaped(out, shape)


@fused(scalars=("alpha",))
def index_add(input: Any, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Any:
    """A copy of input with alpha · source added to the slices at a vector of indices."""
    if isinstance(alpha, Value) or alpha != 1:
        source = source * cast(alpha, source.dtype)
    return _slices_written("index_add", input, dim, index, source, "add")


@fused
def index_copy(input: Any, dim: int, index: Any, source: Any) -> Any:
    """A copy of input with the slices at a vector of indices replaced by those of source."""
    return _slices_written("index_copy", input, dim, index, source, "set")


@fused(scalars=("value",))
def index_fill(input: Any, dim: int, index: Any, value: Any) -> Any:
    """A copy of input with one number in the slices at a vector of indices."""
    if isinstance(value, Value) and value.ndim:
        raise RuntimeError(message("index_fill", "value is not a number or 0-d", value.shape))
    d = normalize_dim("index_fill", dim, input.ndim)
    extent = input.shape[d] if input.ndim else 1
    at = wrapped(check_index("index_fill", index), extent)
    # Written as a choice, since a number counts once in its gradient where an index is repeated.
    none = constant(0, dtypes.int64, (extent,))
    chosen = ne(_slices_written("index_fill", none, 0, at, 1, "set"), 0)
    along = tuple(extent if i == d else 1 for i in range(input.ndim))
    return where(reshaped(chosen, along), cast(value, input.dtype), input)


@fused
def index_reduce(
    input: Any, dim: int, index: Any, source: Any, reduce: str, *, include_self: bool = True
) -> Any:
    """Slices of source combined into those at a vector of indices: prod, mean, amax or amin."""
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(
            message("index_reduce", "unknown reduce", repr(reduce), "prod, mean, amax, amin")
        )

    def write(x: Value, value: Any, mode: str) -> Value:
        return _slices_written("index_reduce", x, dim, index, value, mode)

    return _combined(write, input, source, reduce, include_self)


@fused
def put(input: Any, index: Any, source: Any, accumulate: bool = False) -> Any:
    """A copy of input with source at positions of the flattened tensor, negative from the end."""
    n = math.prod(input.shape)
    at = wrapped(check_index("put", index), n)
    _same_dtype("put", input, source)
    if math.prod(at.shape) != math.prod(source.shape):
        raise IndexError(
            message("put", "as many elements as indices are needed", f"{source.shape} and {at.shape}")
        )
    count = math.prod(at.shape)
    if count == 0:
        return input
    flat, at, source = reshaped(input, (n,)), reshaped(at, (count,)), reshaped(source, (count,))
    out = bind(scatter_p, flat, source, at, dims=(0,), mode="add" if accumulate else "set")
    return reshaped(out, input.shape)
