"""Jacobians and Hessians: closed forms, structures, every mixture of modes."""

from __future__ import annotations

import itertools

import pytest

import fanal
from fanal import nn
from fanal.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, linearize, vjp, vmap
from tests.func.check import close

MODES = {"reverse": jacrev, "forward": jacfwd}


@pytest.fixture
def x():
    return fanal.tensor([0.3, -1.2, 0.7], dtype=fanal.float64)


@pytest.mark.parametrize("jac", MODES.values(), ids=MODES)
def test_structures(x, jac):
    def f(d, y):
        return {"p": fanal.outer(d["a"], y), "s": (d["a"].sum(),)}

    y = x[:2] * 2
    eye = fanal.eye(3, dtype=x.dtype)
    wrt_a = eye[:, None, :] * y[None, :, None]
    found = jac(f)({"a": x}, y)
    close(found, {"p": {"a": wrt_a}, "s": ({"a": fanal.ones(3, dtype=x.dtype)},)})
    found = jac(f, argnums=(1, 0))({"a": x}, y)
    close(found["p"], (x[:, None, None] * eye[:2, :2], {"a": wrt_a}))
    found, aux = jac(lambda a: (a * a, {"k": a.sum()}), has_aux=True)(x)
    close((found, aux), (fanal.diag(2 * x), {"k": x.sum()}))


@pytest.mark.parametrize("jac", MODES.values(), ids=MODES)
def test_shapes(x, jac):
    m = fanal.stack([x, x * 2])
    assert tuple(jac(lambda a: a.sum())(m).shape) == (2, 3)
    assert tuple(jac(lambda a: a.T @ a)(m).shape) == (3, 3, 2, 3)
    assert tuple(jac(lambda a: a * 2)(x.sum()).shape) == ()
    assert tuple(jac(lambda a: a * 2)(fanal.ones(0)).shape) == (0, 0)
    assert tuple(vmap(jac(fanal.sin))(m).shape) == (2, 3, 3)


@pytest.mark.parametrize("size", [1, 2, 4, 100])
def test_rows_in_chunks(x, size):
    def f(a):
        return a.outer(a), a.sin()

    close(jacrev(f, chunk_size=size)(x), jacrev(f)(x))
    if size == 1:  # no vmap: elements may be looked at, also in backward
        close(jacrev(lambda a: a * a[0].item(), chunk_size=1)(x), fanal.eye(3, dtype=x.dtype) * x[0])


def test_hessians_by_all_mixtures(x):
    def f(a):
        return (a.sin() * a.roll(1)).sum() + (a**3).prod()

    want = hessian(f)(x)
    close(want, fanal.autograd.functional.hessian(f, x), 1e-9)
    for outer, inner in itertools.product(MODES.values(), repeat=2):
        close(outer(inner(f))(x), want, 1e-9)
    close(jacrev(grad(f))(x), want, 1e-9)
    close(vmap(lambda v: jvp(grad(f), (x,), (v,))[1])(fanal.eye(3, dtype=x.dtype)), want, 1e-9)
    close(vmap(lambda v: vjp(grad(f), x)[1](v)[0])(fanal.eye(3, dtype=x.dtype)), want, 1e-9)
    close(vmap(linearize(grad(f), x)[1])(fanal.eye(3, dtype=x.dtype)), want, 1e-9)
    close(vmap(hessian(f))(fanal.stack([x, x * 2]))[0], want, 1e-9)


def test_hessians_by_several_arguments(x):
    def f(a, b):
        return (a * a * b).sum()

    (aa, ab), (ba, bb) = hessian(f, argnums=(0, 1))(x, x * 2)
    close((aa, ab, ba), (fanal.diag(4 * x), fanal.diag(2 * x), fanal.diag(2 * x)))
    close(bb, fanal.zeros(3, 3, dtype=x.dtype))


def test_third_derivatives(x):
    third = jacfwd(hessian(lambda a: (a**4).sum()))(x)
    want = fanal.zeros(3, 3, 3, dtype=x.dtype)
    for i in range(3):
        want[i, i, i] = 24 * x[i]
    close(third, want)


def test_the_hessian_of_a_network(x):
    fanal.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).to(fanal.float64)
    close(
        hessian(lambda a: net(a).sum())(x),
        fanal.autograd.functional.hessian(lambda a: net(a).sum(), x), 1e-9,
    )  # fmt: skip
    params = {k: v.detach() for k, v in net.named_parameters()}
    names = list(params)

    def loss(p):
        return functional_call(net, p, (x,)).square().sum()

    whole = hessian(loss)(params)
    rows = []
    for a in names:
        row = [whole[a][b].reshape(params[a].numel(), params[b].numel()) for b in names]
        rows.append(fanal.cat(row, 1))
    h = fanal.cat(rows, 0)
    close(h, h.T, 1e-9)
    # H v by a difference quotient of gradients.
    v = {k: fanal.randn_like(p) for k, p in params.items()}
    flat = fanal.cat([v[k].reshape(-1) for k in names])
    step = 1e-5
    ends = [
        grad(loss)({k: p + s * step * v[k] for k, p in params.items()}) for s in (1, -1)
    ]
    moved = fanal.cat([(ends[0][k] - ends[1][k]).reshape(-1) for k in names]) / (2 * step)
    close(h @ flat, moved, 1e-6, 1e-8)


def test_the_tape_outside():
    x = fanal.tensor([0.5, 2.0], requires_grad=True)
    w = fanal.tensor([1.0, 3.0], requires_grad=True)
    for jac in MODES.values():
        x.grad = w.grad = None
        jac(lambda a: a**3 * w)(x).sum().backward()
        close((x.grad, w.grad), (6 * x.detach() * w.detach(), 3 * x.detach() ** 2))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: jacrev(lambda a: a, chunk_size=0), ValueError, "`chunk_size` should be greater than 0"),
        (lambda x: jacrev(lambda a: a.argmax())(x), RuntimeError, "must be floating-point"),
        (lambda x: jacrev(lambda a: a, argnums=1)(x), RuntimeError, "Got argnum=1, but only 1"),
        (lambda x: jacfwd(lambda a: a + fanal.rand(3))(x), RuntimeError, "randomness error mode"),
        (lambda x: jacfwd(lambda a: 3.0)(x), RuntimeError, "to return only tensors"),
    ],
)
def test_errors(x, call, error, text):
    with pytest.raises(error, match=text):
        call(x)


def test_randomness(x):
    got = jacfwd(lambda a: a * fanal.rand(3), randomness="same")(x)
    assert float((got - fanal.diag(got.diagonal())).abs().max()) == 0
