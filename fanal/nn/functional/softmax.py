"""Softmax and its relatives along one dimension."""

from __future__ import annotations

import warnings
from typing import Any

from fanal.core.dispatch import bind
from fanal.core.dtypes import DType
from fanal.nn.functional.composite import composite
from fanal.ops.create import iota_p
from fanal.ops.pointwise import detach, eq, log, log1p, neg
from fanal.ops.primitive import normalize_dim
from fanal.ops.promotion import cast
from fanal.ops.reduce import argmax_p, spread
from fanal.ops.reductions import log_softmax as log_softmax_op
from fanal.ops.reductions import softmax as softmax_op
from fanal.random.generator import default_generator
from fanal.random.sampling import unit_interval


def implicit_dim(name: str, ndim: int, stacklevel: int) -> int:
    """The dimension that PyTorch takes where none is given, with its warning."""
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include "
        "dim=X as an argument.",
        stacklevel=stacklevel + 2,
    )
    return 0 if ndim in (0, 1, 3) else 1


@composite
def _softmax(input: Any, dim: int, dtype: DType | None) -> Any:
    return softmax_op(input, dim, dtype)


@composite
def _log_softmax(input: Any, dim: int, dtype: DType | None) -> Any:
    return log_softmax_op(input, dim, dtype)


def softmax(
    input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None
) -> Any:
    """exp(x) / Σ exp(x) along a dimension."""
    d = implicit_dim("softmax", input.ndim, _stacklevel) if dim is None else dim
    return _softmax(input, d, dtype)


def log_softmax(
    input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None
) -> Any:
    """log softmax(x) along a dimension, without overflow."""
    d = implicit_dim("log_softmax", input.ndim, _stacklevel) if dim is None else dim
    return _log_softmax(input, d, dtype)


@composite
def _softmin(input: Any, dim: int, dtype: DType | None) -> Any:
    return softmax_op(neg(input), dim, dtype)


def softmin(
    input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None
) -> Any:
    """softmax(-x) along a dimension."""
    d = implicit_dim("softmin", input.ndim, _stacklevel) if dim is None else dim
    return _softmin(input, d, dtype)


@composite(scalars=("tau",))
def _gumbel_softmax(logits: Any, key: Any, tau: Any, hard: bool, dim: int) -> Any:
    # Exponential numbers are positive, so that their logarithm is finite.
    u = unit_interval(key, logits.shape, logits.dtype)
    exponential = -log1p(-(u * (1 - 2.0**-24) + 2.0**-25))
    soft = softmax_op((logits - log(exponential)) / tau, dim)
    if not hard:
        return soft
    d = normalize_dim("gumbel_softmax", dim, logits.ndim)
    index = spread(bind(argmax_p, soft, dim=d), soft, (d,))
    place = bind(iota_p, shape=soft.shape, dim=d, dtype=index.dtype)
    chosen = cast(eq(place, index), soft.dtype)
    # The value is the one-hot choice, the derivative that of the soft one.
    return detach(chosen - soft) + soft


def gumbel_softmax(
    logits: Any, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Any:
    """A sample of the Gumbel-softmax distribution; `hard`: one-hot, with the soft one's gradient.

    softmax((x + g) / tau), g standard Gumbel numbers. Jang et al., 2016.
    """
    return _gumbel_softmax(logits, default_generator.draw(), float(tau), hard, dim)
