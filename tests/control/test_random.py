"""Random graphs of control flow in one another: machine code equals the reference, derivatives in both
directions and of second order equal central differences, batches equal the loop."""

from __future__ import annotations

import random

import numpy as np
import pytest

from fanal.core import dtypes
from fanal.core.dispatch import bind, tracing
from fanal.graph import Builder, verify
from fanal.ops import control
from fanal.ops.derive import batched, derivative, jvp
from fanal.ops.layout import slice_dim
from fanal.ops.linear import matmul
from fanal.ops.pointwise import gt, lt, sigmoid, tanh
from fanal.ops.reductions import sum as sum_
from fanal.ops.shape import cat, stack, transpose
from tests.ops.runner import native, reference, trace

SHAPE = (3, 4)
STEP = 1e-6


def grown(r: random.Random, values, depth: int, budget: int):
    """The values, and some that were computed from them."""
    values = list(values)
    for _ in range(r.randint(1, budget)):
        kind, a, b = r.random(), r.choice(values), r.choice(values)
        if not depth or kind < 0.6:
            values.append(_plain(r, a, b))
        elif kind < 0.8:
            values += _scan(r, values, depth)
        elif kind < 0.9:
            values += _cond(r, values, depth, a)
        else:
            values += _while(r, values, depth)
    return values


def _plain(r, a, b):
    return r.choice(
        [
            lambda: tanh(a + b),
            lambda: a * b * 0.5,
            lambda: tanh(matmul(a, matmul(transpose(b, 0, 1), a))),
            lambda: a - sum_(b, 1, keepdim=True) * 0.1,
            lambda: slice_dim(cat([a, b], 0), 0, 2, 5),
            lambda: sigmoid(sum_(a, 0, keepdim=True)) + b,
        ]
    )()


def _scan(r, values, depth):
    length, seed = r.choice([1, 2, 3, 5]), r.random()
    init = [r.choice(values) for _ in range(r.randint(1, 3))]
    xs = [stack([r.choice(values) for _ in range(length)], 0) for _ in range(r.randint(0, 2))]

    def step(carry, x):
        q = random.Random(seed)
        inner = grown(q, [*carry, *x, q.choice(values), q.choice(values)], depth - 1, 4)
        new = [q.choice([tanh, lambda v: v])(q.choice(inner)) for _ in carry]
        return new, [q.choice(inner) for _ in range(q.randint(0, 3))]

    last, ys = control.loop(step, init, xs, length, r.random() < 0.4)
    return [*last, *(sum_(y, 0) * 0.3 for y in ys)]


def _cond(r, values, depth, a):
    seed, count = r.random(), r.randint(1, 3)

    def branch(number):
        def function():
            q = random.Random(seed + number)
            inner = grown(q, [q.choice(values) for _ in range(3)], depth - 1, 3)
            return [q.choice(inner) for _ in range(count)]

        return function

    return control.choose(gt(sum_(a), r.uniform(-1, 1)), branch(0), branch(1))


def _while(r, values, depth):
    seed, init = r.random(), [r.choice(values) for _ in range(r.randint(1, 2))]

    def step(carry):
        q = random.Random(seed)
        inner = grown(q, [*carry, q.choice(values)], depth - 1, 3)
        return [tanh(q.choice(inner)) + 0.3 for _ in carry]

    return control.repeat(lambda carry: lt(sum_(carry[0]), 2.0), step, init, r.randint(1, 5))


def _case(seed: int, depth: int, budget: int):
    r = random.Random(seed)
    arrays = [np.random.default_rng(10 * seed + i).standard_normal(SHAPE) * 0.7 for i in range(3)]
    outputs = r.randint(1, 3)

    def function(*values):
        found = grown(random.Random(seed + 0.5), values, depth, budget)
        return [tanh(v) for v in found[-outputs:]]

    return trace(function, arrays), arrays, np.random.default_rng(seed)


