"""Elementwise formulas with names in ONNX: Relu, LeakyRelu, Clip, and the larger or smaller of two."""

from __future__ import annotations

from typing import Any

from fanal.core import dtypes
from fanal.export.onnx.matching import made_by, number, plain
from fanal.export.onnx.records import Ref
from fanal.export.onnx.writer import Writer
from fanal.graph.ir import Node, Value


def extreme(node: Node) -> tuple[str, Value, Value] | None:
    """The operator, a and b, if a node is the larger or smaller of both; NaN of either is kept.

    Such is b where it is larger than a, or NaN, else a.
    """
    if node.primitive.name in ("maximum", "minimum"):
        a, b = node.inputs
        return "Max" if node.primitive.name == "maximum" else "Min", a, b
    if node.primitive.name != "where" or node.inputs[1].dtype.kind != "f":
        return None
    condition, b, a = node.inputs
    either = made_by(condition, "or")
    if either is None:
        return None
    order, bad = (made_by(v, *names) for v, names in zip(either.inputs, (("gt", "lt"), ("ne",)), strict=True))
    p, q = plain(b), plain(a)
    if order is None or bad is None or [plain(v) for v in bad.inputs] != [p, p]:
        return None
    pair = [plain(v) for v in order.inputs]
    if pair not in ([p, q], [q, p]):
        return None
    larger = (pair == [p, q]) == (order.primitive.name == "gt")
    return "Max" if larger else "Min", a, b


def write_extreme(node: Node) -> Any:
    """Max or Min, of floating numbers that are written out."""
    found = extreme(node)
    if found is None:
        return None
    op, a, b = found
    return lambda w, n, *xs: w.through(op, *xs), (a, b)


def relu(node: Node) -> Any:
    """x where it is above 0, else 0."""
    condition, zero, x = node.inputs
    test = made_by(condition, "le")
    if test is None or x.dtype.kind != "f" or number(zero) != 0 or number(test.inputs[1]) != 0:
        return None
    if plain(test.inputs[0]) is not plain(x):
        return None
    return lambda w, n, v: w.through("Relu", v), (x,)


def leaky_relu(node: Node) -> Any:
    """x where it is above 0, else a multiple of it. ONNX keeps the factor in float32."""
    condition, x, scaled = node.inputs
    test, product = made_by(condition, "gt"), made_by(scaled, "mul")
    if test is None or product is None or x.dtype not in (dtypes.float16, dtypes.float32):
        return None
    factor = number(product.inputs[1])
    same = plain(test.inputs[0]) is plain(x) is plain(product.inputs[0])
    if factor is None or number(test.inputs[1]) != 0 or not same:
        return None
    return lambda w, n, v: w.map("LeakyRelu", v, alpha=float(factor)), (x,)


def clip(node: Node) -> Any:
    """x between two numbers: as the smaller of the larger, or low where x is not above it, else high where
    it is not below that, else x."""
    found = _bounds(node)
    if found is None:
        return None
    x, low, high = found

    def write(w: Writer, n: Node, v: Ref) -> Ref:
        dtype = w.dtype_for("Clip", v.dtype)
        ends = [w.constant([e], dtype, ()) for e in (low, high)]
        y = w.op("Clip", [w.cast(v, dtype), *ends], dtype, v.shape, v.held)
        return w.cast(y, v.dtype)

    return write, (x,)


def _bounds(node: Node) -> tuple[Value, Any, Any] | None:
    outer = extreme(node)
    if outer is not None and outer[0] == "Min" and outer[1].dtype.kind == "f":
        inner = None if (made := plain(outer[1]).node) is None else extreme(made)
        high = number(outer[2])
        low = None if inner is None or inner[0] != "Max" else number(inner[2])
        return None if inner is None or low is None or high is None else (inner[1], low, high)
    if node.primitive.name != "where" or node.inputs[2].dtype.kind != "f":
        return None
    below, bottom, rest = node.inputs
    inside = made_by(rest, "where")
    tests = (made_by(below, "le"), None if inside is None else made_by(inside.inputs[0], "ge"))
    if inside is None or tests[0] is None or tests[1] is None:
        return None
    low, high = number(bottom), number(inside.inputs[1])
    x = plain(inside.inputs[2])
    same = all(plain(t.inputs[0]) is x for t in tests if t is not None)
    if low is None or high is None or not same or low > high:
        return None
    if (number(tests[0].inputs[1]), number(tests[1].inputs[1])) != (low, high):
        return None
    return x, low, high
