"""One of K classes, as its number or as a one-hot vector."""

from __future__ import annotations

import math
from typing import Any

import fanal
from fanal.distributions import constraints
from fanal.distributions.constraints import Constraint
from fanal.distributions.distribution import Distribution, Shape, lazy_property
from fanal.nn import functional as F
from fanal.tensor.layout import Size
from fanal.tensor.tensor import Tensor


class Categorical(Distribution):
    """Numbers 0..K-1 with probabilities `probs` (…, K), or given by `logits`, normalised here.

    >>> policy = Categorical(logits=model(state))
    >>> action = policy.sample()
    >>> loss = -policy.log_prob(action) * reward
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    has_enumerate_support = True

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        if (probs is None) == (logits is None):
            raise ValueError("Either `probs` or `logits` must be specified, but not both.")
        if (logits if probs is None else probs).ndim < 1:
            name = "logits" if probs is None else "probs"
            raise ValueError(f"`{name}` parameter must be at least one-dimensional.")
        if probs is not None:
            given = self.__dict__["probs"] = probs / probs.sum(-1, keepdim=True)
        else:
            given = self.__dict__["logits"] = logits - logits.logsumexp(dim=-1, keepdim=True)
        self._num_events = given.shape[-1]
        super().__init__(given.shape[:-1], validate_args=validate_args)

    @lazy_property
    def logits(self) -> Any:
        """Logarithms of the probabilities."""
        eps = fanal.finfo(self.probs.dtype).eps
        return self.probs.clamp(eps, 1 - eps).log()

    @lazy_property
    def probs(self) -> Any:
        """Probabilities."""
        return F.softmax(self.logits, dim=-1)

    @property
    def param_shape(self) -> Size:
        """Shape of the parameter."""
        return Size((*self._batch_shape, self._num_events))

    @property
    def support(self) -> Constraint:
        return constraints.integer_interval(0, self._num_events - 1)

    @property
    def mean(self) -> Tensor:
        return fanal.full(self._batch_shape, math.nan, dtype=self.probs.dtype)

    variance = mean

    @property
    def mode(self) -> Tensor:
        return self.probs.argmax(-1)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with fanal.no_grad():
            rows = self.probs.detach().reshape(-1, self._num_events)
            drawn = fanal.multinomial(rows, math.prod(sample_shape), replacement=True)
            return drawn.T.reshape((*sample_shape, *self._batch_shape))

    def log_prob(self, value: Any) -> Tensor:
        value = self._checked(value).long().unsqueeze(-1)
        value, logits = fanal.broadcast_tensors(value, self.logits)
        return logits.gather(-1, value[..., :1]).squeeze(-1)

    def entropy(self) -> Tensor:
        logits = self.logits.clamp(min=fanal.finfo(self.logits.dtype).min)
        return -(logits * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        count = self._num_events
        values = fanal.arange(count).reshape(count, *(1,) * len(self._batch_shape))
        return values.expand(count, *self._batch_shape) if expand else values


class OneHotCategorical(Distribution):
    """As `Categorical`, its values as one-hot vectors of the probabilities' dtype."""

    support = constraints.one_hot
    has_enumerate_support = True

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        self._categorical = Categorical(probs, logits, validate_args)
        shape = self._categorical.param_shape
        super().__init__(shape[:-1], shape[-1:], validate_args=validate_args)

    @property
    def probs(self) -> Any:
        """Probabilities."""
        return self._categorical.probs

    @property
    def logits(self) -> Any:
        """Logarithms of the probabilities."""
        return self._categorical.logits

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        return self._one_hot(self._categorical.mode)

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def expand(self, batch_shape: Shape, _instance: Any = None) -> Any:
        new: Any = super().expand(batch_shape)
        new._categorical = self._categorical.expand(batch_shape)
        return new

    def _one_hot(self, index: Any) -> Any:
        return F.one_hot(index, self._event_shape[0]).to(self.probs.dtype)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        return self._one_hot(self._categorical.sample(sample_shape))

    def log_prob(self, value: Any) -> Tensor:
        return self._categorical.log_prob(self._checked(value).argmax(-1))

    def entropy(self) -> Tensor:
        return self._categorical.entropy()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        n = self._event_shape[0]
        values = fanal.eye(n, dtype=self.probs.dtype).reshape(n, *(1,) * len(self._batch_shape), n)
        return values.expand(n, *self._batch_shape, n) if expand else values
