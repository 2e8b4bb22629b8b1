"""Transforms of transforms, three deep: each derivative against difference quotients of what it derives,
each `vmap` against the loop."""

from __future__ import annotations

import itertools
import zlib
from typing import Any

import numpy as np
import pytest

import fanal
import fanal.nn.functional as F
from fanal.func import grad, jacfwd, jacrev, jvp, linearize, vjp, vmap

F64 = fanal.float64
RNG = np.random.default_rng(0)
C = fanal.tensor(RNG.standard_normal((4, 4)))
W = fanal.tensor(RNG.standard_normal(4))
P = fanal.tensor(RNG.standard_normal(4), requires_grad=True)
X = fanal.tensor([0.3, -1.2, 0.7, 1.9], dtype=F64)
STEP = 1e-5


def written(x):
    y = x * W
    y[1:].mul_(x[:-1])
    return y.add_(1.0)


FUNCTIONS = {
    "sin": lambda x: (x * W).sin(),
    "softmax": lambda x: fanal.softmax(x @ C, -1),
    "written": written,
    "captured": lambda x: (x * P).sin(),
    "sort": lambda x: fanal.sort(x * W)[0] * x,
    "cumprod": lambda x: fanal.cumprod(x + 2, 0),
    "norm": lambda x: F.layer_norm(x, (4,)) * x.norm(),
    "index": lambda x: x[[2, 0, 1, 1]] * x.flip(0),
    "product": lambda x: (x.outer(x) @ C).sum(0).tanh(),
    "conv": lambda x: F.conv1d(x.reshape(1, 1, 4), C[:1, :3].reshape(1, 1, 3), padding=1).reshape(4).tanh(),
    "inverse": lambda x: fanal.linalg.inv(fanal.eye(4, dtype=F64) * (x.square().sum() + 3) + x.diag())[0],
    "scatter": lambda x: fanal.zeros(4, dtype=F64).scatter_add(0, fanal.tensor([0, 1, 1, 3]), x * x) * x.mean(),
}


def pulled(f):
    def g(x):
        out, pull = vjp(f, x)
        return pull(fanal.ones_like(out) * 0.5)[0]

    return g


def pushed_along(x):
    return x * 0.3 + 1.0


TRANSFORMS = {
    "vmap": lambda f: lambda x: vmap(f)(fanal.stack([x, x * 0.5 + 0.1])),
    "grad": lambda f: grad(lambda x: (f(x) ** 2).sum()),
    "jacrev": lambda f: lambda x: jacrev(f)(x),
    "jacfwd": lambda f: lambda x: jacfwd(f)(x),
    "jvp": lambda f: lambda x: jvp(f, (x,), (pushed_along(x),))[1],
    "vjp": pulled,
    "linearize": lambda f: lambda x: linearize(f, x)[1](pushed_along(x)),
}


def slopes(f: Any, x: Any) -> Any:
    """∂f/∂x, the last dimension along x, by central differences of fourth order."""
    rows = []
    for i in range(4):
        e = fanal.zeros(4, dtype=F64)
        e[i] = STEP * 20
        near = f(x + e) - f(x - e)
        far = f(x + e * 2) - f(x - e * 2)
        rows.append((near * 8 - far) / (12 * STEP * 20))
    return fanal.stack([r.detach() for r in rows], -1)


def expected(name: str, f: Any) -> Any:
    """What a transform of f is at X, from f's values alone."""
    if name == "vmap":
        return fanal.stack([f(X), f(X * 0.5 + 0.1)])
    table, value = slopes(f, X), f(X)
    if name == "grad":
        return (value.unsqueeze(-1) * table * 2).reshape(-1, 4).sum(0)
    if name == "vjp":
        return (table * 0.5).reshape(-1, 4).sum(0)
    return table if name.startswith("jac") else table @ pushed_along(X)


CASES = [
    (name, chain)
    for depth in (1, 2, 3)
    for name, chain in itertools.product(FUNCTIONS, itertools.product(TRANSFORMS, repeat=depth))
    if zlib.crc32(f"{name}{chain}".encode()) % (1, 4, 60)[depth - 1] == 0
]


@pytest.mark.parametrize(("name", "chain"), CASES, ids=[f"{n}-{'-'.join(c)}" for n, c in CASES])
def test_chain(name, chain):
    f = FUNCTIONS[name]
    for t in chain[:-1]:
        f = TRANSFORMS[t](f)
    got = TRANSFORMS[chain[-1]](f)(X)
    want = expected(chain[-1], f)
    assert tuple(got.shape) == tuple(want.shape)
    scale = 1 + float(want.detach().abs().max())
    np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy(), 1e-6, 2e-8 * scale)
