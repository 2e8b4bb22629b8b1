"""The normal distribution and what is made of it: log-normal, half-normal."""

from __future__ import annotations

import math
from typing import Any

import fanal
from fanal.distributions import constraints
from fanal.distributions.distribution import Distribution, Shape, broadcast
from fanal.tensor.tensor import Tensor

LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class Normal(Distribution):
    """Density exp(-(x - loc)² / 2 scale²) / (scale √2π).

    >>> Normal(0.0, 1.0).log_prob(fanal.tensor(0.0))
    tensor(-0.9189)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.loc

    mode = mean

    @property
    def stddev(self) -> Tensor:
        return self.scale

    @property
    def variance(self) -> Tensor:
        return self.scale**2

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        noise = fanal.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype)
        return self.loc + noise * self.scale

    def log_prob(self, value: Any) -> Tensor:
        z = (self._checked(value) - self.loc) / self.scale
        return -0.5 * z**2 - self.scale.log() - LOG_SQRT_2PI

    def cdf(self, value: Any) -> Tensor:
        z = (self._checked(value) - self.loc) / (self.scale * math.sqrt(2))
        return 0.5 * (1 + fanal.erf(z))

    def icdf(self, value: Any) -> Tensor:
        return self.loc + self.scale * fanal.erfinv(2 * value - 1) * math.sqrt(2)

    def entropy(self) -> Tensor:
        return 0.5 + LOG_SQRT_2PI + self.scale.log()


class LogNormal(Distribution):
    """exp(x) of a normal x."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.positive
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def _normal(self) -> Normal:
        return Normal(self.loc, self.scale, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return (self.loc + self.scale**2 / 2).exp()

    @property
    def mode(self) -> Tensor:
        return (self.loc - self.scale**2).exp()

    @property
    def variance(self) -> Tensor:
        square = self.scale**2
        return square.expm1() * (2 * self.loc + square).exp()

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        return self._normal.rsample(sample_shape).exp()

    def log_prob(self, value: Any) -> Tensor:
        x = self._checked(value).log()
        return self._normal.log_prob(x) - x

    def cdf(self, value: Any) -> Tensor:
        return self._normal.cdf(self._checked(value).log())

    def icdf(self, value: Any) -> Tensor:
        return self._normal.icdf(value).exp()

    def entropy(self) -> Tensor:
        return self._normal.entropy() + self.loc


class HalfNormal(Distribution):
    """|x| of a normal x around 0."""

    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        (self.scale,) = broadcast(scale)
        super().__init__(self.scale.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def mode(self) -> Tensor:
        return fanal.zeros_like(self.scale)

    @property
    def variance(self) -> Tensor:
        return self.scale**2 * (1 - 2 / math.pi)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        return (fanal.randn(shape, dtype=self.scale.dtype) * self.scale).abs()

    def log_prob(self, value: Any) -> Tensor:
        z = self._checked(value) / self.scale
        density = math.log(2) - LOG_SQRT_2PI - 0.5 * z**2 - self.scale.log()
        return fanal.where(value >= 0, density, -math.inf)

    def cdf(self, value: Any) -> Tensor:
        return fanal.erf(self._checked(value) / (self.scale * math.sqrt(2)))

    def icdf(self, value: Any) -> Tensor:
        return self.scale * math.sqrt(2) * fanal.erfinv(value)

    def entropy(self) -> Tensor:
        return 0.5 + LOG_SQRT_2PI - math.log(2) + self.scale.log()
