"""`autograd.Function` in transforms: its backward counts, whichever way the graph is derived."""

from __future__ import annotations

import pytest

import fanal
from fanal.autograd import Function
from fanal.func import grad, hessian, jacfwd, jacrev, jvp, vmap
from tests.func.check import close


class Exp(Function):
    """Ten times the derivative that it should have, so that one sees which is taken."""

    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * y * 10


class Product(Function):
    """With `setup_context`; the wrong factors 3 and 5."""

    @staticmethod
    def forward(x, w):
        return x * w, (x * w).sum()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, g, s):
        x, w = ctx.saved_tensors
        both = g + s
        return (both * w * 3) if ctx.needs_input_grad[0] else None, (both * x).sum() * 5


class Straight(Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, g):
        return g


class Clipped(Function):
    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, g):
        return g.clamp(-1, 1)


@pytest.fixture
def x():
    return fanal.tensor([0.1, 0.2, 0.3])


def test_every_transform_takes_the_given_derivative(x):
    one, want = fanal.ones(3), 10 * x.exp()
    close(grad(lambda a: Exp.apply(a).sum())(x), want)
    close(vmap(grad(Exp.apply))(x), want)
    close(grad(lambda a: vmap(Exp.apply)(a).sum())(x), want)
    close(jvp(Exp.apply, (x,), (one,))[1], want)
    close(vmap(lambda a: jvp(Exp.apply, (a,), (fanal.tensor(1.0),))[1])(x), want)
    close(jacrev(Exp.apply)(x), fanal.diag(want))
    close(jacfwd(Exp.apply)(x), fanal.diag(want))


def test_second_derivatives(x):
    want = 100 * x.exp()
    f = lambda a: Exp.apply(a).sum()
    close(grad(lambda a: grad(f)(a).sum())(x), want)
    close(vmap(grad(grad(Exp.apply)))(x), want)
    mapped = lambda a: vmap(Exp.apply)(a).sum()
    close(grad(lambda a: grad(mapped)(a).sum())(x), want)
    close(hessian(f)(x), fanal.diag(want))
    inner = lambda a: jvp(Exp.apply, (a,), (fanal.ones(3),))[1]
    close(jvp(inner, (x,), (fanal.ones(3),))[1], want)


def test_an_operand_that_all_samples_share(x):
    w = fanal.tensor(2.0)
    shared = lambda w: vmap(lambda a: Product.apply(a, w)[0])(x).sum()
    close(grad(shared)(w), 5 * x.sum())
    close(grad(lambda a: vmap(lambda b: Product.apply(b, w)[1])(a).sum())(x), fanal.full((3,), 6.0))
    both = lambda a: vmap(vmap(lambda p, q: Product.apply(p, q)[0], (0, None)), (None, 0))(a, a).sum()
    close(grad(both)(x), (3 + 5) * x.sum().expand(3))
    pushed = jvp(lambda a, b: Product.apply(a, b), (x, w), (fanal.ones(3), fanal.tensor(1.0)))[1]
    # Forward mode is the transpose of backward: 3 w v, and 5 x along w.
    close(pushed[0], 6 + 5 * x)


def test_flat_functions(x):
    close(grad(lambda a: vmap(Straight.apply)(a * 3).sum())(x), fanal.full((3,), 3.0))
    close(jvp(Straight.apply, (x,), (x,)), (fanal.zeros(3), x))


def test_backward_that_is_not_linear(x):
    close(grad(lambda a: (vmap(Clipped.apply)(a) * 5).sum())(x), fanal.ones(3))
    with pytest.raises(NotImplementedError, match="backward is not linear in the gradients"):
        jvp(Clipped.apply, (x,), (x,))
