"""Views of views, views of constants, values that pass through unchanged. Grade A."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.core.dispatch import bind
from fanal.graph.ir import Node, Value
from fanal.ops.create import full_p
from fanal.ops.layout import permute_p, reshape_p
from fanal.ops.passes.rewrite import Pass


def _made_by(v: Value, name: str) -> Node | None:
    return v.node if v.node is not None and v.node.primitive.name == name else None


def same(node: Node, given: Sequence[Value]) -> Any:
    """A view or cast that changes nothing."""
    x, out = given[0], node.outputs[0]
    if x.shape != out.shape or x.dtype is not out.dtype or x.weak:
        return None
    if node.primitive.name == "permute":
        dims = node.attributes["dims"]
        moving = [d for d in dims if x.shape[d] != 1]
        return x if moving == sorted(moving) else None
    return x


def detached(node: Node, given: Sequence[Value]) -> Any:
    """`detach` matters to derivatives only, and those are taken."""
    return given[0]


def of_constant(node: Node, given: Sequence[Value]) -> Any:
    """A view of a constant is a constant of another shape."""
    full = _made_by(given[0], "full")
    if full is None:
        return None
    out = node.outputs[0]
    return bind(full_p, value=full.attributes["value"], shape=out.shape, dtype=out.dtype)


def cast_constant(node: Node, given: Sequence[Value]) -> Any:
    """A constant of another dtype, where it is exact: small integers, which all dtypes hold."""
    full = _made_by(given[0], "full")
    if full is None:
        return None
    value, out = full.attributes["value"], node.outputs[0]
    if value != int(value) or not 0 <= value <= 100 or out.dtype.kind not in "fiu":
        return None
    exact: Any = float(value) if out.dtype.kind == "f" else int(value)
    return bind(full_p, value=exact, shape=out.shape, dtype=out.dtype)


def reshape_of_reshape(node: Node, given: Sequence[Value]) -> Any:
    inner = _made_by(given[0], "reshape")
    if inner is None:
        return None
    x, shape = inner.inputs[0], node.attributes["shape"]
    return x if x.shape == shape else bind(reshape_p, x, shape=shape)


def permute_of_permute(node: Node, given: Sequence[Value]) -> Any:
    inner = _made_by(given[0], "permute")
    if inner is None:
        return None
    first = inner.attributes["dims"]
    dims = tuple(first[d] for d in node.attributes["dims"])
    x = inner.inputs[0]
    return x if dims == tuple(range(x.ndim)) else bind(permute_p, x, dims=dims)


SIMPLIFY = Pass(
    "simplify",
    "A",
    {
        "detach": (detached,),
        "cast": (same, cast_constant),
        "reshape": (same, of_constant, reshape_of_reshape),
        "permute": (same, of_constant, permute_of_permute),
        "expand": (same, of_constant),
        "slice": (same, of_constant),
        "flip": (of_constant,),
    },
)
