"""Losses of yes-or-no decisions, and divergence between distributions."""

from __future__ import annotations

import math
import warnings
from typing import Any

from fanal.core.errors import message
from fanal.core.symbols import real
from fanal.nn.functional.activation import logsigmoid
from fanal.nn.functional.composite import composite
from fanal.nn.functional.reduction import chosen, legacy_reduction, reduced
from fanal.ops.pointwise import eq, exp, log, log1p, where
from fanal.ops.reductions import mean as mean_op

# Logarithms are bounded from below by -100, as in PyTorch.
_SMALLEST = math.exp(-100.0)


def bounded_log(x: Any) -> Any:
    """max(log x, -100), with derivative 0 at the bound."""
    low = x <= _SMALLEST
    return where(low, -100.0, log(where(low, 1.0, x)))


def _bounded_log1p(x: Any) -> Any:
    low = x <= _SMALLEST - 1.0
    return where(low, -100.0, log1p(where(low, 0.0, x)))


@composite
def _bce(input: Any, target: Any, weight: Any, reduction: str) -> Any:
    loss = -(target * bounded_log(input) + (1.0 - target) * _bounded_log1p(-input))
    return reduced(loss if weight is None else loss * weight, reduction)


def binary_cross_entropy(
    input: Any, target: Any, weight: Any = None, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """-(y log p + (1 - y) log(1 - p)), p in [0, 1]; logarithms are at least -100."""
    if tuple(input.shape) != tuple(target.shape):
        raise ValueError(
            message(
                "binary_cross_entropy", "the target's shape differs from the input's",
                tuple(target.shape), str(tuple(input.shape)),
            )
        )
    how = chosen("binary_cross_entropy", size_average, reduce, reduction)
    return _bce(input, target, weight, how)


@composite
def _bce_logits(input: Any, target: Any, weight: Any, pos_weight: Any, reduction: str) -> Any:
    log_p = logsigmoid(input)
    factor = 1.0 if pos_weight is None else (pos_weight - 1.0) * target + 1.0
    loss = (1.0 - target) * input - log_p * factor
    return reduced(loss if weight is None else loss * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean", pos_weight: Any = None,
) -> Any:  # fmt: skip
    """Binary cross-entropy of p = sigmoid(x), without overflow; `pos_weight` for y = 1."""
    if tuple(input.shape) != tuple(target.shape):
        raise ValueError(
            message(
                "binary_cross_entropy_with_logits", "the target's shape differs from the input's",
                tuple(target.shape), str(tuple(input.shape)),
            )
        )
    how = chosen("binary_cross_entropy_with_logits", size_average, reduce, reduction)
    return _bce_logits(input, target, weight, pos_weight, how)


@composite
def _kl_div(input: Any, target: Any, reduction: str, log_target: bool) -> Any:
    if log_target:
        loss = exp(target) * (target - input)
    else:
        # 0 log 0 = 0, and no gradient of it; below zero it is NaN.
        zero = eq(target, 0.0)
        known = target * log(where(zero, 1.0, target))
        loss = where(zero, 0.0, known) - target * input
    if reduction == "batchmean":
        return reduced(loss, "sum") / real(loss.shape[0] if loss.ndim else 1)
    return reduced(loss, reduction)


def kl_div(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", log_target: bool = False,
) -> Any:  # fmt: skip
    """Kullback-Leibler divergence y (log y - x) of log-probabilities x from a target y.

    reduction "batchmean" divides by the batch, which is the divergence's mathematical mean.
    """
    if size_average is not None or reduce is not None:
        how = legacy_reduction(size_average, reduce)
    elif reduction == "batchmean":
        how = reduction
    else:
        how = chosen("kl_div", None, None, reduction)
        if how == "mean":
            warnings.warn(
                "reduction: 'mean' divides the total loss by both the batch size and the support "
                "size.'batchmean' divides only by the batch size, and aligns with the KL div math "
                "definition.'mean' will be changed to behave the same as 'batchmean' in the next "
                "major release.",
                stacklevel=2,
            )
    return _kl_div(input, target, how, log_target)


@composite
def _soft_margin(input: Any, target: Any, reduction: str) -> Any:
    return reduced(-logsigmoid(target * input), reduction)


def soft_margin_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """log(1 + e^(-y x)), y = ±1."""
    return _soft_margin(
        input, target, chosen("soft_margin_loss", size_average, reduce, reduction)
    )


@composite
def _multilabel_soft_margin(input: Any, target: Any, weight: Any, reduction: str) -> Any:
    loss = -(target * logsigmoid(input) + (1.0 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return reduced(mean_op(loss, -1), reduction)


def multilabel_soft_margin_loss(
    input: Any, target: Any, weight: Any = None, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """Binary cross-entropy of sigmoid(x), averaged over the classes (last dimension)."""
    how = chosen("multilabel_soft_margin_loss", size_average, reduce, reduction)
    return _multilabel_soft_margin(input, target, weight, how)
