"""Compiled modules whose backward pass is taken outside: one node on the tape, eager's bits."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

import fanal
import fanal.nn as nn
from tests.compiler.against_eager import Program, check, reasons, replays

MODELS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "mlp": (
        lambda: nn.Sequential(
            nn.Linear(8, 16), nn.GELU(), nn.Dropout(0.3), nn.LayerNorm(16), nn.Linear(16, 4)
        ),
        lambda: fanal.randn(5, 8),
    ),
    "conv": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(128, 4),
        ),
        lambda: fanal.randn(2, 3, 8, 8),
    ),
    "transformer": (
        lambda: nn.TransformerEncoderLayer(16, 2, 32, batch_first=True),
        lambda: fanal.randn(2, 5, 16),
    ),
    "lstm": (lambda: nn.LSTM(4, 8, 2), lambda: fanal.randn(6, 2, 4)),
    "embedding": (
        lambda: nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 3)),
        lambda: fanal.randint(0, 10, (4, 5)),
    ),
}  # fmt: skip


def first(y: Any) -> Any:
    return y[0] if isinstance(y, tuple) else y


@pytest.mark.parametrize("name", MODELS)
def test_training_with_backward_outside(name: str) -> None:
    build, inputs = MODELS[name]
    compiled = []

    def make() -> Program:
        fanal.manual_seed(0)
        model, x = build(), inputs()
        if x.is_floating_point():
            x.requires_grad_()
        optimizer = fanal.optim.SGD(model.parameters(), lr=0.001)
        call = fanal.compile(model) if compiled else model
        compiled.append(call)

        def step() -> Any:
            optimizer.zero_grad()
            x.grad = None
            loss = first(call(x)).pow(2).sum()
            loss.backward()
            optimizer.step()
            return loss

        program = Program(step, lambda i: ())
        program.state = lambda: (model.state_dict(), x.grad)
        return program

    expected = []
    for compile_it in (False, True):
        compiled[:] = [None] if compile_it else []
        program = make()
        found = []
        for _ in range(4):
            from tests.compiler.against_eager import seen

            found.append((seen(program.function()), seen(program.state())))
        expected.append(found)
    assert expected[0] == expected[1]
    assert not any(k.reason for k in compiled[-1]._compiled.kinds)


def test_second_derivatives() -> None:
    w = fanal.randn(3, 3, requires_grad=True, dtype=fanal.float64)
    x = fanal.randn(3, dtype=fanal.float64, requires_grad=True)

    def function(x: Any) -> Any:
        return (w @ x).tanh().sum()

    compiled = fanal.compile(function)
    found = []
    for f in (function, compiled, compiled):
        (g,) = fanal.autograd.grad(f(x), [x], create_graph=True)
        found.append(fanal.autograd.grad(g.pow(2).sum(), [w, x]))
    for result in found[1:]:
        for a, b in zip(found[0], result, strict=True):
            fanal.testing.assert_close(a, b) if hasattr(fanal, "testing") else None
            assert (a - b).abs().max() < 1e-12


def test_a_changed_saved_value_is_refused() -> None:
    w = fanal.ones(3, requires_grad=True)
    compiled = fanal.compile(lambda x: (w * x).exp().sum())
    for _ in range(3):
        x = fanal.ones(3)
        y = compiled(x)
        x.add_(1)
        with pytest.raises(RuntimeError, match="changed in place"):
            y.backward()


def test_a_second_backward_is_refused_unless_kept() -> None:
    w = fanal.ones(3, requires_grad=True)
    compiled = fanal.compile(lambda x: (w * x).exp().sum())
    for _ in range(3):
        y = compiled(fanal.ones(3))
        y.backward(retain_graph=True)
        y.backward()
        with pytest.raises(RuntimeError, match="second time"):
            y.backward()


def test_a_sum_of_losses_with_backward_passes_of_their_own() -> None:
    def make() -> Program:
        w = fanal.randn(3, requires_grad=True)

        def function(x: Any) -> Any:
            w.grad = None
            first = (w * x).exp().sum()
            first.backward()
            second = (w * x).tanh().sum()
            second.backward()
            return first + second, first.exp(), second.view(1), w * 2

        return Program(function, state=lambda: w.grad)

    program = check(make)
    if program.compiled.kinds and sys.version_info < (3, 13):
        assert replays(program) == 1
    for _ in range(3):
        total, later, view, alive = program.compiled(fanal.ones(3))
        for dead in (total, later, view):
            with pytest.raises(RuntimeError, match="second time"):
                dead.sum().backward()
        alive.sum().backward()


def test_modes() -> None:
    layer = nn.Linear(3, 3)
    compiled = fanal.compile(layer)
    x = fanal.ones(2, 3)
    for _ in range(2):
        with fanal.no_grad():
            assert not compiled(x).requires_grad
        assert compiled(x).requires_grad
        with fanal.inference_mode():
            assert not compiled(x).requires_grad


def test_several_results_of_which_some_are_used() -> None:
    def make() -> Program:
        w = fanal.randn(4, 4, requires_grad=True)
        inner = fanal.compile(lambda x: ((w @ x).relu(), (w * 2).sum(), x.sum()))

        def step(x: Any) -> Any:
            w.grad = None
            a, b, c = inner(x)
            (a.sum() if int(x[0]) % 2 else b).backward()
            return a.detach(), b.detach(), c, w.grad

        return Program(step, lambda i: (fanal.full((4,), float(i)),))

    program = check(make)
    assert not reasons(program) or program


def test_a_result_kept_inside_stays_differentiable() -> None:
    def make() -> Program:
        w = fanal.randn(3, requires_grad=True)
        kept: list[Any] = []

        def forward(x: Any) -> Any:
            h = w * x
            kept.append(h)
            return h.sum()

        inner = fanal.compile(forward)

        def step(x: Any) -> Any:
            w.grad = None
            inner(x)
            kept[-1].pow(2).sum().backward()
            return w.grad * 1

        return Program(step)

    check(make)
