"""Derivatives of control flow against mathematics, and how the backward loop of a scan is made."""

from __future__ import annotations

import pytest

import fanal
from fanal.autograd import gradcheck, gradgradcheck
from fanal.func import grad, hessian, jacfwd, jacrev, jvp
from fanal.graph import Builder
from fanal.ops.control import loop
from fanal.ops.derive import derivative
from fanal.ops.linear import linear
from fanal.ops.pointwise import tanh
from tests.control import loops

f64 = fanal.float64


def drawn(*shape):
    return fanal.randn(*shape, dtype=f64, requires_grad=True)


@pytest.fixture(autouse=True)
def seed():
    fanal.manual_seed(0)


def cell(w, b):
    def step(c, x):
        h = (x + c[0] @ w + b).tanh()
        return (h, c[1] * 0.5 + h * x), (h * h, c[1], x * 2)

    return step


@pytest.mark.parametrize("reverse", [False, True])
def test_scan(reverse):
    given = drawn(3, 3), drawn(3), drawn(2, 3), drawn(2, 3), drawn(4, 2, 3)

    def f(w, b, h, c, xs):
        return fanal.scan(cell(w, b), (h, c), xs, reverse=reverse)

    assert gradcheck(f, given) and gradgradcheck(f, given)
    # Only some outputs, and only some inputs, have a gradient.
    for choose in (lambda r: r[0][0], lambda r: r[1][1], lambda r: r[1][2]):
        assert gradcheck(lambda *a: choose(f(*a)), given)
        assert gradgradcheck(lambda *a: choose(f(*a)), given)
    rest = [x.detach() for x in given[1:]]
    assert gradcheck(lambda w: f(w, *rest), given[:1])
    assert gradgradcheck(lambda w: f(w, *rest), given[:1])


def test_scan_gives_the_gradients_of_the_loop():
    w, b, h, c, xs = given = drawn(5, 5), drawn(5), drawn(7, 5), drawn(7, 5), drawn(6, 7, 5)
    results = []
    for scan in (fanal.scan, loops.scan):
        last, ys = scan(cell(w, b), (h, c), xs)
        results.append(fanal.autograd.grad((last[0] * last[1]).sum() + sum(y.sum() for y in ys), given))
    for x, y in zip(*results, strict=True):
        assert fanal.allclose(x, y, rtol=1e-12, atol=1e-12)


def test_cond_and_while():
    w, x = drawn(3, 3), drawn(2, 3)

    def branches(x, w):
        return fanal.cond(x.sum() > 0, lambda x: ((x @ w).sin(), w), lambda x: (x * x, w * 2), (x,))

    for sign in (1, -1):
        given = ((x.detach().abs() * sign).requires_grad_(), w)
        assert gradcheck(branches, given) and gradgradcheck(branches, given)

    def repeated(w, x):
        return fanal.while_loop(
            lambda n, x: n < 3, lambda n, x: (n + 1, (x @ w).tanh()), (0, x), max_steps=5
        )[1]

    assert gradcheck(repeated, (w, x)) and gradgradcheck(repeated, (w, x))


def test_inside_one_another():
    def f(c, x):
        def outer(c, x):
            h, ys = fanal.scan(lambda h, z: ((h * 0.5 + z).sin(), h), c, x)
            return fanal.cond(h.sum() > 0, lambda: h * 2, lambda: h - x[0]), ys

        return fanal.scan(outer, c, x)

    given = drawn(2), drawn(4, 3, 2)
    assert gradcheck(f, given) and gradgradcheck(f, given)


def test_a_gradient_inside_of_a_loop():
    def f(x):
        def step(c, x):
            return c - 0.1 * grad(lambda v: ((v - x) ** 4).sum())(c), None

        return fanal.scan(step, x[0], x)[0]

    x = drawn(3, 2)
    assert gradcheck(f, (x,))


def test_detach_and_no_grad_inside_of_a_loop():
    w = drawn(3, 3)

    def step(h, x):
        h = (x + h @ w).tanh()
        with fanal.no_grad():
            noted = h * 2
        return h, (noted, h.detach() * w.sum())

    results = []
    for scan in (fanal.scan, loops.scan):
        last, ys = scan(step, fanal.zeros(3, dtype=f64), fanal.ones(4, 3, dtype=f64))
        results += fanal.autograd.grad(last.sum() + ys[0].sum() + ys[1].sum(), w)
    assert fanal.allclose(*results)


def test_function_transforms():
    h, xs, w = fanal.randn(3, dtype=f64), fanal.randn(4, 3, dtype=f64), fanal.randn(3, 3, dtype=f64)

    def f(w, scan=fanal.scan):
        return scan(lambda h, x: ((x + h @ w).tanh(), None), h, xs)[0].sum()

    def g(w):
        return f(w, loops.scan)

    assert fanal.allclose(jacfwd(f)(w), grad(g)(w))
    for second in (hessian, lambda f: jacrev(jacrev(f)), lambda f: jacfwd(jacfwd(f)), lambda f: jacrev(jacfwd(f))):
        assert fanal.allclose(second(f)(w), hessian(g)(w))


def test_a_while_loop_without_a_bound_has_forward_derivatives():
    w = fanal.randn(3, 3, dtype=f64)

    def f(w, h=fanal.ones(3, dtype=f64)):
        return fanal.while_loop(lambda n, h: n < 4, lambda n, h: (n + 1, (h @ w).tanh()), (0, h))[1]

    v, e = fanal.randn(3, 3, dtype=f64), 1e-6
    _, pushed = jvp(f, (w,), (v,))
    assert fanal.allclose(pushed, (f(w + e * v) - f(w - e * v)) / (2 * e), atol=1e-8)


def test_the_gradient_of_weights_is_one_product_after_the_loop():
    b = Builder()
    x, h, w, bias = (b.input(f64, s) for s in ((6, 4, 3), (4, 3), (3, 3), (3,)))

    def layer(x, h, w, bias):
        def step(c, xs):
            h = tanh(xs[0] + linear(c[0], w, bias))
            return [h], [h]

        return loop(step, [h], [x], 6)[1]

    graph = b.graph(b.trace(layer, x, h, w, bias))
    d = derivative(graph, [True] * 4, [True])
    names = [n.primitive.name for n in d.backward.nodes]
    assert names.count("scan") == 1 and names.count("dot") == 1 and "reduce_sum" in names
    (scan,) = (n for n in d.backward.nodes if n.primitive.name == "scan")
    assert scan.attributes["carries"] == 1  # nothing but the hidden state's gradient
    inside = [n.primitive.name for n in scan.attributes["body"].nodes]
    assert inside.count("dot") == 1 and "tanh" not in inside
    kept = [v.shape for v in d.forward.outputs[1:]]
    assert kept == [(6, 4, 3)]  # the states that steps began with; the others are the result
