"""Batched control flow is the loop over the batch, whatever carries the batch."""

from __future__ import annotations

import itertools

import pytest

import fanal
from fanal.func import vmap
from tests.control.loops import same_bits

f64 = fanal.float64


def stacked(results):
    return tuple(fanal.stack(column) for column in zip(*results, strict=True))


@pytest.mark.parametrize("which", list(itertools.product([0, None], repeat=3))[:-1])
def test_scan(which):
    shapes = ((3, 3), (2, 3), (5, 2, 3))
    given = [fanal.randn(*((4, *s) if w == 0 else s)) for s, w in zip(shapes, which, strict=True)]

    def f(w, h, xs):
        h, ys = fanal.scan(lambda h, x: ((x + h @ w).tanh(), (h, x * 2)), h, xs)
        return h, *ys

    got = vmap(f, which)(*given)
    want = stacked(
        [f(*(x[i] if w == 0 else x for x, w in zip(given, which, strict=True))) for i in range(4)]
    )
    for a, b in zip(got, want, strict=True):
        assert fanal.allclose(a, b, atol=1e-6)


def test_cond_with_one_predicate_or_many():
    x, flag = fanal.randn(6, 3), fanal.tensor(True)

    def one(x):
        return fanal.cond(flag, lambda: x.sin(), lambda: x * x)

    def many(x):
        return fanal.cond(x.sum() > 0, lambda: (x.sin(), x), lambda: (x * x, fanal.ones(3)))

    assert same_bits(vmap(one)(x), x.sin())
    assert same_bits(vmap(many)(x), stacked([many(v) for v in x]))


@pytest.mark.parametrize("limit", [None, 3])
def test_while_goes_on_until_all_are_done(limit):
    def f(x, by):
        return fanal.while_loop(
            lambda n, x: x < 100, lambda n, x: (n + 1, x * by), (0, x), max_steps=limit
        )

    x = fanal.tensor([1.0, 7.0, 200.0, 30.0])
    assert same_bits(vmap(f, (0, None))(x, 2), stacked([f(v, 2) for v in x]))
    by = fanal.tensor([2.0, 3.0, 4.0, 5.0])
    assert same_bits(vmap(f)(x, by), stacked([f(v, b) for v, b in zip(x, by, strict=True)]))

    def counted(x):
        return fanal.while_loop(lambda n, x: n < 3, lambda n, x: (n + 1, x * 2), (0, x))[1]

    assert same_bits(vmap(counted)(x), x * 8)


def test_gradients_of_batches():
    w, xs = fanal.randn(3, 3, dtype=f64), fanal.randn(4, 5, 3, dtype=f64)

    def f(w, xs):
        h, _ = fanal.scan(lambda h, x: ((x + h @ w).tanh(), None), fanal.zeros(3, dtype=f64), xs)
        return fanal.cond(h.sum() > 0, lambda: h.sum(), lambda: (h * h).sum())

    got = vmap(fanal.func.grad(f), (None, 0))(w, xs)
    for i in range(4):
        assert fanal.allclose(got[i], fanal.func.grad(f)(w, xs[i]))
