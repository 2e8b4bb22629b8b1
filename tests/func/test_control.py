"""Transforms of loops and branches that stay in one program; and nothing is kept that should go."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

import fanal
from fanal.func import grad, hessian, jacrev, jvp, linearize, vjp, vmap
from tests.func.check import close, loop

fanal.manual_seed(0)
X = fanal.randn(3, 5, 2)
W = fanal.randn(2, 2)


def steps(xs):
    return fanal.scan(lambda h, s: ((h @ W + s).tanh(), h * s), init=fanal.zeros(2), xs=xs)[1].sum()


def growing(xs):
    return fanal.while_loop(lambda v: v.norm() < 10, lambda v: (v * 1.5,), (xs,))[0].sum()


def either(xs):
    return fanal.cond(xs.sum() > 0, lambda v: v * 2, lambda v: v.exp(), (xs,)).sum()


def detaching(xs):
    return fanal.scan(lambda c, s: (c * s.detach(), c * s), init=fanal.ones(2), xs=xs)[1].sum()


def detaching_loop(xs):
    c, total = fanal.ones(2), fanal.zeros(())
    for s in xs:
        total = total + (c * s).sum()
        c = c * s.detach()
    return total


@pytest.mark.parametrize("f", [steps, growing, either])
def test_mapped(f):
    close(vmap(f)(X), loop(f, X))


@pytest.mark.parametrize("f", [steps, either])
def test_derivatives(f):
    wanted = loop(grad(f), X)
    close(vmap(grad(f))(X), wanted, 1e-5, 1e-6)
    close(grad(lambda x: vmap(f)(x).sum())(X), wanted, 1e-5, 1e-6)
    close(jvp(f, (X[0],), (X[1],))[1], (wanted[0] * X[1]).sum(), 1e-5, 1e-6)
    close(hessian(f)(X[0]), jacrev(jacrev(f))(X[0]), 1e-5, 1e-5)


def test_detach_inside():
    close(grad(detaching)(X[0]), grad(detaching_loop)(X[0]), 1e-5, 1e-6)
    close(jvp(detaching, (X[0],), (X[1],))[1], jvp(detaching_loop, (X[0],), (X[1],))[1], 1e-5, 1e-6)


def test_random_numbers_inside():
    def f(xs):
        return fanal.scan(lambda c, s: (c + fanal.rand(2) + s, c), init=fanal.zeros(2), xs=xs)[0]

    zeros = fanal.zeros(3, 4, 2)
    same = vmap(f, randomness="same")(zeros)
    close(same, same[0].expand(3, 2))
    assert len(set(vmap(f, randomness="different")(zeros).flatten().tolist())) == 6
    with pytest.raises(RuntimeError, match="randomness error mode"):
        vmap(f)(zeros)


@pytest.mark.parametrize(
    "transform",
    [
        lambda x: vmap(lambda a: a * W[0])(x),
        lambda x: vmap(grad(lambda a: (a * a).sum()))(x),
        lambda x: grad(lambda a: vmap(lambda b: b.sum())(a).sum())(x),
        lambda x: jvp(lambda a: a * 2, (x,), (x,)),
        lambda x: vjp(lambda a: a * 2, x)[1](x),
        lambda x: linearize(lambda a: a * a, x)[1](x),
    ],
)
def test_nothing_is_held_in_circles(transform):
    x = fanal.randn(4, 2)
    transform(x)
    gc.collect()
    gc.disable()
    try:
        x = fanal.randn(4, 2)
        gone = weakref.ref(x)
        transform(x)
        del x
        assert gone() is None
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_threads():
    errors = []

    def work(k: int) -> None:
        try:
            for _ in range(20):
                got = vmap(grad(lambda a: (a**3).sum()))(fanal.full((3, 4), float(k)))
                close(got, fanal.full((3, 4), 3.0 * k * k))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert errors == []
