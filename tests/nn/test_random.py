"""What is random in nn: frequencies, kept means, one stream for one seed."""

from __future__ import annotations

import math

import pytest

import fanal
from fanal import nn
from fanal.nn import functional as F


@pytest.fixture(autouse=True)
def seeded() -> None:
    fanal.manual_seed(5)


def test_dropout_scales_what_it_keeps() -> None:
    x = fanal.ones(20000, requires_grad=True)
    y = F.dropout(x, 0.3)
    kept = float((y != 0).float().mean())
    assert abs(kept - 0.7) < 0.02
    assert fanal.allclose(y[y != 0], fanal.tensor(1 / 0.7))
    y.sum().backward()
    assert fanal.equal(x.grad, y)  # the gradient has the same mask
    assert not fanal.equal(F.dropout(x, 0.3), y)
    fanal.manual_seed(5)
    assert fanal.equal(F.dropout(x, 0.3), y)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_whole_channels_are_dropped(d: int) -> None:
    layer = getattr(nn, f"Dropout{d}d")(0.5)
    sums = layer(fanal.ones(50, 40, *(2,) * d)).flatten(2).sum(2)
    assert bool(((sums == 0) | (sums == 2 ** (d + 1))).all())
    assert abs(float((sums == 0).float().mean()) - 0.5) < 0.05


def test_alpha_dropout_keeps_mean_and_deviation() -> None:
    x = fanal.randn(100000)
    for y in (F.alpha_dropout(x, 0.2, training=True), nn.AlphaDropout(0.4)(x)):
        assert abs(float(y.mean())) < 0.02 and abs(float(y.std()) - 1) < 0.02


def test_feature_alpha_dropout_drops_channels() -> None:
    y = F.feature_alpha_dropout(fanal.zeros(30, 40, 5), 0.5, training=True)
    assert fanal.equal(y, y[:, :, :1].expand(30, 40, 5))


def test_rrelu_draws_its_slopes() -> None:
    y = F.rrelu(-fanal.ones(5000), 0.125, 0.375, training=True)
    assert float(y.min()) >= -0.375 and float(y.max()) <= -0.125
    assert abs(float(y.mean()) + 0.25) < 0.01


def test_gumbel_softmax_is_one_hot_with_a_gradient() -> None:
    logits = fanal.tensor([[0.0, math.log(3.0)]]).expand(8000, 2).clone().requires_grad_()
    y = F.gumbel_softmax(logits, hard=True)
    assert fanal.equal(y.sum(1), fanal.ones(8000)) and bool(((y == 0) | (y == 1)).all())
    assert abs(float(y[:, 1].mean()) - 0.75) < 0.02
    y[:, 1].sum().backward()
    assert float(logits.grad.abs().sum()) > 0
    soft = F.gumbel_softmax(logits.detach(), tau=0.5)
    assert fanal.allclose(soft.sum(1), fanal.ones(8000)) and 0 < float(soft.min())


@pytest.mark.parametrize(
    ("name", "options", "deviation"),
    [
        ("xavier_uniform_", {"gain": 2.0}, 2 * math.sqrt(2 / 384)),
        ("xavier_normal_", {}, math.sqrt(2 / 384)),
        ("kaiming_uniform_", {"a": math.sqrt(5)}, math.sqrt(2 / 6 / 128)),
        ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "relu"}, math.sqrt(2 / 256)),
        ("trunc_normal_", {"std": 0.02}, 0.02),
        ("normal_", {"mean": 0.0, "std": 3.0}, 3.0),
        ("uniform_", {"a": -1.0, "b": 1.0}, 1 / math.sqrt(3)),
    ],
)
def test_initial_values(name: str, options: dict[str, float], deviation: float) -> None:
    w = nn.Parameter(fanal.empty(256, 128))
    assert getattr(nn.init, name)(w, **options) is w and w.requires_grad
    assert float(w.std()) == pytest.approx(deviation, rel=0.03)
    assert abs(float(w.mean())) < 0.03 * deviation


def test_orthogonal_and_sparse() -> None:
    w = nn.init.orthogonal_(fanal.empty(6, 10), gain=2.0)
    assert fanal.allclose(w @ w.mT, 4 * fanal.eye(6), atol=1e-5)
    s = nn.init.sparse_(fanal.empty(20, 7), sparsity=0.25)
    assert (s == 0).sum(0).tolist() == [5] * 7


INITIALISERS = {
    "uniform_": {}, "normal_": {}, "trunc_normal_": {}, "constant_": {"val": 2.0}, "ones_": {},
    "zeros_": {}, "eye_": {}, "dirac_": {}, "xavier_uniform_": {}, "xavier_normal_": {},
    "kaiming_uniform_": {}, "kaiming_normal_": {}, "orthogonal_": {}, "sparse_": {"sparsity": 0.5},
}  # fmt: skip


@pytest.mark.parametrize("name", INITIALISERS)
def test_initialising_is_skipped(name: str) -> None:
    assert set(INITIALISERS) == {n for n in nn.init.__all__ if n.endswith("_")}
    x = fanal.full((3, 3, 3) if name == "dirac_" else (3, 3), 7.0)
    state = fanal.get_rng_state()
    with nn.init.skipped():
        assert getattr(nn.init, name)(x, **INITIALISERS[name]) is x
    assert bool((x == 7).all()) and fanal.equal(fanal.get_rng_state(), state)
    getattr(nn.init, name)(x, **INITIALISERS[name])
    assert not bool((x == 7).any())


def test_skip_init_of_a_layer_that_initialises_orthogonally() -> None:
    class Layer(nn.Linear):
        def reset_parameters(self) -> None:
            nn.init.orthogonal_(self.weight)

    state = fanal.get_rng_state()
    nn.utils.skip_init(Layer, 3, 3)
    assert fanal.equal(fanal.get_rng_state(), state)
