"""Passes over graphs: each leaves a well-formed graph, of which grade A ones change no bit."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

import fanal
from fanal import nn
from fanal.backends.reference import run_reference
from fanal.compiler.segments import Segment
from fanal.graph import Graph, verify
from fanal.nn import functional as F
from fanal.ops import passes

GRADES = {"A", "B"}


def networks() -> dict[str, tuple[nn.Module, fanal.Tensor]]:
    fanal.manual_seed(0)
    return {
        "convolutions": (
            nn.Sequential(
                nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
            ),
            fanal.randn(2, 3, 8, 8),
        ),
        "gates": (nn.LSTM(4, 5, batch_first=True), fanal.randn(2, 3, 4)),
        "attention": (
            nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True),
            fanal.randn(2, 3, 8),
        ),
    }


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Graph, tuple[int, ...]]]:
    """Every graph that is compiled, before its passes, and its steady inputs."""
    found: list[tuple[Graph, tuple[int, ...]]] = []
    begin = Segment.__init__

    def noted(self: Segment, source: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, source, *args, **kwargs)
        found.append((source(), tuple(self.steady)))

    monkeypatch.setattr(Segment, "__init__", noted)
    return found


def values(graph: Graph) -> list[np.ndarray]:
    """What a graph computes in NumPy, of fixed inputs."""
    rng = np.random.default_rng(0)
    given = [
        (
            rng.uniform(0.1, 1, v.shape) if v.dtype.kind == "f" else rng.integers(0, 3, v.shape)
        ).astype(v.dtype.numpy)
        for v in graph.inputs
    ]
    return run_reference(graph, given)


@pytest.mark.parametrize("name", networks())
@pytest.mark.parametrize("train", [True, False])
def test_each_pass(name: str, train: bool, graphs: list[tuple[Graph, tuple[int, ...]]]) -> None:
    net, x = networks()[name]
    net.train(train)

    def step(x: fanal.Tensor) -> fanal.Tensor:
        out = net(x)
        out = out[0] if isinstance(out, tuple) else out
        loss = F.mse_loss(out, fanal.zeros_like(out))
        if train:
            loss.backward()
        return loss

    with fanal.set_grad_enabled(train):
        fanal.compile(step)(x)
    assert graphs
    for graph, steady in graphs:
        before = values(graph)
        for one in passes.PASSES:
            assert one.grade in GRADES
            graph = one(graph)
            verify(graph)
            if one.grade == "A":
                for a, b in zip(before, values(graph), strict=True):
                    np.testing.assert_array_equal(a, b)
        folded, fired = passes.improved(graph, steady)
        verify(folded)
        if fired[passes.FOLD]:
            for a, b in zip(before, values(folded), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_fired_passes_are_counted(graphs: list[tuple[Graph, tuple[int, ...]]]) -> None:
    net, x = networks()["convolutions"]
    with fanal.no_grad():
        fanal.compile(net.eval())(x)
    ((graph, steady),) = graphs
    _, fired = passes.improved(graph, steady)
    assert isinstance(fired, Counter) and fired[passes.FOLD] == 1
    assert passes.improved(graph)[1][passes.FOLD] == 0


@pytest.mark.parametrize("pool", [F.max_pool1d, F.max_pool2d], ids=["1d", "2d"])
@pytest.mark.parametrize("extent", [12, 13, 15])
def test_windows_side_by_side_give_their_gradient_back_in_place(
    pool: Any, extent: int, graphs: list[tuple[Graph, tuple[int, ...]]]
) -> None:
    """No zeros are written and added; the bits are eager mode's, signed zeros too."""
    spatial = 2 if pool is F.max_pool2d else 1
    x = fanal.randn(2, 3, *[extent] * spatial)
    x[0, 0] = 0.0
    x[0, 1, 3] = float("nan")
    negative = fanal.tensor(-0.0)

    def gradient(x: fanal.Tensor) -> fanal.Tensor:
        x = (x * 1.0).detach().requires_grad_()
        y = pool(x, 3)
        y.backward(negative.expand_as(y) * y.detach().sign())
        return x.grad

    expected = gradient(x)
    found = fanal.compile(gradient)(x)
    assert found.numpy().tobytes() == expected.numpy().tobytes()
    nodes = passes.improved(graphs[0][0])[0].nodes
    assert sum(n.primitive.name == "interleave" for n in nodes) == spatial
    spread = [n for n in nodes if n.primitive.name == "pad" and any(n.attributes["interior"])]
    assert not spread
