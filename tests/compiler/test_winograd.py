"""Winograd's algorithm for 3×3 convolutions: only on request, grade B, the same bits in any batch."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import fanal
from fanal import nn
from fanal.backends.native.contract.winograd.transforms import (
    inputs_line,
    outputs_line,
    weights_line,
)
from fanal.backends.reference import run_reference
from fanal.compiler.segments import Segment
from fanal.graph import Graph, verify
from fanal.nn import functional as F
from fanal.ops import passes
from fanal.ops.passes.winograd import tile_for

ON = {"winograd": True}
# Image, channels in and out, padding: whole tiles and torn ones, channels that fill vectors and not.
SHAPES = [
    ((16, 16), 32, 32, 1),
    ((13, 18), 32, 48, 1),
    ((17, 11), 40, 20, 0),
    ((12, 14), 33, 64, 2),
    ((9, 7), 64, 64, 1),
    ((8, 8), 96, 37, 1),
    ((24, 16), 256, 16, 1),
]


def name_of(shape: Any) -> str:
    (h, w), inside, outside, padding = shape
    return f"{h}x{w}-{inside}-{outside}-pad{padding}"


def network(inside: int, outside: int, padding: int) -> nn.Module:
    fanal.manual_seed(1)
    return nn.Sequential(nn.Conv2d(inside, outside, 3, padding=padding), nn.ReLU()).eval()


def rewrites_of(compiled: Any) -> dict[str, Any]:
    """Those that keep no bits, by name."""
    return {r.name: r for p in compiled.explain().facts.programs for r in p.rewrites}


def kinds_of(compiled: Any) -> list[str]:
    """What the kernels of all programs are."""
    programs = compiled.explain().facts.programs
    return [k.key.split("|")[0] for p in programs for row in p.kernels for k in row.kernels]


def errors(a: fanal.Tensor, exact: fanal.Tensor) -> tuple[float, float]:
    """Root mean square and largest difference."""
    difference = (a.double() - exact).abs()
    return (difference**2).mean().item() ** 0.5, difference.max().item()


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("shape", SHAPES, ids=name_of)
def test_the_error_is_within_its_bound(shape: Any, batch: int) -> None:
    extents, inside, outside, padding = shape
    net, x = network(inside, outside, padding), fanal.randn(batch, inside, *extents)
    exact = copy.deepcopy(net).double()(x.double())
    compiled = fanal.compile(net, options=ON)
    with fanal.inference_mode():
        eager, found = net(x), compiled(x)
    assert not fanal.equal(found, eager)
    rms, _ = errors(eager, exact)
    mine, largest = errors(found, exact)
    assert mine <= 4 * rms
    assert largest <= 40 * rms


def test_off_by_default() -> None:
    net, x = network(32, 32, 1), fanal.randn(2, 32, 16, 16)
    for options in (None, {}, {"winograd": False}, {"exact": True}):
        compiled = fanal.compile(net, options=options)
        with fanal.inference_mode():
            assert fanal.equal(compiled(x), net(x))
        assert "winograd" not in rewrites_of(compiled)


def test_explain_names_it_and_its_lines() -> None:
    def forward(x: fanal.Tensor, w: fanal.Tensor) -> fanal.Tensor:
        y = F.conv2d(x, w, padding=1)
        return F.conv2d(y, w[:, :, :1, :1])

    compiled = fanal.compile(forward, options=ON)
    compiled(fanal.randn(1, 32, 16, 16), fanal.randn(32, 32, 3, 3))
    report = compiled.explain()
    line = forward.__code__.co_firstlineno + 1
    assert f"not to the bit (grade B): winograd, 1 time, at test_winograd.py:{line}" in str(report)
    (rewrite,) = report.facts.programs[0].rewrites
    assert rewrite.places == (f"test_winograd.py:{line}",)


def test_folded_normalisations_name_their_lines_too() -> None:
    net = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32)).eval()
    compiled = fanal.compile(net, options=ON)
    with fanal.inference_mode():
        compiled(fanal.randn(1, 32, 16, 16))
    rewrites = rewrites_of(compiled)
    assert set(rewrites) == {"fold", "winograd"}
    assert all(r.places for r in rewrites.values())


@pytest.mark.parametrize("value", [1, "yes", None])
@pytest.mark.parametrize("name", ["winograd", "exact"])
def test_options_are_truth_values(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"\[compile\] wrong value of the option '{name}'"):
        fanal.compile(network(32, 32, 1), options={name: value})


def test_exact_excludes_it() -> None:
    with pytest.raises(ValueError, match=r"\[compile\] options that exclude one another"):
        fanal.compile(network(32, 32, 1), options={"exact": True, "winograd": True})


@pytest.mark.parametrize("shape", SHAPES[1:5], ids=name_of)
def test_the_same_bits_for_any_threads_and_any_batch(shape: Any) -> None:
    extents, inside, outside, padding = shape
    net, x = network(inside, outside, padding), fanal.randn(9, inside, *extents)
    compiled = fanal.compile(net, options=ON)
    threads = fanal.get_num_threads()
    try:
        with fanal.inference_mode():
            whole = []
            for n in (1, 2, 4):
                fanal.set_num_threads(n)
                whole.append(compiled(x))
            for other in whole[1:]:
                assert fanal.equal(other, whole[0])
            for i in (0, 4, 8):
                assert fanal.equal(compiled(x[i : i + 1].clone())[0], whole[0][i])
            assert fanal.equal(compiled(x[2:7].clone()), whole[0][2:7])
    finally:
        fanal.set_num_threads(threads)


def test_any_layout_gives_the_same_bits() -> None:
    net, x = network(32, 48, 1), fanal.randn(2, 32, 13, 18)
    compiled = fanal.compile(net, options=ON)
    with fanal.inference_mode():
        expected = compiled(x)
        assert fanal.equal(compiled(x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)), expected)
        assert fanal.equal(compiled(fanal.randn(2, 64, 13, 18)[:, ::2].copy_(x)), expected)


class Residual(nn.Module):
    """Bias, normalisation, residual and activation behind convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(32, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
        self.norm = nn.BatchNorm2d(32)

    def forward(self, x: fanal.Tensor) -> fanal.Tensor:
        x = F.leaky_relu(self.first(x), 0.125)
        return F.relu(self.norm(self.second(x)) + x)


def test_what_follows_is_done_where_products_are_transformed_back() -> None:
    fanal.manual_seed(0)
    net, x = Residual().eval(), fanal.randn(2, 32, 15, 17)
    compiled = fanal.compile(net, options=ON)
    with fanal.inference_mode():
        found = compiled(x)
        assert fanal.allclose(found, net(x), rtol=1e-4, atol=1e-5)
        x2 = x.clone()
        compiled(x2)
    kinds = kinds_of(compiled)
    assert kinds.count("contract.winograd.outputs") == 2
    assert not [k for k in kinds if k.startswith("elementwise")]
    assert not [k for k in kinds if k == "contract.winograd.weights"]  # kept from call to call


def test_blocks_of_many_tiles_give_the_bits_of_few() -> None:
    """Of a large batch a block at a time goes through all steps; rows and threads change nothing."""
    fanal.manual_seed(0)
    net, x = Residual().eval(), fanal.randn(19, 32, 31, 27)
    many, few = (fanal.compile(net, options=ON) for _ in range(2))
    threads = fanal.get_num_threads()
    try:
        with fanal.inference_mode():
            expected = fanal.cat([few(x[i : i + 1].clone()) for i in range(len(x))])
            for n in (1, 2, 4):
                fanal.set_num_threads(n)
                assert fanal.equal(many(x), expected)
    finally:
        fanal.set_num_threads(threads)
    assert kinds_of(many).count("contract.winograd.blocks") == 2
    assert "contract.winograd.blocks" not in kinds_of(few)


def test_one_program_serves_many_sizes() -> None:
    """Tiles, tasks and blocks are found for each size; what it gives are the bits of that size alone."""
    net = network(32, 32, 1)
    compiled = fanal.compile(net, options=ON)
    with fanal.inference_mode():
        for n in (22, 23, 24, 25, 29):
            x = fanal.randn(n, 32, 16, 20)
            assert fanal.equal(compiled(x), fanal.compile(net, options=ON, dynamic=False)(x))
    assert "more sizes by the program of" in str(compiled.explain())


def test_changed_weights_count() -> None:
    net, x = network(32, 32, 1), fanal.randn(1, 32, 16, 16)
    compiled = fanal.compile(net, options=ON)
    with fanal.inference_mode():
        before = compiled(x)
        net[0].weight.mul_(1.5)
        after = compiled(x)
        assert not fanal.allclose(before, after)
        assert fanal.allclose(after, net(x), rtol=1e-4, atol=1e-5)
        assert fanal.equal(copy.deepcopy(compiled)(x), after)


def gradients(net: nn.Module, x: fanal.Tensor, step: Any) -> list[fanal.Tensor]:
    net.zero_grad()
    x = x.detach().requires_grad_()
    loss = step(x)
    return [loss, x.grad, *(p.grad for p in net.parameters())]


@pytest.mark.parametrize("inside", [True, False], ids=["step", "module"])
def test_training(inside: bool) -> None:
    """Forward and the input's gradient, whose error is bounded likewise; weights' gradients follow."""
    fanal.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(32, 48, 3, padding=1), nn.ReLU(), nn.Conv2d(48, 32, 3, padding=0), nn.Tanh()
    )
    wide, x = copy.deepcopy(net).double(), fanal.randn(2, 32, 18, 15)
    compiled = fanal.compile(net, options=ON)

    def run(model: Any) -> Any:
        def step(x: fanal.Tensor) -> fanal.Tensor:
            loss = (model(x) ** 2).mean()
            loss.backward()
            return loss.detach()

        return step

    step = fanal.compile(run(net), options=ON) if inside else run(compiled)
    exact = gradients(wide, x.double(), run(wide))
    eager, found = gradients(net, x, run(net)), gradients(net, x, step)
    for a, b, c in zip(eager, found, exact, strict=True):
        size = (c**2).mean().item() ** 0.5
        assert errors(b, c)[0] <= 4 * errors(a, c)[0] + 1e-7 * size
    assert rewrites_of(step if inside else compiled)["winograd"].times == (4 if inside else 2)


