"""Batch normalisations of applied networks in the weights of the convolutions before them: grade B."""

from __future__ import annotations

import copy

import pytest

import fanal
from fanal import nn


def network() -> nn.Module:
    fanal.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(3, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(),
        nn.Conv2d(24, 24, 3, groups=24, bias=False), nn.BatchNorm2d(24, affine=False), nn.ReLU6(),
        nn.Conv2d(24, 10, 1), nn.BatchNorm2d(10),
    )  # fmt: skip
    for _ in range(5):
        net(fanal.randn(8, 3, 9, 9) * 3 + 1)  # running statistics that are no trivial ones
    return net.eval()


def test_the_error_is_of_the_size_of_eager_mode() -> None:
    net, x = network(), fanal.randn(4, 3, 9, 9)
    exact = copy.deepcopy(net).double()(x.double())
    eager = (net(x).double() - exact).abs().max().item()
    compiled = fanal.compile(net)
    with fanal.inference_mode():
        found = (compiled(x).double() - exact).abs().max().item()
    assert 0 < found <= 4 * eager
    assert "fold" in str(compiled.explain()) and "grade B" in str(compiled.explain())


def test_exact_is_eager() -> None:
    net, x = network(), fanal.randn(4, 3, 9, 9)
    compiled = fanal.compile(net, options={"exact": True})
    with fanal.inference_mode():
        assert fanal.equal(compiled(x), net(x))
        assert fanal.equal(copy.deepcopy(compiled)(x), net(x))


def test_changed_statistics_count() -> None:
    net, x = network(), fanal.randn(4, 3, 9, 9)
    compiled = fanal.compile(net)
    with fanal.inference_mode():
        before = compiled(x)
        net[1].running_mean.add_(1.0)
        net[0].weight.mul_(1.5)
        after = compiled(x)
        assert not fanal.allclose(before, after)
        assert fanal.allclose(after, net(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("grad", [False, True])
def test_training_is_exact(grad: bool) -> None:
    """Nothing is folded where the statistics are the batch's own, or gradients are recorded."""
    net, x = network().train(not grad), fanal.randn(4, 3, 9, 9)
    other = copy.deepcopy(net)
    with fanal.set_grad_enabled(grad):
        assert fanal.equal(fanal.compile(net)(x), other(x))
