"""Derivatives of every differentiable primitive against mathematics, in both directions."""

from __future__ import annotations

import numpy as np
import pytest

from fanal.core import dtypes
from fanal.core.dispatch import bind, tracing
from fanal.graph import Builder, verify
from fanal.ops.derive import derivative, jvp
from fanal.ops.primitive import TABLE, Primitive
from tests.ops.runner import native, reference, trace
from tests.ops.samples import direction_of, draw, samples_of
from tests.ops.test_forward import CASES as _LOADED  # noqa: F401 - fills the table

F64 = dtypes.float64


def differentiable(p: Primitive) -> bool:
    if p.kind in ("create", "random", "arg_reduce", "missing") or F64 not in p.dtypes:
        return False
    if all(rule is None for rule in (p.partials, p.transpose, p.jvp, p.pull)):
        return False
    # The last two mean what no difference quotient shows.
    return p.name not in ("cast", "stop_reverse", "custom_gradient")


CASES = [p for p in TABLE.values() if differentiable(p)]


def floats(arrays):
    return [i for i, a in enumerate(arrays) if a.dtype == np.float64]


def constant_inputs(p: Primitive, arrays) -> set[int]:
    """Inputs that the record says it is not differentiable in."""
    if p.partials is None:
        return set()
    graph = trace(lambda *xs: bind(p, *xs), arrays)
    b = Builder()
    values = [b.input(v.dtype, v.shape) for v in graph.inputs]
    with tracing(b):
        found = p.partials(*values, bind(p, *values))
    return {i for i, x in enumerate(found) if x is None}


@pytest.mark.parametrize("p", CASES, ids=[p.name for p in CASES])
def test_reverse_and_forward_agree_with_central_differences(p):
    rng = np.random.default_rng(1)
    for seed, (kinds, attributes) in enumerate(samples_of(p)):
        arrays = draw(p, kinds, F64, seed + 10)
        constant = constant_inputs(p, arrays)
        moving = [i for i in floats(arrays) if i not in constant]
        graph = trace(lambda *xs: bind(p, *xs, **attributes), arrays)
        if not moving:
            continue
        wrt = [i in moving for i in range(len(arrays))]
        given = [v.dtype.kind == "f" for v in graph.outputs]
        d = derivative(graph, wrt, given)
        verify(d.forward)
        verify(d.backward)
        direction = [
            direction_of(k, a, rng) if w else None for k, a, w in zip(kinds, arrays, wrt)
        ]
        cotangents = [
            rng.standard_normal(v.shape) for v, g in zip(graph.outputs, given) if g
        ]
        forward = native(d.forward, arrays)
        count = len(graph.outputs)
        where = {"input": arrays, "output": forward[:count], "extra": forward[count:]}
        saved = [where[kind][i] for kind, i in d.sources]
        grads = native(d.backward, [*saved, *cotangents])
        pulled = sum(
            float(np.sum(grads[n] * direction[i]))
            for i, n in enumerate(d.gradients)
            if n is not None and direction[i] is not None
        )
        h = 1e-6
        up = reference(graph, [a if v is None else a + h * v for a, v in zip(arrays, direction)])
        down = reference(graph, [a if v is None else a - h * v for a, v in zip(arrays, direction)])
        slopes = [(u - w) / (2 * h) for u, w, g in zip(up, down, given) if g]
        expected = sum(float(np.sum(s * c)) for s, c in zip(slopes, cotangents))
        scale = 1 + sum(float(np.abs(s * c).sum()) for s, c in zip(slopes, cotangents))
        assert abs(pulled - expected) <= 2e-6 * scale, (kinds, attributes, pulled, expected)
        pushed = _push(graph, arrays, direction)
        for s, t in zip(slopes, [t for t, g in zip(pushed, given) if g]):
            t = np.zeros_like(s) if t is None else t
            np.testing.assert_allclose(t, s, rtol=2e-5, atol=2e-6 * (1 + np.abs(s).max(initial=0)))


def _push(graph, arrays, direction):
    b = Builder()
    values = [b.input(v.dtype, v.shape) for v in graph.inputs]
    tangents = [
        None if v is None else b.input(F64, v.shape) for v in direction
    ]
    with tracing(b):
        _, moved = jvp(graph, values, tangents)
    made = [m for m in moved if m is not None]
    results = iter(native(b.graph(made), [*arrays, *(v for v in direction if v is not None)]))
    return [None if m is None else next(results) for m in moved]
