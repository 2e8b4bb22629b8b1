"""`jvp` and `linearize`."""

from __future__ import annotations

import pytest

import fanal
from fanal.func import grad, jvp, linearize, vmap
from tests.func.check import close


@pytest.fixture
def x():
    return fanal.tensor([0.3, -1.2, 0.7])


def test_structures(x):
    def f(d, y):
        return {"p": d["a"] * y, "s": [d["a"].sum()]}

    v = fanal.tensor([1.0, 2.0, 3.0])
    out, moved = jvp(f, ({"a": x}, x * 2), ({"a": v}, v * 2))
    close(out, {"p": x * x * 2, "s": [x.sum()]})
    close(moved, {"p": v * x * 4, "s": [v.sum()]})
    out, moved, aux = jvp(lambda a: (a.sin(), (a * 2,)), (x,), (v,), has_aux=True)
    close((out, moved, aux), (x.sin(), x.cos() * v, (x * 2,)))


def test_outputs_without_tangents(x):
    out, moved = jvp(lambda a: (a.argmax(), fanal.ones(2)), (x,), (x,))
    close(moved, (fanal.tensor(0), fanal.zeros(2)))
    close(out, (fanal.tensor(2), fanal.ones(2)))
    with pytest.raises(RuntimeError, match="strict=True.*independent of the inputs"):
        jvp(lambda a: fanal.ones(2), (x,), (x,), strict=True)


def test_orders(x):
    one = fanal.ones(3)

    def d(f):
        return lambda a: jvp(f, (a,), (one,))[1]

    close(d(fanal.sin)(x), x.cos())
    close(d(d(d(lambda a: a**4)))(x), 24 * x, 1e-5)
    close(vmap(d(fanal.exp), 0)(fanal.stack([x, x])), fanal.stack([x.exp(), x.exp()]))
    close(grad(lambda a: d(fanal.sin)(a).sum())(x), -x.sin())
    close(d(grad(lambda a: (a**3).sum()))(x), 6 * x)


def test_the_tape_outside(x):
    w = fanal.tensor([1.0, 2.0, 3.0], requires_grad=True)
    v = fanal.ones(3).requires_grad_()
    _, moved = jvp(lambda a: a * a * w, (x,), (v,))
    moved.sum().backward()
    close((w.grad, v.grad), (2 * x, 2 * x * w.detach()))


def test_writes(x):
    y = x.clone()
    out, moved = jvp(lambda a: a.mul_(2) * 3, (y,), (fanal.ones(3),))
    close((out, moved, y), (x * 6, fanal.full((3,), 6.0), x * 2))
    total = fanal.zeros(3)
    with pytest.raises(RuntimeError, match="whose new value has a tangent"):
        jvp(lambda a: total.add_(a), (x,), (x,))
    jvp(lambda a: (total.add_(1), a)[1], (x,), (x,))
    close(total, fanal.ones(3))


def test_linearize(x):
    w = fanal.tensor([2.0, 0.5, 1.0])
    calls = []

    def f(a, b):
        calls.append(1)
        return {"y": (a * b).tanh() * w, "s": a.exp().sum()}

    out, push = linearize(f, x, x * 2)
    close(out, f(x, x * 2))
    for v in (fanal.ones(3), x, fanal.zeros(3)):
        close(push(v, v * 2), jvp(f, (x, x * 2), (v, v * 2))[1])
    close(vmap(push)(fanal.eye(3), fanal.eye(3) * 2)["s"], x.exp())
    assert len(calls) == 1 + 1 + 3
    _, push = linearize(lambda a: fanal.ones(2), x)
    close(push(x), fanal.zeros(2))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: jvp(fanal.sin, (x,), (fanal.ones(2),)), RuntimeError,
         r"Tensor is of size \[3\] while the given forward gradient is of size \[2\]"),
        (lambda x: jvp(fanal.sin, (x,), ()), RuntimeError, "to have the same python structure"),
        (lambda x: jvp(fanal.sin, x, x), RuntimeError, "Expected primals to be a tuple"),
        (lambda x: jvp(lambda a: None, (x,), (x,)), RuntimeError, "non-empty output"),
        (lambda x: jvp(fanal.sin, (x.long(),), (x.long(),)), ValueError, "Expected primal to be floating"),
        (lambda x: jvp(fanal.sin, (x,), (x.double(),)), RuntimeError, "a tangent has another dtype"),
        (lambda x: jvp(lambda: x, (), ()), RuntimeError, "to contain at least one Tensor"),
        (lambda x: jvp(lambda a: a, (3.0,), (1.0,)), RuntimeError, "only contain Tensors, got"),
        (lambda x: jvp(lambda a: a, (x,), (x,), has_aux=True), RuntimeError, "should be a tuple"),
        (lambda x: linearize(fanal.sin, x)[1](x[:2]), RuntimeError, r"tangent:0 with shape \(2,\)"),
        (lambda x: linearize(fanal.sin, x)[1](x, x), RuntimeError, "same argspec as the primals"),
        (lambda x: vmap(lambda a: jvp(lambda b: b * b.item(), (a,), (a,)))(x), RuntimeError,
         "asks for the value"),
    ],
)  # fmt: skip
def test_errors(x, call, error, text):
    with pytest.raises(error, match=text):
        call(x)
