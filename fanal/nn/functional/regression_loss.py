"""Losses between numbers: squares, absolute differences, likelihoods of counts and Gaussians."""

from __future__ import annotations

import math
import warnings
from typing import Any

from fanal.core.errors import message
from fanal.nn.functional.composite import composite
from fanal.nn.functional.reduction import chosen, reduced
from fanal.ops.pointwise import abs as absolute
from fanal.ops.pointwise import detach, exp, log, where
from fanal.ops.promotion import together
from fanal.tensor.lazy import is_known


def _warn_sizes(input: Any, target: Any) -> None:
    if tuple(input.shape) != tuple(target.shape):
        warnings.warn(
            f"Using a target size ({tuple(target.shape)}) that is different to the input size "
            f"({tuple(input.shape)}). This will likely lead to incorrect results due to "
            "broadcasting. Please ensure they have the same size.",
            stacklevel=3,
        )


def _check_weight(name: str, input: Any, weight: Any) -> None:
    if weight is not None and tuple(weight.shape) != tuple(input.shape):
        raise ValueError(
            message(
                name, "Weights and input must have the same size", tuple(weight.shape),
                str(tuple(input.shape)),
            )
        )


def weighted(loss: Any, weight: Any, reduction: str) -> Any:
    """A loss reduced after its elements are multiplied; the mean is divided by the weights' sum."""
    if weight is None:
        return reduced(loss, reduction)
    loss, factor = together("loss", loss, weight)
    if reduction == "mean":
        return reduced(loss * factor, "sum") / reduced(factor, "sum")
    return reduced(loss * factor, reduction)


@composite
def _l1(input: Any, target: Any, weight: Any, reduction: str) -> Any:
    return weighted(absolute(input - target), weight, reduction)


def l1_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", weight: Any = None,
) -> Any:  # fmt: skip
    """|x - y|."""
    _warn_sizes(input, target)
    _check_weight("l1_loss", input, weight)
    return _l1(input, target, weight, chosen("l1_loss", size_average, reduce, reduction))


@composite
def _mse(input: Any, target: Any, weight: Any, reduction: str) -> Any:
    difference = input - target
    return weighted(difference * difference, weight, reduction)


def mse_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", weight: Any = None,
) -> Any:  # fmt: skip
    """(x - y)²."""
    _warn_sizes(input, target)
    _check_weight("mse_loss", input, weight)
    return _mse(input, target, weight, chosen("mse_loss", size_average, reduce, reduction))


@composite
def _smooth_l1(input: Any, target: Any, reduction: str, beta: float) -> Any:
    difference = input - target
    size = absolute(difference)
    if beta == 0:
        return reduced(size, reduction)
    small = difference * difference * 0.5 / beta
    return reduced(where(size < beta, small, size - 0.5 * beta), reduction)


def smooth_l1_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", beta: float = 1.0,
) -> Any:  # fmt: skip
    """(x - y)² / (2 beta) where |x - y| < beta, else |x - y| - beta / 2. Girshick, 2015."""
    if beta < 0:
        raise RuntimeError(message("smooth_l1_loss", "beta is negative", beta, "0 or more"))
    _warn_sizes(input, target)
    how = chosen("smooth_l1_loss", size_average, reduce, reduction)
    return _smooth_l1(input, target, how, beta)


@composite
def _huber(input: Any, target: Any, weight: Any, reduction: str, delta: float) -> Any:
    difference = input - target
    size = absolute(difference)
    large = (size - 0.5 * delta) * delta
    loss = where(size <= delta, difference * difference * 0.5, large)
    # As in PyTorch, the mean of this weighted loss is divided by the number of elements.
    return reduced(loss if weight is None else loss * weight, reduction)


def huber_loss(
    input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None
) -> Any:
    """(x - y)² / 2 where |x - y| ≤ delta, else delta (|x - y| - delta / 2). Huber, 1964."""
    if delta <= 0:
        raise RuntimeError(message("huber_loss", "delta is not positive", delta, "above 0"))
    _warn_sizes(input, target)
    _check_weight("huber_loss", input, weight)
    return _huber(input, target, weight, chosen("huber_loss", None, None, reduction), delta)


@composite
def _poisson_nll(
    input: Any, target: Any, log_input: bool, full: bool, eps: float, reduction: str
) -> Any:
    if log_input:
        loss = exp(input) - target * input
    else:
        loss = input - target * log(input + eps)
    if full:
        # Stirling's approximation of log(target!), for targets above 1.
        above = where(target > 1, target, 2.0)
        stirling = above * log(above) - above + log(above * (2 * math.pi)) * 0.5
        loss = loss + where(target > 1, stirling, 0.0)
    return reduced(loss, reduction)


def poisson_nll_loss(
    input: Any, target: Any, log_input: bool = True, full: bool = False,
    size_average: bool | None = None, eps: float = 1e-8, reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """eˣ - y x, x the logarithm of a Poisson distribution's mean; `full` adds log y!."""
    how = chosen("poisson_nll_loss", size_average, reduce, reduction)
    return _poisson_nll(input, target, log_input, full, eps, how)


@composite
def _gaussian_nll(
    input: Any, target: Any, var: Any, full: bool, eps: float, reduction: str
) -> Any:
    # The bound changes the value of the variance, not its gradient.
    safe = var + detach(where(var < eps, eps, var) - var)
    difference = input - target
    loss = (log(safe) + difference * difference / safe) * 0.5
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduced(loss, reduction)


def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """(log v + (x - y)² / v) / 2 with the variance v ≥ eps; `full` adds log(2π) / 2.

    var: a number, the input's shape, that without its last dimension, or with extents of 1.
    """
    if isinstance(var, int | float) and not isinstance(var, bool):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = _constant_like(input, var)
    elif hasattr(var, "item") and is_known(var) and bool((var < 0).any()):
        raise ValueError("var has negative entry/entries")
    size, given = tuple(input.shape), tuple(var.shape)
    if given != size:
        if size[:-1] == given:
            from fanal.ops.shape import unsqueeze

            var = unsqueeze(var, -1)
        elif len(size) != len(given) or sum(b for a, b in zip(size, given) if a != b) != 1:
            raise ValueError("var is of incorrect size")
    how = chosen("gaussian_nll_loss", None, None, reduction)
    return _gaussian_nll(input, target, var, full, eps, how)


def _constant_like(input: Any, value: float) -> Any:
    from fanal.tensor.creation import full_like

    return full_like(input.detach(), float(value))
