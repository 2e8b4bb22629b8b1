"""Forms of training steps beyond forward, backward, update: each has eager's bits and is replayed."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import fanal
import fanal.nn as nn
import fanal.nn.functional as F
from fanal.utils.checkpoint import checkpoint
from tests.compiler.against_eager import Program, check, replays


def parameters(*modules: Any) -> Callable[[], Any]:
    return lambda: [p for m in modules for p in m.state_dict().values()]


def gradient_penalty() -> Program:
    critic = nn.Sequential(nn.Linear(5, 7), nn.LeakyReLU(0.2), nn.Linear(7, 7), nn.Tanh(), nn.Linear(7, 1))
    optimizer = fanal.optim.Adam(critic.parameters(), lr=1e-2)
    real, fake = fanal.randn(6, 5), fanal.randn(6, 5)

    def step(real: Any, fake: Any) -> Any:
        optimizer.zero_grad()
        share = fanal.rand(6, 1)
        mixed = (share * real + (1 - share) * fake).requires_grad_(True)
        score = critic(mixed)
        (slope,) = fanal.autograd.grad(score, mixed, fanal.ones_like(score), create_graph=True)
        loss = critic(fake).mean() - critic(real).mean() + ((slope.norm(2, dim=1) - 1) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    return Program(step, lambda i: (real, fake), state=parameters(critic))


def two_optimizers() -> Program:
    maker, judge = nn.Linear(3, 4), nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    first = fanal.optim.Adam(judge.parameters(), lr=1e-2)
    second = fanal.optim.Adam(maker.parameters(), lr=1e-2)
    bce = F.binary_cross_entropy_with_logits
    real, seed = fanal.randn(5, 4), fanal.randn(5, 3)

    def step(real: Any, seed: Any) -> Any:
        judge.zero_grad()
        true = bce(judge(real), fanal.ones(5, 1))
        true.backward()
        fake = maker(seed)
        false = bce(judge(fake.detach()), fanal.zeros(5, 1))
        false.backward()
        first.step()
        maker.zero_grad()
        fooled = bce(judge(fake), fanal.ones(5, 1))
        fooled.backward()
        second.step()
        return true + false + fooled

    return Program(step, lambda i: (real, seed), state=parameters(maker, judge))


def recomputed_parts() -> Program:
    blocks = nn.ModuleList(
        [nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Dropout(0.3), nn.Linear(12, 6)) for _ in range(3)]
    )
    optimizer = fanal.optim.SGD(blocks.parameters(), lr=0.1)
    x = fanal.randn(5, 6)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        for b in blocks:
            x = x + checkpoint(b, x, use_reentrant=False)
        loss = x.pow(2).mean()
        loss.backward()
        optimizer.step()
        return loss

    return Program(step, lambda i: (x,), state=parameters(blocks))


def accumulated_gradients() -> Program:
    layer = nn.Linear(4, 3)
    optimizer = fanal.optim.AdamW(layer.parameters(), lr=1e-2)
    x, y = fanal.randn(9, 4), fanal.randint(0, 3, (9,))

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        total = 0.0
        with fanal.autocast("cpu", dtype=fanal.bfloat16):
            for xs, ys in zip(x.chunk(3), y.chunk(3), strict=True):
                loss = F.cross_entropy(layer(xs), ys) / 3
                loss.backward()
                total = total + loss.detach()
        optimizer.step()
        return total

    return Program(step, lambda i: (x, y), state=parameters(layer))


FORMS = [gradient_penalty, two_optimizers, recomputed_parts, accumulated_gradients]


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.__name__)
def test_form(form: Callable[[], Program]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that autocast computes as ever
        program = check(form, 4)
    if sys.version_info < (3, 13):
        assert replays(program) == 1, program.compiled.history
    program.compiled.explain()
