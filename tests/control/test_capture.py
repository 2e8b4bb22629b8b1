"""Control flow in captured functions: one program, the bits of eager mode."""

from __future__ import annotations

import fanal
from fanal import nn
from tests.control import loops
from tests.control.loops import same_bits


def test_forward():
    w = fanal.randn(3, 3)

    def f(x, n):
        h, ys = fanal.scan(lambda h, x: ((x + h @ w).tanh(), h), fanal.zeros(2, 3), x)
        h = fanal.cond(h.sum() > 0, lambda: h * 2, lambda: h * 3)
        return fanal.while_loop(lambda n, h: n > 0, lambda n, h: (n - 1, h * 0.5), (n, h)), ys

    captured = fanal.compile(f, fullgraph=True)
    for k in range(4):
        x, n = fanal.randn(5, 2, 3), fanal.tensor(k)
        assert same_bits(captured(x, n), f(x, n))


def test_a_training_step():
    def trained(compiled):
        fanal.manual_seed(0)
        model = nn.LSTM(4, 8)
        optimizer = fanal.optim.SGD(model.parameters(), lr=0.1)
        scale = fanal.ones(8, requires_grad=True)

        def step(x):
            optimizer.zero_grad()
            scale.grad = None
            y, _ = model(x)
            total, _ = fanal.scan(lambda c, y: (c * 0.9 + y * scale, None), fanal.zeros(3, 8), y)
            loss = (total**2).mean()
            loss.backward()
            optimizer.step()
            return loss

        step = fanal.compile(step) if compiled else step
        losses = [step(fanal.randn(6, 3, 4)).item() for _ in range(5)]
        return losses, [p.detach().clone() for p in model.parameters()], scale.grad.clone()

    (a, p, g), (b, q, h) = trained(False), trained(True)
    assert a == b and same_bits(p, q) and same_bits(g, h)


def test_a_gradient_outside_of_the_captured_function():
    w = fanal.randn(3, 3, requires_grad=True)

    def f(x):
        return fanal.scan(lambda h, x: ((x + h @ w).tanh(), h), fanal.zeros(2, 3), x)

    x = fanal.randn(4, 2, 3)
    captured = fanal.compile(f)
    results = []
    for g in (f, captured, captured):
        h, ys = g(x)
        results += fanal.autograd.grad(h.sum() + (ys * ys).sum(), w)
    assert same_bits(results[0], results[1]) and same_bits(results[0], results[2])


def test_random_numbers_are_new_at_each_call():
    def f(x):
        return fanal.scan(lambda c, x: (c + x * fanal.rand(3), fanal.rand(2)), fanal.zeros(3), x)

    captured, x = fanal.compile(f), fanal.ones(4, 3)
    fanal.manual_seed(1)
    got = [captured(x) for _ in range(4)] + [fanal.rand(2)]
    fanal.manual_seed(1)
    want = [loops.scan(lambda c, x: (c + x * fanal.rand(3), fanal.rand(2)), fanal.zeros(3), x) for _ in range(4)]
    assert same_bits(got, [*want, fanal.rand(2)])
