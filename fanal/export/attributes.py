"""Attributes as backends rely on them: what an operation's rule takes for granted is looked at here.

In a captured graph they come from public functions, which check what users give. In a file they come from
anybody. Sizes that are still symbols are looked at again where they are numbers, before anything is run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fanal.core.dtypes import DType
from fanal.core.symbols import Extent, Ratio
from fanal.export.errors import damaged
from fanal.graph.ir import Node, SubGraph

_MOST = 2**48  # of a size, a stride, a padding
_MODES = {"scatter": ("set", "add", "mul", "max", "min"), "qr": ("reduced", "complete", "raw")}


def check_attributes(node: Node) -> None:
    """DataError for attributes that no public function makes."""
    for name, value in node.attributes.items():
        rule = RULES.get(name)
        if rule is None or not rule(node, value):
            raise damaged(f"{name} of {node.primitive.name}", value)
    special = _SPECIAL.get(node.primitive.name)
    if special is not None and not special(node, **node.attributes):
        raise damaged(f"attributes of {node.primitive.name}", node.attributes)


def _size(x: Any, low: int = 0) -> bool:
    return type(x) is Extent or (type(x) is int and low <= x <= _MOST)


def _sizes(x: Any, low: int = 0) -> bool:
    return type(x) is tuple and all(_size(n, low) for n in x)


def _flag(node: Node, x: Any) -> bool:
    return type(x) is bool


def _count(node: Node, x: Any) -> bool:
    return _size(x)


def _rank(node: Node) -> int:
    return node.inputs[0].ndim if node.inputs else 0


def _distinct(x: Any, rank: int) -> bool:
    """Whether these are different dimensions of a value."""
    return type(x) is tuple and all(type(d) is int and 0 <= d < rank for d in x) and len(set(x)) == len(x)


def _per_dim(low: int) -> Callable[[Node, Any], bool]:
    return lambda node, x: _sizes(x, low) and len(x) == _rank(node)


def _dim(node: Node, x: Any) -> bool:
    shape = node.attributes.get("shape")
    rank = len(shape) if not node.inputs and isinstance(shape, tuple) else _rank(node)
    return type(x) is int and 0 <= x < rank


def _pairs(node: Node, x: Any) -> bool:
    spatial = max(_rank(node) - 2, 0)
    return (
        type(x) is tuple and len(x) == spatial
        and all(type(p) is tuple and len(p) == 2 and _sizes(p, -_MOST) for p in x)
    )  # fmt: skip


def _spatial(node: Node, x: Any) -> bool:
    """One number for each spatial dimension of a convolution, or for each of a window's."""
    if not _sizes(x, 1):
        return False
    size = node.attributes.get("size")
    wanted = len(size) if isinstance(size, tuple) else max(_rank(node) - 2, 0)
    return len(x) == wanted


def _sides(node: Node, x: Any) -> bool:
    if type(x) is not tuple or len(x) != 2 or len(node.inputs) != 2:
        return False
    return len(x[0]) == len(x[1]) and all(_distinct(d, v.ndim) for d, v in zip(x, node.inputs, strict=True))


def _number(node: Node, x: Any) -> bool:
    dtype = node.attributes.get("dtype", node.inputs[0].dtype if node.inputs else None)
    if not isinstance(dtype, DType):
        return False
    if type(x) in (Extent, Ratio):
        return dtype.kind != "b"
    if dtype.kind == "b":
        return type(x) in (bool, int) and x in (0, 1)
    if dtype.kind == "f":
        return type(x) in (bool, int, float) and (type(x) is float or abs(x) < 2**1000)
    low, high = (0, 2**dtype.bits) if dtype.kind == "u" else (-(2 ** (dtype.bits - 1)), 2 ** (dtype.bits - 1))
    return (type(x) in (bool, int) and low <= x < high) or (type(x) is float and x == int(x) and low <= x < high)


