"""Probability distributions, as `torch.distributions`: samples, densities, entropies, divergences."""

from fanal.distributions import constraints
from fanal.distributions.categorical import Categorical, OneHotCategorical
from fanal.distributions.counts import Bernoulli, Geometric, Poisson
from fanal.distributions.distribution import Distribution
from fanal.distributions.divergence import kl_divergence, register_kl
from fanal.distributions.independent import Independent, MixtureSameFamily
from fanal.distributions.multivariate_normal import MultivariateNormal
from fanal.distributions.normal import HalfNormal, LogNormal, Normal
from fanal.distributions.scaled import Cauchy, Exponential, Gumbel, Laplace, Uniform

__all__ = [
    "Bernoulli", "Categorical", "Cauchy", "Distribution", "Exponential", "Geometric", "Gumbel",
    "HalfNormal", "Independent", "Laplace", "LogNormal", "MixtureSameFamily", "MultivariateNormal",
    "Normal", "OneHotCategorical", "Poisson", "Uniform", "constraints", "kl_divergence",
    "register_kl",
]  # fmt: skip
