"""Transforms inside of captured functions, and `functionalize`."""

from __future__ import annotations

import pytest

import fanal
import fanal.nn.functional as F
from fanal import nn
from fanal.func import (
    functional_call,
    functionalize,
    grad,
    grad_and_value,
    hessian,
    jacrev,
    jvp,
    vmap,
)
from tests.func.check import close

SCALE = 2.0


def test_derivatives():
    def f(x):
        w = fanal.tensor([1.0, 2.0, 3.0])
        inner = hessian(lambda v: (v * w).sin().prod())(x)
        return inner, jvp(lambda v: v * w, (x,), (x,))[1], jacrev(lambda v: v * v.sum())(x)

    compiled = fanal.compile(f)
    for _ in range(3):
        x = fanal.randn(3)
        close(compiled(x), f(x), 0, 0)


def test_clipped_gradients_of_samples_with_dropout():
    fanal.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.5), nn.Linear(16, 5))
    params = {k: p.detach() for k, p in model.named_parameters()}

    def loss(p, x, y):
        return F.cross_entropy(functional_call(model, p, (x[None],)), y[None])

    def step(x, y):
        grads = vmap(grad(loss), (None, 0, 0), randomness="different")(params, x, y)
        norms = sum([g.flatten(1).square().sum(1) for g in grads.values()]).sqrt()
        weights = 1 / norms.clamp(min=1.0)
        return {k: (g * weights.reshape(-1, *[1] * (g.ndim - 1))).sum(0) for k, g in grads.items()}

    compiled = fanal.compile(step)
    x, y = fanal.randn(6, 8), fanal.randint(0, 5, (6,))
    results = []
    for function in (step, compiled):
        fanal.manual_seed(1)
        results.append([function(x, y) for _ in range(4)])
    close(results[0], results[1], 0, 0)
    assert float((results[0][0]["0.weight"] - results[0][1]["0.weight"]).abs().max()) > 0


def test_training_in_place():
    x, t = fanal.randn(7, 5), fanal.randn(7, 3)
    losses = []
    for wrapped in (lambda f: f, fanal.compile):
        fanal.manual_seed(0)
        w = fanal.randn(5, 3)

        def train(x, t, w=w):
            g, loss = grad_and_value(lambda v: ((x @ v - t) ** 2).mean())(w)
            w.sub_(g * 0.1)
            return loss

        step = wrapped(train)
        losses.append([float(step(x, t)) for _ in range(4)])
    assert losses[0] == losses[1]
    assert losses[0][3] < losses[0][0]


def test_globals_count(monkeypatch):
    compiled = fanal.compile(lambda x: vmap(lambda a: a * SCALE)(x))
    x = fanal.ones(3)
    close((compiled(x), compiled(x)), (x * 2, x * 2))
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    close(compiled(x), x * 3)


@pytest.mark.parametrize("remove", ["mutations", "mutations_and_views"])
def test_functionalize(remove):
    total = fanal.zeros(2)

    def f(a, scale=1.0):
        b = a.view(-1)
        b.add_(1)
        total.add_(a.sum())
        c = a * scale
        c[0] = 0
        return {"c": c, "n": 3}

    a, b = fanal.ones(2, 2), fanal.ones(2, 2)
    found = functionalize(f, remove=remove)(a, scale=2.0)
    close(total, fanal.full((2,), 8.0))
    close(found, f(b, scale=2.0))
    close(a, b)
    close(vmap(functionalize(lambda v: v.clone().mul_(2)))(a), a * 2)
    with pytest.raises(RuntimeError, match="invalid argument for remove=x"):
        functionalize(f, remove="x")
