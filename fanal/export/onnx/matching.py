"""Looking at how a value came about: past what does not change it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fanal.core.symbols import is_symbolic
from fanal.export.onnx.writer import is_one, same_dim
from fanal.graph.ir import Node, Value

_ALIASES = ("detach", "stop_reverse", "hold")


def plain(v: Value) -> Value:
    """The value behind identities."""
    while v.node is not None and v.node.primitive.name in _ALIASES:
        v = v.node.inputs[0]
    return v


def made_by(v: Value, *names: str) -> Node | None:
    """The node that gives a value, if it is of these primitives."""
    node = plain(v).node
    return node if node is not None and node.primitive.name in names else None


def number(v: Value) -> Any:
    """The number that all elements of a value are; None where that is not known."""
    moves = ("full", "reshape", "expand", "cast")
    node = made_by(v, *moves)
    while node is not None and node.primitive.name != "full":
        if node.primitive.name == "cast" and node.inputs[0].dtype.kind == "f":
            return None  # it may have been rounded
        node = made_by(node.inputs[0], *moves)
    if node is None or is_symbolic(node.attributes["value"]):
        return None
    return node.attributes["value"]


def unspread(v: Value) -> Value:
    """What is repeated over dimensions, with extents of 1 there."""
    node = made_by(v, "expand")
    return plain(v) if node is None else plain(node.inputs[0])


def spread_vector(v: Value, axis: int) -> Value | None:
    """A vector that a value is along one dimension, the same in all others."""
    inner = unspread(v)
    node = made_by(inner, "reshape")
    if node is None or node.inputs[0].ndim != 1 or axis >= inner.ndim:
        return None
    if not same_dim(v.shape[axis], inner.shape[axis]):
        return None
    if any(not is_one(n) for d, n in enumerate(inner.shape) if d != axis):
        return None
    return node.inputs[0]


def reduced_over(v: Value, name: str) -> tuple[Value, tuple[int, ...]] | None:
    """What a reduction with kept dimensions, repeated to the operand's shape, reduces, and over which."""
    node = made_by(unspread(v), "reshape")
    inner = None if node is None else made_by(node.inputs[0], name)
    return None if inner is None else (plain(inner.inputs[0]), inner.attributes["dims"])


def single_use(v: Value, uses: Mapping[Value, int]) -> bool:
    """Whether only one thing needs a value."""
    return uses[v] == 1
