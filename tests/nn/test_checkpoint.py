"""A part computed again in the backward pass has the same gradients, random numbers included."""

from __future__ import annotations

import fanal
from fanal import nn
from fanal.utils.checkpoint import checkpoint, checkpoint_sequential


def gradients(net: nn.Module, loss: fanal.Tensor) -> list[fanal.Tensor]:
    net.zero_grad()
    loss.backward()
    return [p.grad.clone() for p in net.parameters()]


def test_gradients_are_the_same() -> None:
    net = nn.Sequential(
        nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)
    )
    x = fanal.randn(5, 4, requires_grad=True)
    results = []
    for call in (net, lambda x: checkpoint_sequential(net, 3, x), lambda x: checkpoint(net, x)):
        fanal.manual_seed(1)
        x.grad = None
        results.append([*gradients(net, call(x).pow(2).sum()), x.grad])
    for other in results[1:]:
        assert all(fanal.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_other_arguments_and_inputs_without_gradient() -> None:
    layer = nn.Linear(3, 2)
    x = fanal.randn(4, 3)

    def part(x: fanal.Tensor, nothing: None, factor: float, bias: fanal.Tensor | None = None) -> object:
        y = layer(x) * factor
        return y, (y + bias).sum()

    found = checkpoint(part, x, None, 2.0, bias=fanal.ones(2), use_reentrant=False)
    expected = gradients(layer, sum(part(x, None, 2.0, fanal.ones(2))).sum())
    assert all(map(fanal.equal, gradients(layer, (found[0] + found[1]).sum()), expected))
