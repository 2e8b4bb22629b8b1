"""Public functions that rearrange: views where strides can express them, copies where not.

Functions marked `view=True` share memory with their input in eager mode, as in PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fanal.core.dispatch import bind, fused
from fanal.core.errors import message
from fanal.graph.ir import Value
from fanal.ops.arithmetic import cast_p
from fanal.ops.layout import (
    concat_p,
    expand_p,
    flip_p,
    pad_p,
    permute_p,
    reshape_p,
    slice_dim,
)
from fanal.ops.primitive import normalize_dim
from fanal.ops.promotion import cast, result_type

Ints = Sequence[int]


def reshaped(x: Value, shape: Ints) -> Value:
    """`x` under another shape (no node when it has it)."""
    return x if x.shape == tuple(shape) else bind(reshape_p, x, shape=tuple(shape))


def permuted(x: Value, dims: Ints) -> Value:
    """`x` with dimensions in another order (no node when they are)."""
    if tuple(dims) == tuple(range(x.ndim)):
        return x
    return bind(permute_p, x, dims=tuple(dims))


def infer_shape(name: str, shape: Ints, numel: int) -> tuple[int, ...]:
    """A shape with its -1 replaced; raises RuntimeError where the element count does not fit."""
    known = math.prod(n for n in shape if n != -1)
    if sum(n == -1 for n in shape) > 1 or any(n < -1 for n in shape):
        raise RuntimeError(message(name, "invalid shape", tuple(shape), "at most one -1"))
    if -1 in shape:
        if known == 0 or numel % known:
            raise RuntimeError(
                message(name, "shape does not fit", tuple(shape), f"a shape of {numel} elements")
            )
        return tuple(numel // known if n == -1 else n for n in shape)
    if known != numel:
        raise RuntimeError(
            message(name, "shape does not fit", tuple(shape), f"a shape of {numel} elements")
        )
    return tuple(shape)


@fused(view=True)
def reshape(input: Any, shape: Ints) -> Any:
    """The same elements under another shape; one extent may be -1. A view where possible."""
    return reshaped(input, infer_shape("reshape", shape, math.prod(input.shape)))


@fused(view=True)
def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Dimensions start_dim..end_dim as one."""
    if input.ndim == 0:
        return reshaped(input, (1,))
    first = normalize_dim("flatten", start_dim, input.ndim)
    last = normalize_dim("flatten", end_dim, input.ndim)
    if first > last:
        raise RuntimeError(message("flatten", "start_dim comes after end_dim", (first, last)))
    middle = math.prod(input.shape[first : last + 1])
    return reshaped(input, (*input.shape[:first], middle, *input.shape[last + 1 :]))


@fused(view=True)
def unflatten(input: Any, dim: int, sizes: Ints) -> Any:
    """One dimension as several."""
    dim = normalize_dim("unflatten", dim, input.ndim)
    sizes = infer_shape("unflatten", sizes, input.shape[dim])
    return reshaped(input, (*input.shape[:dim], *sizes, *input.shape[dim + 1 :]))


@fused(view=True)
def permute(input: Any, dims: Ints) -> Any:
    """The dimensions in the given order."""
    if len(dims) != input.ndim:
        raise RuntimeError(
            message("permute", "wrong number of dimensions", tuple(dims), f"{input.ndim} of them")
        )
    order = [normalize_dim("permute", d, input.ndim) for d in dims]
    if len(set(order)) != len(order):
        raise RuntimeError(message("permute", "a dimension appears twice", tuple(dims)))
    return permuted(input, order)


@fused(view=True)
def transpose(input: Any, dim0: int, dim1: int) -> Any:
    """Two dimensions exchanged."""
    a = normalize_dim("transpose", dim0, input.ndim)
    b = normalize_dim("transpose", dim1, input.ndim)
    dims = list(range(input.ndim))
    if dims:
        dims[a], dims[b] = b, a
    return permuted(input, dims)


@fused(view=True)
def t(input: Any) -> Any:
    """A matrix transposed; vectors and scalars are themselves."""
    if input.ndim > 2:
        raise RuntimeError(
            message("t", "more than two dimensions", tuple(input.shape), hint="transpose() or .mT")
        )
    return permuted(input, range(input.ndim)[::-1])


@fused(view=True)
def movedim(input: Any, source: int | Ints, destination: int | Ints) -> Any:
    """Dimensions moved to other places, the rest in their order."""
    sources = [source] if isinstance(source, int) else list(source)
    targets = [destination] if isinstance(destination, int) else list(destination)
    sources = [normalize_dim("movedim", d, input.ndim) for d in sources]
    targets = [normalize_dim("movedim", d, input.ndim) for d in targets]
    if len(set(sources)) != len(sources) or len(set(targets)) != len(sources):
        raise RuntimeError(message("movedim", "dimensions repeat or differ in number", None))
    order = [d for d in range(input.ndim) if d not in sources]
    for to, d in sorted(zip(targets, sources, strict=True)):
        order.insert(to, d)
    return permuted(input, order) if input.ndim else input


