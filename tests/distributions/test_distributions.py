"""Densities against SciPy's, samples against the moments, divergences against their definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

import fanal
from fanal import distributions as D


def t(*values: float) -> fanal.Tensor:
    return fanal.tensor(values, dtype=fanal.float64)


A, B = t(0.3, -1.0, 2.0), t(0.5, 1.0, 2.5)
P, LOGITS = t(0.2, 0.5, 0.9), fanal.tensor([[0.1, 1.0, -0.5], [2.0, 0.0, 0.3]], dtype=fanal.float64)
COVARIANCE = fanal.tensor([[2.0, 0.3], [0.3, 1.0]], dtype=fanal.float64)
a, b, p = A.numpy(), B.numpy(), P.numpy()
PAIRS = {
    "Normal": (D.Normal(A, B), stats.norm(a, b)),
    "LogNormal": (D.LogNormal(A, B), stats.lognorm(b, scale=np.exp(a))),
    "HalfNormal": (D.HalfNormal(B), stats.halfnorm(scale=b)),
    "Laplace": (D.Laplace(A, B), stats.laplace(a, b)),
    "Cauchy": (D.Cauchy(A, B), stats.cauchy(a, b)),
    "Gumbel": (D.Gumbel(A, B), stats.gumbel_r(a, b)),
    "Uniform": (D.Uniform(A, A + B), stats.uniform(a, b)),
    "Exponential": (D.Exponential(B), stats.expon(scale=1 / b)),
    "Bernoulli": (D.Bernoulli(P), stats.bernoulli(p)),
    "Geometric": (D.Geometric(P), stats.geom(p, loc=-1)),
    "Poisson": (D.Poisson(B), stats.poisson(b)),
}
DISCRETE = ("Bernoulli", "Geometric", "Poisson")


@pytest.mark.parametrize("name", PAIRS)
def test_against_scipy(name: str) -> None:
    ours, theirs = PAIRS[name]
    rng = np.random.default_rng(0)
    values = theirs.rvs((5, 3), random_state=rng).astype(np.float64)
    density = theirs.logpmf if name in DISCRETE else theirs.logpdf
    found = ours.log_prob(fanal.from_numpy(values))
    np.testing.assert_allclose(found.numpy(), density(values), rtol=1e-9, atol=1e-12)
    if name not in DISCRETE:
        np.testing.assert_allclose(ours.cdf(fanal.from_numpy(values)).numpy(), theirs.cdf(values), rtol=1e-9)
        u = np.array([0.1, 0.5, 0.9])
        np.testing.assert_allclose(ours.icdf(fanal.from_numpy(u)).numpy(), theirs.ppf(u), rtol=1e-7)
    if name != "Poisson":
        np.testing.assert_allclose(ours.entropy().numpy(), theirs.entropy(), rtol=1e-6)
    if name != "Cauchy":
        np.testing.assert_allclose(ours.mean.numpy(), theirs.mean(), rtol=1e-7)
        np.testing.assert_allclose(ours.variance.numpy(), theirs.var(), rtol=1e-7)


@pytest.mark.parametrize("name", [n for n in PAIRS if n not in ("Cauchy", "LogNormal")])
def test_samples_have_the_moments(name: str) -> None:
    fanal.manual_seed(1)
    ours, _ = PAIRS[name]
    drawn = ours.sample((40000,))
    assert drawn.shape == (40000, 3) and not drawn.requires_grad
    assert bool(((drawn.mean(0) - ours.mean).abs() < 5 * ours.stddev / 200).all())
    assert bool(((drawn.var(0) / ours.variance - 1).abs() < 0.3).all())


@pytest.mark.parametrize("name", [n for n in PAIRS if n not in ("Uniform",)])
def test_divergence_is_the_mean_of_the_difference(name: str) -> None:
    fanal.manual_seed(2)
    ours, _ = PAIRS[name]
    names = [n for n in ours.arg_constraints if n != "logits"]
    parameters = {n: getattr(ours, n) for n in names}
    other = type(ours)(**{n: v * 0.8 + 0.05 for n, v in parameters.items()})
    x = ours.sample((60000,))
    expected = (ours.log_prob(x) - other.log_prob(x)).mean(0)
    assert fanal.allclose(D.kl_divergence(ours, other), expected, rtol=0.1, atol=0.01)
    assert fanal.allclose(D.kl_divergence(ours, ours), fanal.zeros(3, dtype=fanal.float64), atol=1e-12)


def test_categorical() -> None:
    fanal.manual_seed(3)
    logits = LOGITS.clone().requires_grad_()
    policy = D.Categorical(logits=logits)
    action = policy.sample()
    assert action.shape == (2,) and action.dtype is fanal.int64
    policy.log_prob(action).sum().backward()
    probs = fanal.softmax(LOGITS, -1)
    assert fanal.allclose(logits.grad, fanal.nn.functional.one_hot(action, 3) - probs)
    drawn = policy.sample((30000,))
    for k in range(3):
        assert fanal.allclose((drawn == k).double().mean(0), probs[:, k], atol=0.02)
    assert fanal.allclose(policy.entropy(), -(probs * probs.log()).sum(-1))
    assert policy.enumerate_support().tolist() == [[0, 0], [1, 1], [2, 2]]
    assert policy.mode.tolist() == [1, 0] and policy.expand((4, 2)).sample().shape == (4, 2)
    hot = D.OneHotCategorical(logits=LOGITS)
    assert hot.event_shape == (3,) and hot.sample((5,)).sum(-1).tolist() == [[1.0, 1.0]] * 5


def test_multivariate_normal() -> None:
    fanal.manual_seed(4)
    loc = t(1.0, -2.0).requires_grad_()
    ours, theirs = D.MultivariateNormal(loc, COVARIANCE), stats.multivariate_normal([1, -2], COVARIANCE)
    x = fanal.randn(5, 2, dtype=fanal.float64)
    np.testing.assert_allclose(ours.log_prob(x).detach().numpy(), theirs.logpdf(x.numpy()))
    np.testing.assert_allclose(ours.entropy().item(), theirs.entropy())
    drawn = ours.rsample((40000,))
    assert drawn.requires_grad
    assert np.allclose(np.cov(drawn.detach().numpy().T), COVARIANCE.numpy(), atol=0.06)
    inverse = D.MultivariateNormal(loc, precision_matrix=fanal.linalg.inv(COVARIANCE))
    assert float(D.kl_divergence(ours, inverse)) == pytest.approx(0, abs=1e-12)


def test_independent_and_mixtures() -> None:
    base = D.Normal(fanal.zeros(4, 3), fanal.ones(4, 3))
    together = D.Independent(base, 1)
    assert together.batch_shape == (4,) and together.event_shape == (3,)
    x = fanal.randn(4, 3)
    assert fanal.allclose(together.log_prob(x), base.log_prob(x).sum(-1))
    mixture = D.MixtureSameFamily(D.Categorical(P), D.Normal(A, B))
    weights = p / p.sum()
    density = sum(w * stats.norm(m, s).pdf(0.7) for w, m, s in zip(weights, a, b, strict=True))
    assert mixture.log_prob(t(0.7)).item() == pytest.approx(np.log(density))
    fanal.manual_seed(6)
    assert float(mixture.sample((40000,)).mean()) == pytest.approx(float(mixture.mean), abs=0.06)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: D.Normal(0.0, -1.0), "parameter scale"),
        (lambda: D.Categorical(fanal.tensor([-0.1, 1.1])), "parameter probs"),
        (lambda: D.Categorical(), "Either"),
        (lambda: D.Uniform(1.0, 0.0), "low>= high"),
        (lambda: D.Bernoulli(0.5).log_prob(fanal.tensor(0.3)), "outside of the support"),
        (lambda: D.Normal(fanal.zeros(2), 1.0).log_prob(fanal.zeros(3)), "does not fit"),
    ],
)
def test_errors(make: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()