def test_losses_agree_over_many_steps() -> None:
    def losses(winograd: bool) -> list[float]:
        fanal.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(32, 4),
        )  # fmt: skip
        optimizer = fanal.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        x, y = fanal.randn(8, 16, 16, 16), fanal.randint(0, 4, (8,))

        def step() -> fanal.Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            return loss

        step = fanal.compile(step, options={"winograd": winograd})
        return [step().item() for _ in range(50)]

    np.testing.assert_allclose(losses(True), losses(False), atol=1e-3)


@pytest.mark.parametrize(
    "change",
    [
        {"stride": 2}, {"dilation": 2}, {"groups": 2}, {"kernel": 5}, {"dtype": fanal.float64},
        {"inside": 8}, {"outside": 8}, {"edge": 4},
    ],
    ids=str,
)  # fmt: skip
def test_others_stay_as_they_are(change: dict[str, Any]) -> None:
    at = {"stride": 1, "dilation": 1, "groups": 1, "kernel": 3, "dtype": fanal.float32} | change
    inside, outside, edge = (change.get(k, n) for k, n in (("inside", 64), ("outside", 64), ("edge", 16)))
    x = fanal.randn(2, inside, edge, edge, dtype=at["dtype"])
    w = fanal.randn(outside, inside // at["groups"], at["kernel"], at["kernel"], dtype=at["dtype"])

    def forward(x: fanal.Tensor, w: fanal.Tensor) -> fanal.Tensor:
        keys = ("stride", "dilation", "groups")
        return F.conv2d(x, w, padding=1, **{k: at[k] for k in keys})

    compiled = fanal.compile(forward, options=ON)
    assert fanal.equal(compiled(x, w), forward(x, w))
    assert "winograd" not in rewrites_of(compiled)


def test_the_size_of_tiles_follows_from_shapes() -> None:
    assert tile_for(64, 64, (32, 32)) == 4
    assert tile_for(256, 256, (8, 8)) == 2
    assert tile_for(512, 512, (4, 4)) is None
    assert tile_for(15, 64, (32, 32)) is None
    assert tile_for(64, 64, (0, 32)) is None


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Graph]:
    """Every graph that is compiled, before its passes."""
    found: list[Graph] = []
    begin = Segment.__init__

    def noted(self: Segment, source: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, source, *args, **kwargs)
        found.append(source())

    monkeypatch.setattr(Segment, "__init__", noted)
    return found