@fused(view=True)
def squeeze(input: Any, dim: int | Ints | None = None) -> Any:
    """Dimensions of extent 1 removed: all, or the given ones."""
    if dim is None:
        return reshaped(input, [n for n in input.shape if n != 1])
    dims = [dim] if isinstance(dim, int) else list(dim)
    gone = {normalize_dim("squeeze", d, input.ndim) for d in dims}
    return reshaped(input, [n for d, n in enumerate(input.shape) if d not in gone or n != 1])


@fused(view=True)
def unsqueeze(input: Any, dim: int) -> Any:
    """A dimension of extent 1 inserted."""
    at = normalize_dim("unsqueeze", dim, input.ndim + 1)
    return reshaped(input, (*input.shape[:at], 1, *input.shape[at:]))


@fused(view=True)
def expand(input: Any, size: Ints) -> Any:
    """Dimensions of extent 1 repeated without copying; -1 keeps an extent."""
    extra = len(size) - input.ndim
    if extra < 0:
        raise RuntimeError(
            message(
                "expand", "fewer dimensions than the tensor", tuple(size), str(tuple(input.shape))
            )
        )
    wide = (1,) * extra + tuple(input.shape)
    shape = tuple(n if m == -1 else m for n, m in zip(wide, size, strict=True))
    for d, (n, m) in enumerate(zip(wide, shape, strict=True)):
        if n not in (1, m) or (size[d] == -1 and d < extra):
            raise RuntimeError(
                message(
                    "expand", f"extent of dimension {d} does not expand",
                    f"{tuple(input.shape)} to {tuple(size)}", "equal extents, or 1 in the tensor",
                )
            )
    x = reshaped(input, wide)
    return x if x.shape == shape else bind(expand_p, x, shape=shape)


@fused(view=True)
def narrow(input: Any, dim: int, start: int, length: int) -> Any:
    """`length` elements of one dimension from `start` on."""
    if input.ndim == 0:
        raise RuntimeError(message("narrow", "a 0-d tensor has no dimension"))
    d = normalize_dim("narrow", dim, input.ndim)
    first = start + input.shape[d] if start < 0 else start
    if first < 0 or first > input.shape[d]:
        raise IndexError(
            message("narrow", "start out of range", start, f"-{input.shape[d]} to {input.shape[d]}")
        )
    if length < 0 or first + length > input.shape[d]:
        raise RuntimeError(
            message(
                "narrow", "range outside of the dimension", f"start {start}, length {length}",
                f"within {input.shape[d]} elements",
            )
        )
    return slice_dim(input, d, first, first + length)


@fused(view=True)
def select(input: Any, dim: int, index: int) -> Any:
    """One index of a dimension, which vanishes."""
    d = normalize_dim("select", dim, input.ndim)
    n = input.shape[d]
    if not -n <= index < n:
        raise IndexError(
            message("select", f"index out of range in dimension {d}", index, f"-{n}..{n - 1}")
        )
    picked = slice_dim(input, d, index % n, index % n + 1)
    return reshaped(picked, (*input.shape[:d], *input.shape[d + 1 :]))


@fused(view=True)
def split(tensor: Any, split_size_or_sections: int | Ints, dim: int = 0) -> Any:
    """Pieces of a given length (the last may be shorter), or of given lengths."""
    d = normalize_dim("split", dim, tensor.ndim)
    if tensor.ndim == 0:
        raise RuntimeError(message("split", "a 0-d tensor can't be split"))
    n = tensor.shape[d]
    if isinstance(split_size_or_sections, int):
        step = split_size_or_sections
        if step < 0 or (step == 0 and n):
            raise RuntimeError(message("split", "piece length must be positive", step))
        sizes, at = [], 0
        while at + step < n and step:
            sizes.append(step)
            at += step
        sizes.append(n - at)
    else:
        sizes = list(split_size_or_sections)
        if sum(sizes) != n or any(s < 0 for s in sizes):
            raise RuntimeError(
                message("split", "lengths don't add up", tuple(sizes), f"a sum of {n}")
            )
    pieces, at = [], 0
    for size in sizes:
        pieces.append(slice_dim(tensor, d, at, at + size))
        at += size
    return tuple(pieces)


