"""Discrete distributions of one number: Bernoulli, geometric, Poisson."""

from __future__ import annotations

from typing import Any

import fanal
from fanal.distributions import constraints
from fanal.distributions.distribution import Distribution, Shape, broadcast, lazy_property
from fanal.nn import functional as F
from fanal.tensor.tensor import Tensor


class _OneProbability(Distribution):
    """A distribution given by `probs` or by `logits` = log(p / (1 - p)), not by both."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        if (probs is None) == (logits is None):
            raise ValueError("Either `probs` or `logits` must be specified, but not both.")
        (given,) = broadcast(logits if probs is None else probs)
        self.__dict__["logits" if probs is None else "probs"] = given
        super().__init__(given.shape, validate_args=validate_args)

    @lazy_property
    def logits(self) -> Any:
        """log(p / (1 - p))."""
        eps = fanal.finfo(self.probs.dtype).eps
        p = self.probs.clamp(eps, 1 - eps)
        return p.log() - fanal.log1p(-p)

    @lazy_property
    def probs(self) -> Any:
        """Probabilities."""
        return fanal.sigmoid(self.logits)


class Bernoulli(_OneProbability):
    """1 with probability `probs`, else 0."""

    support = constraints.boolean
    has_enumerate_support = True

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        mode = (self.probs >= 0.5).to(self.probs.dtype)
        return fanal.where(self.probs == 0.5, float("nan"), mode)

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with fanal.no_grad():
            return fanal.bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Any) -> Tensor:
        logits, value = fanal.broadcast_tensors(self.logits, self._checked(value))
        return -F.binary_cross_entropy_with_logits(logits, value.to(logits.dtype), reduction="none")

    def entropy(self) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")

    def enumerate_support(self, expand: bool = True) -> Tensor:
        values = fanal.arange(2, dtype=self.logits.dtype).reshape(2, *(1,) * len(self._batch_shape))
        return values.expand(2, *self._batch_shape) if expand else values


class Geometric(_OneProbability):
    """Failures before the first success."""

    support = constraints.nonnegative_integer

    @property
    def mean(self) -> Tensor:
        return 1.0 / self.probs - 1.0

    @property
    def mode(self) -> Tensor:
        return fanal.zeros_like(self.probs)

    @property
    def variance(self) -> Tensor:
        return (1.0 / self.probs - 1.0) / self.probs

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with fanal.no_grad():
            u = fanal.rand(self._extended_shape(sample_shape), dtype=self.probs.dtype)
            u = u.clamp(min=fanal.finfo(u.dtype).tiny)
            return (u.log() / fanal.log1p(-self.probs)).floor()

    def log_prob(self, value: Any) -> Tensor:
        return self._checked(value) * fanal.log1p(-self.probs) + self.probs.log()

    def entropy(self) -> Tensor:
        logits, probs = self.logits, self.probs
        return F.binary_cross_entropy_with_logits(logits, probs, reduction="none") / probs


class Poisson(Distribution):
    """P(k) = rateᵏ · exp(-rate) / k!"""

    arg_constraints = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.rate

    @property
    def mode(self) -> Tensor:
        return self.rate.floor()

    @property
    def variance(self) -> Tensor:
        return self.rate

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with fanal.no_grad():
            return fanal.poisson(self.rate.expand(self._extended_shape(sample_shape)).contiguous())

    def log_prob(self, value: Any) -> Tensor:
        rate, value = fanal.broadcast_tensors(self.rate, self._checked(value))
        # 0 · log 0 is 0.
        whole = fanal.where(value == 0, 0.0, value * rate.log())
        return whole - rate - fanal.lgamma(value + 1)
