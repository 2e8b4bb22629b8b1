"""The base class: shapes, samples, checks.

A distribution has a `batch_shape` (independent ones, side by side) and an `event_shape` (the shape
of one value). Parameters stand in attributes named by `arg_constraints`; a lazy one (`logits` of
`probs`) is computed when first asked for.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

import fanal
from fanal.core.errors import message
from fanal.distributions.constraints import Constraint
from fanal.tensor.layout import Size
from fanal.tensor.tensor import Tensor

Shape = Sequence[int]


class lazy_property:
    """A property computed once, on first use, with gradients on."""

    def __init__(self, function: Any):
        self.function, self.name, self.__doc__ = function, function.__name__, function.__doc__

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        if owner is None:
            return self
        with fanal.enable_grad():
            found = owner.__dict__[self.name] = self.function(owner)
        return found


class Distribution:
    """Base class of all distributions."""

    has_rsample = False
    has_enumerate_support = False
    arg_constraints: ClassVar[dict[str, Constraint]] = {}
    _validate_args = True

    def __init__(
        self,
        batch_shape: Shape = (),
        event_shape: Shape = (),
        validate_args: bool | None = None,
    ) -> None:
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            for name, constraint in self.arg_constraints.items():
                value = self.__dict__.get(name)
                if isinstance(value, Tensor) and not bool(constraint.check(value).all()):
                    raise ValueError(
                        message(
                            type(self).__name__, f"parameter {name} has invalid values",
                            f"tensor of shape {tuple(value.shape)}", f"the constraint {constraint}",
                        )
                    )

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Check parameters and values of all distributions made from now on, or don't."""
        if value not in (True, False):
            raise ValueError(message("set_default_validate_args", "not a bool", value))
        Distribution._validate_args = value

    @property
    def batch_shape(self) -> Size:
        """The shape of independent distributions side by side."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """The shape of one value."""
        return self._event_shape

    @property
    def support(self) -> Constraint:
        """What values satisfy."""
        raise NotImplementedError

    @property
    def mean(self) -> Tensor:
        """The mean."""
        raise NotImplementedError

    @property
    def mode(self) -> Tensor:
        """The value of the highest density."""
        raise NotImplementedError(f"{type(self)} does not implement mode")

    @property
    def variance(self) -> Tensor:
        """The variance."""
        raise NotImplementedError

    @property
    def stddev(self) -> Tensor:
        """The standard deviation."""
        return self.variance.sqrt()

    def _parameter_names(self) -> list[str]:
        return [n for n in self.arg_constraints if isinstance(self.__dict__.get(n), Tensor)]

    def expand(self, batch_shape: Shape, _instance: Any = None) -> Any:
        """The same distribution with its batch shape expanded; nothing is copied."""
        new = copy.copy(self)
        for name in self._parameter_names():
            value = self.__dict__[name]
            rest = tuple(value.shape)[len(self._batch_shape) :]
            new.__dict__[name] = value.expand((*batch_shape, *rest))
        new._batch_shape = Size(batch_shape)
        return new

    def _extended_shape(self, sample_shape: Shape = ()) -> Size:
        return Size((*sample_shape, *self._batch_shape, *self._event_shape))

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Values of shape sample_shape + batch_shape + event_shape; no gradient flows."""
        with fanal.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """A sample as a function of the parameters, so that gradients flow to them."""
        raise NotImplementedError

    def sample_n(self, n: int) -> Any:
        """n values."""
        return self.sample((n,))

    def log_prob(self, value: Any) -> Tensor:
        """The logarithm of the density (or probability) at a value."""
        raise NotImplementedError

    def cdf(self, value: Any) -> Tensor:
        """The probability of at most this value."""
        raise NotImplementedError

    def icdf(self, value: Any) -> Tensor:
        """The value whose cdf it is."""
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """The entropy, in nats."""
        raise NotImplementedError

    def perplexity(self) -> Tensor:
        """exp(entropy)."""
        return fanal.exp(self.entropy())

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values of a discrete distribution, along a first dimension."""
        raise NotImplementedError

    def _validate_sample(self, value: Any) -> None:
        """ValueError unless a value has a fitting shape and satisfies the support."""
        name = type(self).__name__
        if not isinstance(value, Tensor):
            raise ValueError(message(name, "the value argument to log_prob must be a Tensor", type(value)))
        shape, wanted = tuple(value.shape), (*self._batch_shape, *self._event_shape)
        for i, j in zip(reversed(shape), reversed(wanted), strict=False):
            if i != 1 and j != 1 and i != j:
                raise ValueError(message(name, "the value does not fit", shape, f"broadcasting with {wanted}"))
        try:
            support = self.support
        except NotImplementedError:
            return
        if not bool(support.check(value).all()):
            raise ValueError(
                message(name, "a value outside of the support", f"tensor of shape {shape}", repr(support))
            )

    def _checked(self, value: Any) -> Any:
        if self._validate_args:
            self._validate_sample(value)
        return value

    def __repr__(self) -> str:
        shown = []
        for name in self._parameter_names():
            value = self.__dict__[name]
            shown.append(f"{name}: {value if value.numel() == 1 else value.size()}")
        return f"{type(self).__name__}({', '.join(shown)})"


def broadcast(*values: Any) -> list[Any]:
    """Numbers and tensors as tensors of one shape (and, for numbers, of the tensors' dtype)."""
    dtype = next((v.dtype for v in values if isinstance(v, Tensor)), None)
    tensors = [v if isinstance(v, Tensor) else fanal.tensor(v, dtype=dtype or fanal.get_default_dtype())
               for v in values]  # fmt: skip
    return list(fanal.broadcast_tensors(*tensors))