def test_the_rewritten_graph_is_well_formed_and_means_the_same(graphs: list[Graph]) -> None:
    w = fanal.randn(24, 20, 3, 3)

    def step(x: fanal.Tensor) -> tuple[fanal.Tensor, fanal.Tensor]:
        x = x.detach().requires_grad_()
        y = F.conv2d(x, w, padding=(0, 2))
        y.sum().backward()
        return y.detach(), x.grad

    fanal.compile(step)(fanal.randn(1, 20, 18, 21))
    (graph,) = graphs
    rng = np.random.default_rng(0)
    given = [rng.standard_normal(v.shape).astype(v.dtype.numpy) for v in graph.inputs]
    found, fired = passes.improved(graph, winograd=True)
    verify(found)
    assert fired[passes.WINOGRAD] == 2
    assert sum(n.primitive.name == "conv_winograd" for n in found.nodes) == 2
    assert passes.improved(graph)[1][passes.WINOGRAD] == 0
    for a, b in zip(run_reference(graph, given), run_reference(found, given), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


class Number(float):
    """What a kernel's values are to the one that writes it, as a number."""

    type = "double"

    def __add__(self, x: float) -> Number:
        return Number(float(self) + x)

    def __sub__(self, x: float) -> Number:
        return Number(float(self) - x)

    def __mul__(self, x: float) -> Number:
        return Number(float(self) * x)


class Numbers:
    """A builder that computes."""

    def const(self, type_: str, value: float) -> Number:
        return Number(value)

    def fma(self, a: Number, b: Number, c: Number) -> Number:
        return a * b + c


@pytest.mark.parametrize("tile", [2, 4])
def test_transforms_are_a_convolution(tile: int) -> None:
    """Aᵀ((G g) ⊙ (Bᵀ d)) is the correlation of d and g: the algorithm along one axis, in numbers."""
    rng = np.random.default_rng(tile)
    b: Any = Numbers()
    d, g = [[Number(v) for v in rng.standard_normal(n)] for n in (tile + 2, 3)]
    points = zip(weights_line(tile)(b, g), inputs_line(tile)(b, d), strict=True)
    found = outputs_line(tile)(b, [u * v for u, v in points])
    np.testing.assert_allclose(found, np.correlate(np.array(d), np.array(g), "valid"), rtol=1e-12)
