"""The tape: what gradients are, where they go, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import fanal
from fanal.autograd import Function, grad, gradcheck, gradgradcheck


def leaf(*shape: int) -> fanal.Tensor:
    return fanal.randn(*shape, dtype=fanal.float64).requires_grad_()


@pytest.fixture(autouse=True)
def seeded():
    fanal.manual_seed(0)


FUNCTIONS = {
    "matmul": (lambda a, b: a @ b, [(3, 4), (4, 2)]),
    "batched": (lambda a, b: a @ b, [(2, 3, 4), (4, 2)]),
    "softmax": (lambda a: fanal.softmax(a, 1).log(), [(3, 4)]),
    "broadcast": (lambda a, b: (a * b + b).tanh(), [(3, 1, 2), (4, 1)]),
    "index": (lambda a: a[1:, [0, 2]] * a[0, 1], [(3, 4)]),
    "views": (lambda a: a.t().reshape(2, 6)[:, ::2].unsqueeze(1).expand(2, 3, 3), [(3, 4)]),
    "extremes": (lambda a: a.max(1)[0] + a.amin(1) * a.prod(1), [(3, 4)]),
    "variance": (lambda a: a.var(0) / a.std(0).exp(), [(5, 3)]),
    "cat": (lambda a, b: fanal.cat([a, b * 2], 1).flip(1), [(2, 3), (2, 2)]),
    "conv": (
        lambda a, b: fanal.conv2d(a, b, stride=2, padding=1), [(2, 3, 5, 4), (4, 3, 3, 2)],
    ),
    "power": (lambda a: (a * a + 1) ** 1.5 - a**3, [(4,)]),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_first_and_second_derivatives(name):
    function, shapes = FUNCTIONS[name]
    inputs = tuple(leaf(*s) for s in shapes)
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


def test_gradients_accumulate_and_are_not_shared():
    a, b = leaf(3), leaf(3)
    (a + b).sum().backward()
    a.grad += 1
    np.testing.assert_array_equal(b.grad.numpy(), 1)
    (a * 2).sum().backward()
    np.testing.assert_array_equal(a.grad.numpy(), 4)


def test_writes_through_views_are_recorded():
    x = leaf(4)
    y = x * 2
    part = y[1:3]
    part.mul_(3)
    y[0] = 0
    (y * y).sum().backward()
    v = x.detach().numpy()
    np.testing.assert_allclose(x.grad.numpy(), [0, 72 * v[1], 72 * v[2], 8 * v[3]])
    assert part.grad_fn is not None


def test_in_place_keeps_what_backward_needs():
    x = leaf(3)
    y = x * 1
    y *= y
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * x.detach().numpy())


def test_hooks_and_retained_gradients():
    x = leaf(2)
    seen = []
    y = x * 3
    y.retain_grad()
    handle = y.register_hook(lambda g: seen.append(g.tolist()) or g * 2)
    x.register_hook(lambda g: g + 1)
    y.sum().backward()
    assert seen == [[1.0, 1.0]]
    np.testing.assert_array_equal(x.grad.numpy(), 7)
    np.testing.assert_array_equal(y.grad.numpy(), 2)
    handle.remove()


def test_custom_functions():
    class Cube(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 3 * x * x

    assert gradcheck(Cube.apply, (leaf(3),))
    assert gradgradcheck(Cube.apply, (leaf(3),))


def test_modes():
    x = leaf(2)
    with fanal.no_grad():
        assert not (x * 2).requires_grad
        with fanal.enable_grad():
            assert (x * 2).requires_grad
    assert not x.detach().requires_grad
    with fanal.inference_mode():
        assert fanal.is_inference_mode_enabled()
        assert not (x * 2).requires_grad

    @fanal.no_grad()
    def f():
        return x * 2

    assert not f().requires_grad


def test_unused_and_higher_order():
    x, unused = leaf(3), leaf(3)
    y = (x**3).sum()
    (first,) = grad(y, x, create_graph=True)
    (second,) = grad(first.sum(), x, create_graph=True)
    (third,) = grad(second.sum(), x)
    np.testing.assert_allclose(third.numpy(), 6)
    with pytest.raises(RuntimeError, match="was not used"):
        grad((x * 1).sum(), unused)
    assert grad((x * 1).sum(), unused, allow_unused=True) == (None,)


def _twice():
    y = (leaf(2).exp()).sum()
    y.backward()
    y.backward()


def _stale():
    x = leaf(2)
    y = x.exp()
    y.add_(1)
    y.sum().backward()


REFUSED = [
    (_twice, "a second time"),
    (_stale, "changed in place since"),
    (lambda: leaf(2).add_(1), "a leaf that requires grad"),
    (lambda: leaf(2)[0].add_(1), "a view of a leaf"),
    (lambda: leaf(2).backward(), "scalar outputs only"),
    (lambda: fanal.ones(1).backward(), "does not require grad"),
    (lambda: fanal.ones(2, dtype=fanal.int64).requires_grad_(), "only floating tensors"),
    (lambda: leaf(2).numpy(), r"detach\(\)"),
]


@pytest.mark.parametrize(("call", "text"), REFUSED)
def test_refusals(call, text):
    with pytest.raises(RuntimeError, match=text):
        call()


def test_anomaly_mode_names_the_forward_line():
    with fanal.autograd.detect_anomaly():
        x = fanal.zeros(2, requires_grad=True)
        y = (x.sqrt() * 0).sum()
        with pytest.raises(RuntimeError, match="x.sqrt"):
            y.backward()
