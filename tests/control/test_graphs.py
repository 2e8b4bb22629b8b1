"""Graphs inside of nodes: keys, text, verification; and what rules make of gradients of slices."""

from __future__ import annotations

import pytest

from fanal.core import dtypes
from fanal.core.dispatch import bind, tracing
from fanal.graph import Builder, Graph, SubGraph, verify
from fanal.ops.control import choose, loop, scan_p
from fanal.ops.derive import derivative
from fanal.ops.layout import slice_dim
from fanal.ops.pointwise import tanh

F32 = dtypes.float32


def scaled(factor):
    b = Builder()
    x = b.input(F32, (2,))
    out = b.trace(lambda x: x * factor, x)
    graph = b.graph([out])
    return SubGraph(graph.inputs, graph.nodes, graph.outputs)


def test_equal_graphs_are_equal_attributes():
    assert scaled(2.0) == scaled(2.0) and hash(scaled(2.0)) == hash(scaled(2.0))
    assert scaled(2.0) != scaled(2.5) and scaled(0.0) != scaled(-0.0)
    assert scaled(2.0) != "graph"
    b = Builder()
    x = b.input(F32, (2,))
    at = {"consts": 0, "carries": 1, "length": 3, "reverse": False}
    with tracing(b):
        first, second, third = (
            bind(scan_p, x, body=scaled(k), **at)[0] for k in (2.0, 2.0, 3.0)
        )
    assert first is second and first is not third


def test_text_shows_the_graphs_inside():
    b = Builder()
    x = b.input(F32, (4, 2))

    def function(x):
        return loop(lambda c, s: ([tanh(c[0] + s[0])], []), [slice_dim(x, 0, 0, 1)], [x], 4)[0]

    graph = b.graph(b.trace(function, x))
    body = next(n for n in graph.nodes if n.primitive is scan_p).attributes["body"]
    text = str(graph)
    assert f"body=graph:{body.key[:12]}, consts=0, carries=1, length=4, reverse=False" in text
    assert "\n    body = graph(%0: float32[1,2], %1: float32[2])" in text
    assert "\n      return %4\n  return %2" in text


def test_broken_graphs_inside_are_found():
    body = scaled(2.0)
    broken = SubGraph(body.inputs, body.nodes[::-1], body.outputs)
    b = Builder()
    x = b.input(F32, (2,))
    with tracing(b):
        (y,) = bind(scan_p, x, body=broken, consts=0, carries=1, length=3, reverse=False)
    with pytest.raises(ValueError, match="not defined before it"):
        verify(b.graph([y]))


def test_what_does_not_change_is_computed_outside():
    b = Builder()
    x, w, flag = b.input(F32, (4, 2)), b.input(F32, (2,)), b.input(dtypes.bool_, ())

    def function(x, w, flag):
        def step(c, s):
            fixed = tanh(w) * 2.0
            return [c[0] * fixed, c[1]], [s[0], fixed, c[1] + s[0]]

        last, ys = loop(step, [w, w], [x], 4)
        return *last, *ys, *choose(flag, lambda: [w, x], lambda: [w, x + 1.0])

    graph = b.graph(b.trace(function, x, w, flag))
    verify(graph)
    scan, cond = (
        next(n for n in graph.nodes if n.primitive.name == name) for name in ("scan", "cond")
    )
    names = [n.primitive.name for n in scan.attributes["body"].nodes]
    assert names == ["mul", "add"] and len(scan.outputs) == 2
    assert graph.outputs[1] is graph.inputs[1]  # a carry that stays as it is
    assert graph.outputs[2] is graph.inputs[0]  # the steps of a sequence, one after another
    assert len(cond.outputs) == 1 and graph.outputs[5] is graph.inputs[1]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0)])
def test_gradients_of_neighbouring_slices_are_put_side_by_side(order):
    b = Builder()
    x = b.input(F32, (3, 8))
    values = b.trace(lambda x: [tanh(slice_dim(x, 1, 2 * i, 2 * i + 2)) for i in order], x)
    d = derivative(Graph([x], b.nodes, values), [True], [True] * 4)
    names = [n.primitive.name for n in d.backward.nodes]
    assert names.count("concat") == 1 and "pad" not in names