def _same(graph, arrays, tolerance=1e-9):
    want = reference(graph, arrays)
    for a, b in zip(native(graph, arrays), want, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    return want


def _saved(d, arrays, outputs, count):
    tables = {"input": arrays, "output": outputs[:count], "extra": outputs[count:]}
    return [np.ascontiguousarray(tables[kind][i]) for kind, i in d.sources]


def _check_derivatives(graph, arrays, rng):
    """⟨c, J v⟩ backwards, forwards and by differences."""
    count = len(graph.outputs)
    d = derivative(graph, [True] * len(arrays), [True] * count)
    for g in (d.forward, d.backward):
        verify(g)
    outputs = _same(d.forward, arrays)
    cotangents = [rng.standard_normal(v.shape) for v in graph.outputs]
    gradients = _same(d.backward, [*_saved(d, arrays, outputs, count), *cotangents], 1e-7)
    directions = [rng.standard_normal(SHAPE) for _ in arrays]
    up, down = (
        reference(graph, [x + sign * STEP * v for x, v in zip(arrays, directions, strict=True)])
        for sign in (1, -1)
    )
    slopes = [(u - w) / (2 * STEP) for u, w in zip(up, down, strict=True)]
    want = sum(float((s * c).sum()) for s, c in zip(slopes, cotangents, strict=True))
    got = sum(
        float((gradients[n] * v).sum())
        for n, v in zip(d.gradients, directions, strict=True) if n is not None
    )  # fmt: skip
    assert abs(want - got) <= 2e-4 * (1 + abs(want))
    b = Builder()
    values = [b.input(*v.type) for v in graph.inputs]
    with tracing(b):
        moved = jvp(graph, values, [b.input(dtypes.float64, SHAPE) for _ in values])[1]
    pushed = b.graph([m for m in moved if m is not None])
    results = iter(_same(pushed, [*arrays, *directions], 1e-7))
    for m, slope in zip(moved, slopes, strict=True):
        t = 0 if m is None else next(results)
        assert np.abs(t - slope).max() <= 2e-4 * (1 + np.abs(slope).max())
    return d


def _check_batch(graph, arrays, r, size=3):
    axes = [r.choice([0, 1, 2, None]) for _ in arrays[1:]] + [0]
    many = [
        x if a is None else np.stack([x + 0.2 * i for i in range(size)], a)
        for x, a in zip(arrays, axes, strict=True)
    ]
    b = Builder()
    values = [b.input(dtypes.float64, m.shape) for m in many]
    with tracing(b):
        outputs, where = batched(graph, values, axes, size)
    made = b.graph(outputs)
    verify(made)
    got = native(made, [np.ascontiguousarray(m) for m in many])
    for i in range(size):
        one = [m if a is None else np.take(m, i, a) for m, a in zip(many, axes, strict=True)]
        for x, a, want in zip(got, where, reference(graph, one), strict=True):
            found = x if a is None else np.take(x, i, a)
            np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-9)


def _check(seed: int):
    graph, arrays, rng = _case(seed, 3, 5)
    _same(graph, arrays)
    _check_derivatives(graph, arrays, rng)
    graph, arrays, rng = _case(seed, 2, 4)
    _check_batch(graph, arrays, random.Random(seed))
    count = len(graph.outputs)
    d = derivative(graph, [True] * len(arrays), [True] * count)

    def gradients(*values):
        out = d.forward.apply(values, bind)
        tables = {"input": values, "output": out[:count], "extra": out[count:]}
        saved = [tables[kind][i] for kind, i in d.sources]
        return d.backward.apply([*saved, *(v * 0.5 + 0.1 for v in out[:count])], bind)

    _check_derivatives(trace(gradients, arrays), arrays, rng)


@pytest.mark.parametrize("seed", range(12))
def test_random_control_flow(seed):
    _check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 500))
def test_much_random_control_flow(seed):
    _check(seed)
