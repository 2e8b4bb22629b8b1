"""Parts that are computed again in compiled functions: eager's bits, and the memory that eager saves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import fanal
import fanal.nn as nn
import fanal.nn.functional as F
from fanal.utils.checkpoint import checkpoint, checkpoint_sequential
from tests.compiler.against_eager import Program, check, replays


class Block(nn.Module):
    def __init__(self, width: int, drop: float = 0.0):
        super().__init__()
        self.norm, self.first = nn.LayerNorm(width), nn.Linear(width, 4 * width)
        self.drop, self.last = nn.Dropout(drop), nn.Linear(4 * width, width)

    def forward(self, x: Any, scale: Any = None) -> Any:
        y = self.last(self.drop(F.gelu(self.first(self.norm(x)))))
        return x + (y if scale is None else y * scale)


Chain = Callable[[nn.ModuleList, Any], Any]


def plain(blocks: nn.ModuleList, x: Any) -> Any:
    for b in blocks:
        x = b(x)
    return x


def each(blocks: nn.ModuleList, x: Any) -> Any:
    for b in blocks:
        x = checkpoint(b, x, use_reentrant=False)
    return x


def reentrant(blocks: nn.ModuleList, x: Any) -> Any:
    for b in blocks:
        x = checkpoint(b, x, use_reentrant=True)
    return x


def nested(blocks: nn.ModuleList, x: Any) -> Any:
    half = len(blocks) // 2

    def part(some: Any) -> Callable[[Any], Any]:
        return lambda x: each(some, x)

    x = checkpoint(part(list(blocks)[:half]), x, use_reentrant=False)
    return checkpoint(part(list(blocks)[half:]), x, use_reentrant=False)


def sequential(blocks: nn.ModuleList, x: Any) -> Any:
    return checkpoint_sequential(list(blocks), 4, x, use_reentrant=False)


def scaled(blocks: nn.ModuleList, x: Any) -> Any:
    # Tensors by name, among them one of the step's own values; results that are views.
    scale = (x * 0.1).exp()
    for b in blocks:
        x = checkpoint(b, x, scale=scale, use_reentrant=False).view(x.shape)
    return x


def training(chain: Chain, drop: float, depth: int = 8, batch: int = 48, width: int = 16) -> Program:
    blocks = nn.ModuleList([Block(width, drop) for _ in range(depth)])
    optimizer = fanal.optim.AdamW(blocks.parameters(), lr=1e-2)
    x = fanal.randn(batch, width)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = chain(blocks, x).pow(2).mean()
        loss.backward()
        optimizer.step()
        return loss

    def state() -> Any:
        return [(p, p.grad) for p in blocks.parameters()]

    return Program(step, lambda i: (x,), state=state)


def arena(program: Program) -> int:
    return int(program.compiled.explain().facts.programs[0].description.arena_bytes)


@pytest.mark.parametrize("chain", [each, reentrant, nested, sequential, scaled])
@pytest.mark.parametrize("drop", [0.0, 0.3])
def test_eager_bits(chain: Chain, drop: float) -> None:
    program = check(lambda: training(chain, drop))
    assert replays(program) == 1


@pytest.mark.parametrize("drop", [0.0, 0.3])
@pytest.mark.parametrize(("chain", "factor"), [(each, 3.5), (reentrant, 3.5), (nested, 3.5), (sequential, 2)])
def test_the_arena_shrinks(chain: Chain, factor: float, drop: float) -> None:
    """A block keeps its input, 16 numbers a row, in the place of these, its row's mean and scale,
    64 before and after the activation, and the activation's slope."""
    kept = arena(check(lambda: training(plain, drop, 16, 256), 2))
    again = arena(check(lambda: training(chain, drop, 16, 256), 2))
    assert kept > factor * again, (kept, again)


def test_what_is_computed_again_comes_after_the_gradient() -> None:
    """The deeper the network, the more is saved: only inputs of blocks grow with it."""
    shallow, deep = (arena(check(lambda d=d: training(each, 0.0, d, 256), 2)) for d in (4, 24))
    inputs = 20 * 256 * 16 * 4
    assert deep - shallow < 1.6 * inputs


def test_gradients_outside_of_the_compiled_function() -> None:
    found = []
    for chain in (plain, each):
        fanal.manual_seed(0)
        blocks = nn.ModuleList([Block(16) for _ in range(4)])
        x = fanal.randn(32, 16, requires_grad=True)
        run = fanal.compile(lambda x, blocks=blocks, chain=chain: chain(blocks, x))
        for _ in range(3):
            blocks.zero_grad()
            x.grad = None
            run(x).pow(2).sum().backward()
        found.append([x.grad.clone(), *(p.grad.clone() for p in blocks.parameters())])
    assert all(map(fanal.equal, *found))


def convolutions() -> Program:
    net = nn.ModuleList(
        [nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()) for _ in range(3)]
    )
    optimizer = fanal.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    x = fanal.randn(2, 16, 9, 9)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = each(net, x).square().sum()
        loss.backward()
        optimizer.step()
        return loss

    return Program(step, lambda i: (x,), state=lambda: net.state_dict())


def parameters_as_arguments() -> Program:
    """What is computed again is made of a weight that the step replaces, also read transposed."""
    w = nn.Parameter(fanal.randn(6, 6))
    optimizer = fanal.optim.SGD([w], lr=0.1)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        y = checkpoint(lambda w, x: ((w * w.t()) @ x, w.tanh()), w, x, use_reentrant=False)
        loss = y[0].sin().sum() + y[1].sum()
        loss.backward()
        optimizer.step()
        return loss

    return Program(step, lambda i: (fanal.full((6, 3), float(i)),), state=lambda: (w, w.grad))


def rows_and_integers() -> Program:
    """Arguments that are integers, numbers of rows, and results of reductions."""
    table = nn.Embedding(7, 5)
    optimizer = fanal.optim.SGD(table.parameters(), lr=0.1)
    index = fanal.randint(0, 7, (4,))

    def part(index: Any, peak: Any, nothing: Any, times: int) -> Any:
        return (table(index) * times - peak).softmax(-1)

    def step(index: Any) -> Any:
        optimizer.zero_grad()
        peak = table.weight.amax() + table.weight.sum(0)
        y = checkpoint(part, index, peak, None, 3, use_reentrant=False)
        loss = (y * y).sum() + checkpoint(lambda p: p.exp().sum(), peak, use_reentrant=False)
        loss.backward()
        optimizer.step()
        return loss

    return Program(step, lambda i: (index,), state=lambda: (table.weight, table.weight.grad))


@pytest.mark.parametrize("make", [convolutions, parameters_as_arguments, rows_and_integers])
def test_other_parts(make: Callable[[], Program]) -> None:
    assert replays(check(make)) == 1