@fused(view=True)
def chunk(input: Any, chunks: int, dim: int = 0) -> Any:
    """At most `chunks` pieces of equal length (the last may be shorter)."""
    if chunks < 1:
        raise RuntimeError(message("chunk", "number of pieces must be positive", chunks))
    d = normalize_dim("chunk", dim, input.ndim)
    if input.ndim == 0:
        raise RuntimeError(message("chunk", "a 0-d tensor can't be split"))
    step = -(-input.shape[d] // chunks)
    if step == 0:
        return tuple(slice_dim(input, d, 0, 0) for _ in range(chunks))
    return split.fused.body(input, step, d)


@fused(view=True)
def unbind(input: Any, dim: int = 0) -> Any:
    """Every index of a dimension as a tensor of its own."""
    d = normalize_dim("unbind", dim, input.ndim)
    shape = (*input.shape[:d], *input.shape[d + 1 :])
    return tuple(reshaped(slice_dim(input, d, i, i + 1), shape) for i in range(input.shape[d]))


@fused
def flip(input: Any, dims: Ints) -> Any:
    """The given dimensions in reverse order (a copy)."""
    wanted = [dims] if isinstance(dims, int) else list(dims)
    moved = tuple(sorted(normalize_dim("flip", d, input.ndim) for d in wanted))
    if len(set(moved)) != len(moved):
        raise RuntimeError(message("flip", "a dimension appears twice", tuple(wanted)))
    return bind(flip_p, input, dims=moved) if input.ndim else input


@fused
def cat(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Tensors one after another along a dimension; their common dtype."""
    parts = list(tensors)
    if not parts:
        raise ValueError(message("cat", "no tensors", None, "at least one"))
    for p in parts:
        if not isinstance(p, Value):
            raise TypeError(message("cat", "not a tensor", type(p).__name__, "tensors"))
    dtype = result_type(*parts)
    # PyTorch skips empty one-dimensional tensors of any shape elsewhere.
    kept = [p for p in parts if p.shape != (0,)] or parts[:1]
    d = normalize_dim("cat", dim, kept[0].ndim)
    for p in kept:
        if p.ndim != kept[0].ndim or p.ndim == 0:
            raise RuntimeError(
                message(
                    "cat", "numbers of dimensions differ or are zero",
                    ", ".join(str(tuple(x.shape)) for x in parts),
                )
            )
    for p in kept:
        if p.shape[:d] + p.shape[d + 1 :] != kept[0].shape[:d] + kept[0].shape[d + 1 :]:
            raise RuntimeError(
                message("cat", f"shapes differ outside of dimension {d}",
                        ", ".join(str(tuple(x.shape)) for x in kept))
            )
    values = [cast(p, dtype) for p in kept]
    return values[0] if len(values) == 1 else bind(concat_p, *values, dim=d)


@fused
def stack(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Tensors of one shape along a new dimension."""
    parts = list(tensors)
    if not parts:
        raise RuntimeError(message("stack", "no tensors", None, "at least one"))
    for p in parts:
        if p.shape != parts[0].shape:
            raise RuntimeError(
                message(
                    "stack", "shapes differ", ", ".join(str(tuple(x.shape)) for x in parts),
                    "equal shapes", "cat() along an existing dimension",
                )
            )
    at = normalize_dim("stack", dim, parts[0].ndim + 1)
    shape = (*parts[0].shape[:at], 1, *parts[0].shape[at:])
    dtype = result_type(*parts)
    return bind(concat_p, *(reshaped(cast(p, dtype), shape) for p in parts), dim=at)


@fused(scalars=())
def constant_pad(input: Any, pad: Ints, value: float = 0) -> Any:
    """`value` added at the ends of the last dimensions: (left, right, top, bottom, …)."""
    low, high = [0] * input.ndim, [0] * input.ndim
    if len(pad) % 2 or len(pad) // 2 > input.ndim:
        raise RuntimeError(
            message("pad", "wrong number of paddings", tuple(pad), f"pairs for {input.ndim} dims")
        )
    for i in range(len(pad) // 2):
        low[-1 - i], high[-1 - i] = pad[2 * i], pad[2 * i + 1]
    number: Any = float(value) if input.dtype.kind == "f" else int(value)
    if input.dtype.kind == "b":
        number = bool(value)
    return bind(
        pad_p, input, low=tuple(low), high=tuple(high), interior=(0,) * input.ndim, value=number
    )


@fused
def to_dtype(input: Any, dtype: Any) -> Any:
    """The elements in another dtype."""
    return bind(cast_p, input, dtype=dtype)


@fused
def clone(input: Any) -> Any:
    """A copy of its own memory."""
    return input


@fused(view=True)
def alias(input: Any) -> Any:
    """The same memory as another tensor."""
    return input
