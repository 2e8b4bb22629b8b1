"""How loops are programs: what is done before them, and that eager loops, scans and captured scans agree
to the bit whatever the body."""

from __future__ import annotations

import random

import numpy as np
import pytest

import fanal
import fanal.nn.functional as F
from fanal.backends.native.executable import compile_graph, launch
from fanal.backends.native.loops.expression import Load
from fanal.backends.native.lower import lower
from fanal.backends.native.program import Access
from fanal.backends.native.runtime.layout import CONTROL_TASKS
from fanal.backends.native.target import host_target
from fanal.graph import Builder
from fanal.ops.control import loop
from fanal.ops.linear import linear
from fanal.ops.pointwise import sigmoid, tanh
from fanal.ops.primitive import contiguous_strides
from tests.control import loops
from tests.control.loops import same_bits


def layer(rows: int, steps: int, hidden: int = 128):
    """The graph of a recurrent layer, and its inputs and outputs in memory."""
    b = Builder()
    shapes = (steps, rows, hidden), (rows, hidden), (hidden, hidden), (hidden,)
    inputs = [b.input(fanal.float32, s) for s in shapes]

    def function(x, h, w, bias):
        def step(carry, xs):
            new = tanh(xs[0] + linear(carry[0], w, bias)) * sigmoid(carry[0])
            return [new], [new]

        last, ys = loop(step, [h], [x], steps)
        return last + ys

    graph = b.graph(b.trace(function, *inputs))
    values = [*graph.inputs, *graph.outputs]
    accesses = [Access(i, v.dtype, v.shape, contiguous_strides(v.shape)) for i, v in enumerate(values)]
    loads = [Load(a.dtype, a.shape, a) for a in accesses[: len(inputs)]]
    return graph, loads, accesses[len(inputs) :]


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 32, 200])
def test_weights_are_packed_once_before_the_loop(rows):
    p = lower(*layer(rows, 6), host_target())
    kinds = ["control" if e.tasks == CONTROL_TASKS else e.kernel.key.split("|")[0] for e in p.phases]
    first = kinds.index("control")
    before, inside = kinds[:first], [k for k in kinds[first:] if k != "control"]
    assert before == ["contract.pack"]
    assert len(inside) == 2 and inside[0] == "contract.gemm"  # and one kernel for all the rest


def test_a_carry_needs_one_more_place_and_a_step_one_product():
    p = lower(*layer(32, 6), host_target())
    p.finish()
    state = 32 * 128 * 4
    sizes = sorted(t.nbytes for t in p.temps if t.nbytes)
    assert sizes == [state, state, 128 * 128 * 4]


def test_memory_of_a_body_is_used_again():
    """Temporaries of one step that don't live together share their memory."""
    b = Builder()
    x = b.input(fanal.float32, (64, 64))

    def chain(x):
        def step(carry, xs):
            h = carry[0]
            for _ in range(6):
                h = tanh(linear(h, h))
            return [h], []

        return loop(step, [x], [], 3)[0]

    graph = b.graph(b.trace(chain, x))
    accesses = [Access(i, fanal.float32, (64, 64), (64, 1)) for i in range(2)]
    program = compile_graph(graph, [Load(fanal.float32, (64, 64), accesses[0])], accesses[1:])
    array = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32) / 8
    out = np.empty_like(array)
    assert launch(program.address, array.ctypes.data, out.ctypes.data) == 0
    want = array
    for _ in range(18):
        want = np.tanh(want @ want.T)
    np.testing.assert_allclose(out, want, rtol=1e-4, atol=1e-6)
    arena = program.memory[0][5]
    assert arena < 7 * 64 * 64 * 4


def body(r: random.Random, w, seed: int):
    """A random step over tensors (3, 8)."""

    def step(h, x):
        q = random.Random(seed)
        values = [h, x]
        for _ in range(q.randint(2, 7)):
            a, b = q.choice(values), q.choice(values)
            values.append(
                q.choice(
                    [
                        lambda: (a @ w).tanh(),
                        lambda: F.softmax(a + b, -1),
                        lambda: F.layer_norm(a, (8,)) * b,
                        lambda: fanal.where(a > 0, a, b * 0.1),
                        lambda: (a - b).sigmoid(),
                        lambda: fanal.cat([a[:, 4:], b[:, :4]], 1),
                        lambda: a.sum(0, keepdim=True) * 0.1 + b,
                        lambda: F.gelu(a).clamp(-2, 2),
                    ]
                )()
            )
        return values[-1].clamp(-3, 3), (values[-2], values[len(values) // 2])

    return step


@pytest.mark.parametrize("seed", range(16))
def test_random_bodies_give_the_bits_of_the_loop(seed):
    fanal.manual_seed(seed)
    r = random.Random(seed)
    w, h, xs = fanal.randn(8, 8), fanal.randn(3, 8), fanal.randn(r.randint(1, 6), 3, 8)
    step, reverse = body(r, w, seed), seed % 3 == 0

    def scanned(h, xs):
        return fanal.scan(step, h, xs, reverse=reverse)

    want = loops.scan(step, h, xs, reverse=reverse)
    assert same_bits(scanned(h, xs), want)
    captured = fanal.compile(scanned)
    for _ in range(2):
        assert same_bits(captured(h, xs), want)


@pytest.mark.parametrize("more", [lambda h: h, lambda h: h * 2, lambda h: h.tanh() + 1])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_product_is_a_carry_and_a_result(more, rows):
    """The product at the end of a step is needed by the next one, whatever else is made of it."""
    u, w = fanal.randn(5, 4), fanal.randn(4, 5)
    xs, first = fanal.randn(6, rows, 5), fanal.randn(rows, 4)

    def step(h, x):
        h = (x + h @ u.T) @ w.T
        return h, more(h)

    with fanal.no_grad():
        h, ys = first, []
        for x in xs:
            h, y = step(h, x)
            ys.append(y)
        last, found = fanal.scan(step, first, xs)
    assert same_bits(last, h)
    assert same_bits(found, fanal.stack(ys))


def test_a_product_is_two_results_of_a_branch():
    w, x = fanal.randn(4, 5), fanal.randn(3, 5)

    def branch():
        y = x @ w.T
        return y, y + 1

    with fanal.no_grad():
        for flag in (True, False):
            found = fanal.cond(fanal.tensor(flag), branch, lambda: (fanal.zeros(3, 4), fanal.ones(3, 4)))
            wanted = branch() if flag else (fanal.zeros(3, 4), fanal.ones(3, 4))
            for have, want in zip(found, wanted, strict=True):
                assert same_bits(have, want)
