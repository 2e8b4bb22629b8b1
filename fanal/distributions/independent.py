"""Distributions made of others: batch dimensions as one event, mixtures."""

from __future__ import annotations

from typing import Any

import fanal
from fanal.core.errors import message
from fanal.distributions.categorical import Categorical
from fanal.distributions.constraints import Constraint
from fanal.distributions.distribution import Distribution, Shape
from fanal.tensor.tensor import Tensor


def _sum_last(x: Any, count: int) -> Any:
    return x.sum(tuple(range(-count, 0))) if count else x


class Independent(Distribution):
    """The last batch dimensions of a distribution as part of the event: log_prob sums over them."""

    def __init__(
        self, base_distribution: Any, reinterpreted_batch_ndims: int, validate_args: bool | None = None
    ) -> None:
        batch = base_distribution.batch_shape
        if reinterpreted_batch_ndims > len(batch):
            raise ValueError(
                message(
                    "Independent", "more dimensions than the batch has", reinterpreted_batch_ndims,
                    f"at most {len(batch)}",
                )
            )
        self.base_dist = base_distribution
        self.reinterpreted_batch_ndims = count = reinterpreted_batch_ndims
        cut = len(batch) - count
        event = (*batch[cut:], *base_distribution.event_shape)
        super().__init__(batch[:cut], event, validate_args=validate_args)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        return bool(self.base_dist.has_rsample)

    @property
    def support(self) -> Constraint:
        return self.base_dist.support

    @property
    def mean(self) -> Tensor:
        return self.base_dist.mean

    @property
    def mode(self) -> Tensor:
        return self.base_dist.mode

    @property
    def variance(self) -> Tensor:
        return self.base_dist.variance

    def expand(self, batch_shape: Shape, _instance: Any = None) -> Any:
        own = self._event_shape[: self.reinterpreted_batch_ndims]
        base = self.base_dist.expand((*batch_shape, *own))
        return Independent(base, self.reinterpreted_batch_ndims, validate_args=False)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        return self.base_dist.rsample(sample_shape)

    def log_prob(self, value: Any) -> Tensor:
        return _sum_last(self.base_dist.log_prob(value), self.reinterpreted_batch_ndims)

    def entropy(self) -> Tensor:
        return _sum_last(self.base_dist.entropy(), self.reinterpreted_batch_ndims)

    def __repr__(self) -> str:
        return f"Independent({self.base_dist}, {self.reinterpreted_batch_ndims})"


class MixtureSameFamily(Distribution):
    """A class drawn from `mixture_distribution` (…, K) tells which of K components is drawn from."""

    def __init__(
        self, mixture_distribution: Any, component_distribution: Any, validate_args: bool | None = None
    ) -> None:
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError(
                " The Mixture distribution needs to be an  instance of torch.distributions.Categorical"
            )
        count = component_distribution.batch_shape[-1]
        if mixture_distribution.param_shape[-1] != count:
            raise ValueError(
                message(
                    "MixtureSameFamily", "the numbers of components differ",
                    (mixture_distribution.param_shape[-1], count),
                )
            )
        self.mixture_distribution = mixture_distribution
        self.component_distribution = component_distribution
        super().__init__(
            component_distribution.batch_shape[:-1], component_distribution.event_shape, validate_args
        )

    @property
    def support(self) -> Constraint:
        return self.component_distribution.support

    def _weights(self) -> Any:
        probs = self.mixture_distribution.probs
        return probs.reshape(*probs.shape, *(1,) * len(self._event_shape))

    def _over_components(self, x: Any) -> Any:
        return (self._weights() * x).sum(-1 - len(self._event_shape))

    @property
    def mean(self) -> Tensor:
        return self._over_components(self.component_distribution.mean)

    @property
    def variance(self) -> Tensor:
        within = self._over_components(self.component_distribution.variance)
        away = self.component_distribution.mean - self.mean.unsqueeze(-1 - len(self._event_shape))
        return within + self._over_components(away**2)

    def log_prob(self, value: Any) -> Tensor:
        value = self._checked(value).unsqueeze(-1 - len(self._event_shape))
        found = self.component_distribution.log_prob(value)
        return fanal.logsumexp(found + fanal.log_softmax(self.mixture_distribution.logits, -1), -1)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with fanal.no_grad():
            which = self.mixture_distribution.sample(sample_shape)
            drawn = self.component_distribution.sample(sample_shape)
            at = -1 - len(self._event_shape)
            index = which.reshape(*which.shape, 1, *(1,) * len(self._event_shape))
            index = index.expand(*which.shape, 1, *self._event_shape)
            return drawn.gather(drawn.ndim + at, index).squeeze(at)