RULES: dict[str, Callable[[Node, Any], bool]] = {
    "value": _number,
    "shape": lambda node, x: _sizes(x),
    "dtype": lambda node, x: isinstance(x, DType),
    "dim": _dim,
    "dims": lambda node, x: _distinct(x, _rank(node)),
    "start": _per_dim(0),
    "stop": _per_dim(0),
    "step": _per_dim(1),
    "low": _per_dim(-_MOST),
    "high": _per_dim(-_MOST),
    "interior": _per_dim(0),
    "first": lambda node, x: type(x) is int and 0 <= x <= _rank(node),
    "size": lambda node, x: _sizes(x, 1) and len(x) > 0,
    "stride": _spatial,
    "dilation": _spatial,
    "extents": lambda node, x: _sizes(x) and len(x) == len(node.attributes.get("size", ())),
    "mode": lambda node, x: x in _MODES.get(node.primitive.name, ()),
    "padding": _pairs,
    "groups": lambda node, x: _size(x, 1),
    "kernel": lambda node, x: _sizes(x, 1) and len(x) == max(_rank(node) - 2, 0),
    "tile": lambda node, x: type(x) is int and x in (2, 4, 6),
    "true": lambda node, x: isinstance(x, SubGraph),
    "false": lambda node, x: isinstance(x, SubGraph),
    "body": lambda node, x: isinstance(x, SubGraph),
    "cond": lambda node, x: isinstance(x, SubGraph),
    "consts": lambda node, x: type(x) is int and 0 <= x <= len(node.inputs),
    "carries": lambda node, x: type(x) is int and 0 <= x <= len(node.inputs),
    "length": lambda node, x: _size(x, 1),
    "reverse": _flag,
    "contract": _sides,
    "batch": _sides,
    "limit": lambda node, x: x is None or _count(node, x),
    "upper": _flag,
    "unit": _flag,
    "check": lambda node, x: x is None or type(x) is bool or (type(x) is str and len(x) < 100),
    "pivot": _flag,
    "full": _flag,
    "rcond": lambda node, x: x is None or type(x) is float,
    "descending": _flag,
    "count": lambda node, x: x is None or _count(node, x),
    "causal": _flag,
    "scale": lambda node, x: type(x) in (float, Ratio),
}


def _windows(node: Node, *, first: int, size: Any, **others: Any) -> bool:
    twice = 2 if node.primitive.name == "window_sum" else 1
    return first + twice * len(size) <= _rank(node)


def _window_sum(node: Node, *, first: int, size: Any, stride: Any, dilation: Any, extents: Any) -> bool:
    """The windows lie inside of what they are added up to, and are as large as they say."""
    if not _windows(node, first=first, size=size):
        return False
    shape, n = node.inputs[0].shape, len(size)
    counts, sizes = shape[first : first + n], shape[first + n : first + 2 * n]
    return all(
        k == m and (c == 0 or (c - 1) * s + (k - 1) * d < e)
        for c, m, k, s, d, e in zip(counts, sizes, size, stride, dilation, extents, strict=True)
    )


def _weight_grad(node: Node, *, kernel: Any, stride: Any, padding: Any, dilation: Any, groups: Any) -> bool:
    """The gradient is that of a convolution of the input with such kernels."""
    x, g = node.inputs
    if g.ndim != x.ndim or x.ndim < 3 or x.shape[0] != g.shape[0]:
        return False
    if x.shape[1] % groups or g.shape[1] % groups:
        return False
    spatial = zip(x.shape[2:], g.shape[2:], kernel, stride, padding, dilation, strict=True)
    return all(
        n + low + high >= d * (k - 1) + 1 and (n + low + high - d * (k - 1) - 1) // s + 1 == m
        for n, m, k, s, (low, high), d in spatial
    )


def _convolved(node: Node, **others: Any) -> bool:
    a, b = node.inputs
    groups = node.attributes.get("groups", 1)
    over = b.shape[0] if b.ndim else 0
    return a.ndim == b.ndim >= 3 and over % groups == 0


def _input_grad(node: Node, *, shape: Any, **others: Any) -> bool:
    return _convolved(node) and len(shape) == node.inputs[0].ndim - 2


def _iota(node: Node, *, shape: Any, dim: Any, dtype: Any) -> bool:
    return bool(dtype.kind != "b")


def _sorted(node: Node, *, dim: int, descending: bool, count: Any = None) -> bool:
    return count is None or type(count) is Extent or bool(count <= node.inputs[0].shape[dim])


def _dot(node: Node, *, contract: Any, batch: Any) -> bool:
    return all(not set(c) & set(b) for c, b in zip(contract, batch, strict=True))


def _scanned(node: Node, *, consts: int, carries: int, **others: Any) -> bool:
    return consts + carries <= len(node.inputs) and all(v.ndim >= 1 for v in node.inputs[consts + carries :])


_SPECIAL: dict[str, Callable[..., bool]] = {
    "windows": _windows,
    "window_sum": _window_sum,
    "conv": _convolved,
    "conv_winograd": _convolved,
    "conv_input_grad": _input_grad,
    "conv_weight_grad": _weight_grad,
    "iota": _iota,
    "sort": _sorted,
    "dot": _dot,
    "scan": _scanned,
    "concat": lambda node, dim: len({v.ndim for v in node.inputs}) == 1,
    "after": lambda node: len(node.inputs) >= 1,
}
