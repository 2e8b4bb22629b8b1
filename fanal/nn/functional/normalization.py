"""Normalisation over batches, layers, groups, instances and channels.

Mean and variance are computed in two passes (the variance from differences to the mean) in float32
or better. Running statistics are written in place after the program that computed them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from fanal.core import dtypes
from fanal.core.dispatch import fused
from fanal.core.errors import message
from fanal.core.symbols import real
from fanal.nn.functional.composite import composite
from fanal.ops.layout import slice_dim
from fanal.ops.moments import moments
from fanal.ops.pointwise import detach, pow_general, rsqrt
from fanal.ops.promotion import cast
from fanal.ops.reductions import count
from fanal.ops.reductions import mean as mean_op
from fanal.ops.shape import constant_pad, reshaped

_EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}


def standardized(x: Any, dims: tuple[int, ...], eps: float) -> tuple[Any, Any, Any]:
    """(x - mean) / √(var + eps) over dimensions, with mean and (biased) variance kept as extents 1."""
    center, squares = moments(x, dims)
    n = count(x, dims)
    variance = squares / real(n) if n else squares * float("nan")
    return (x - center) * rsqrt(variance + eps), center, variance


def affine(y: Any, weight: Any, bias: Any, shape: tuple[int, ...]) -> Any:
    """y · weight + bias, both (or None) seen under `shape`."""
    if weight is not None:
        y = y * reshaped(weight, shape)
    if bias is not None:
        y = y + reshaped(bias, shape)
    return y


def _check_normalized(name: str, input: Any, shape: tuple[int, ...], **others: Any) -> None:
    if not shape or tuple(input.shape[input.ndim - len(shape) :]) != shape:
        raise RuntimeError(
            message(
                name, f"Given normalized_shape={list(shape)}, the input's last dimensions differ",
                tuple(input.shape), f"(…, {', '.join(map(str, shape))})",
            )
        )
    for what, value in others.items():
        if value is not None and tuple(value.shape) != shape:
            raise RuntimeError(
                message(name, f"{what} has another shape", tuple(value.shape), str(shape))
            )


@composite
def layer_norm(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """(x - mean) / √(var + eps) · weight + bias over the last dimensions. Ba et al., 2016."""
    shape = tuple(normalized_shape)
    _check_normalized("layer_norm", input, shape, weight=weight, bias=bias)
    dims = tuple(range(input.ndim - len(shape), input.ndim))
    y, _, _ = standardized(input, dims, eps)
    return affine(y, weight, bias, shape)


@composite
def _rms_norm(input: Any, dims: tuple[int, ...], weight: Any, eps: float) -> Any:
    y = input * rsqrt(mean_op(input * input, dims, True) + eps)
    return y if weight is None else y * weight


def rms_norm(
    input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None
) -> Any:
    """x / √(mean x² + eps) · weight over the last dimensions. Zhang and Sennrich, 2019.

    eps: by default the distance of 1 to the next number of the input's dtype.
    """
    shape = tuple(normalized_shape)
    _check_normalized("rms_norm", input, shape, weight=weight)
    dims = tuple(range(input.ndim - len(shape), input.ndim))
    return _rms_norm(input, dims, weight, _EPSILON[input.dtype.name] if eps is None else eps)


@composite
def _group_norm(input: Any, groups: int, weight: Any, bias: Any, eps: float) -> Any:
    n, channels = input.shape[:2]
    rest = math.prod(input.shape[1:]) // groups
    y, _, _ = standardized(reshaped(input, (n, groups, rest)), (2,), eps)
    y = reshaped(y, input.shape)
    return affine(y, weight, bias, (1, channels, *(1,) * (input.ndim - 2)))


def group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Standardises groups of channels of each sample; (N, C, …). Wu and He, 2018."""
    if input.ndim < 2:
        raise RuntimeError(
            message("group_norm", "Expected at least 2 dimensions", tuple(input.shape), "(N, C, …)")
        )
    if input.shape[1] % num_groups:
        raise RuntimeError(
            message(
                "group_norm", "Expected number of channels to be divisible by num_groups",
                f"{input.shape[1]} channels, {num_groups} groups",
            )
        )
    _more_than_one(input.shape, math.prod(input.shape[2:]) * input.shape[1] // num_groups)
    return _group_norm(input, num_groups, weight, bias, eps)


def _more_than_one(shape: Any, values: int) -> None:
    if values == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {shape}"
        )


# -- batch and instance ---------------------------------------------------------------------------------


class Normalized(NamedTuple):
    """The result, and the running statistics as they are to become."""

    output: Any
    mean: Any
    variance: Any


def _wide(x: Any) -> Any:
    """A floating value in float32 at least."""
    return cast(x, dtypes.float32) if x is not None and x.dtype.bits == 16 else x


def _per_channel(input: Any) -> tuple[int, ...]:
    return (1, input.shape[1], *(1,) * (input.ndim - 2))


def _moved(running: Any, batch: Any, momentum: Any) -> Any:
    """(1 - momentum) · running + momentum · batch, in the running statistic's dtype."""
    old = _wide(running)
    return cast(old * (1.0 - momentum) + cast(detach(batch), old.dtype) * momentum, running.dtype)


@fused(scalars=("momentum",))
def _batch_norm_train(
    input: Any, mean: Any, variance: Any, weight: Any, bias: Any, momentum: Any, eps: float
) -> Any:
    x = _wide(input)
    dims = (0, *range(2, x.ndim))
    y, center, spread = standardized(x, dims, eps)
    y = cast(affine(y, _wide(weight), _wide(bias), _per_channel(x)), input.dtype)
    if mean is None:
        return y
    n = count(x, dims)
    channels = (x.shape[1],)
    unbiased = reshaped(spread, channels) * (n / max(n - 1, 1))
    return Normalized(
        y,
        _moved(mean, reshaped(center, channels), momentum),
        _moved(variance, unbiased, momentum),
    )


@fused
def _batch_norm_eval(
    input: Any, mean: Any, variance: Any, weight: Any, bias: Any, eps: float
) -> Any:
    x = _wide(input)
    shape = _per_channel(x)
    y = (x - reshaped(_wide(mean), shape)) * rsqrt(reshaped(_wide(variance), shape) + eps)
    return cast(affine(y, _wide(weight), _wide(bias), shape), input.dtype)


def batch_norm(
    input: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    """Standardises each channel of (N, C, …) over the batch. Ioffe and Szegedy, 2015.

    training: with the batch's own mean and variance, which also move the running ones (in place, by
    `momentum`; the running variance is the unbiased one). Else: with the running ones.
    """
    _check_channels("batch_norm", input, input.shape[1], running_mean, running_var, weight, bias)
    if eps <= 0:
        raise ValueError(message("batch_norm", "eps is not positive", eps))
    if not training:
        if running_mean is None or running_var is None:
            raise RuntimeError(
                message("batch_norm", "running statistics are needed outside of training")
            )
        return _batch_norm_eval(input, running_mean, running_var, weight, bias, eps)
    _more_than_one(input.shape, math.prod(input.shape) // max(input.shape[1], 1))
    if 0 in input.shape:  # nothing has been seen: the running statistics stay
        return _batch_norm_train(input, None, None, weight, bias, float(momentum), eps)
    found = _batch_norm_train(
        input, running_mean, running_var, weight, bias, float(momentum), eps
    )
    return _stored(found, running_mean, running_var)


def _stored(found: Any, running_mean: Any, running_var: Any) -> Any:
    """Write the new running statistics into the old ones; the output."""
    if running_mean is None:
        return found
    running_mean.copy_(found.mean.detach())
    running_var.copy_(found.variance.detach())
    return found.output


def _check_channels(name: str, input: Any, channels: int, *given: Any) -> None:
    for value in given:
        if value is not None and tuple(value.shape) != (channels,):
            raise RuntimeError(
                message(
                    name, "statistics, weight and bias must have one element a channel",
                    f"{tuple(value.shape)} for an input {tuple(input.shape)}", f"({channels},)",
                )
            )


@fused(scalars=("momentum",))
def _instance_norm(
    input: Any, mean: Any, variance: Any, weight: Any, bias: Any, momentum: Any, eps: float
) -> Any:
    x = _wide(input)
    dims = tuple(range(2, x.ndim))
    y, center, spread = standardized(x, dims, eps)
    y = cast(affine(y, _wide(weight), _wide(bias), _per_channel(x)), input.dtype)
    if mean is None:
        return y
    n = count(x, dims)
    rows = tuple(x.shape[:2])
    unbiased = mean_op(reshaped(spread, rows), 0) * (n / max(n - 1, 1))
    center = mean_op(reshaped(center, rows), 0)
    return Normalized(y, _moved(mean, center, momentum), _moved(variance, unbiased, momentum))


def instance_norm(
    input: Any, running_mean: Any = None, running_var: Any = None, weight: Any = None,
    bias: Any = None, use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    """Standardises each channel of each sample of (N, C, …). Ulyanov et al., 2016."""
    _check_channels("instance_norm", input, input.shape[1], running_mean, running_var, weight, bias)
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise RuntimeError(
                message(
                    "instance_norm",
                    "Expected running_mean and running_var to be defined when use_input_stats is "
                    "false",
                )
            )
        return _batch_norm_eval(input, running_mean, running_var, weight, bias, eps)
    if math.prod(input.shape[2:]) == 1:
        raise ValueError(
            "Expected more than 1 spatial element when training, got input size "
            f"{input.shape}"
        )
    found = _instance_norm(input, running_mean, running_var, weight, bias, float(momentum), eps)
    return _stored(found, running_mean, running_var)


@composite
def local_response_norm(
    input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Any:
    """x / (k + alpha · mean of x² over `size` neighbouring channels)^beta. Krizhevsky et al., 2012."""
    if input.ndim < 3:
        raise ValueError(
            f"Expected 3D or higher dimensionality input (got {input.ndim} dimensions)"
        )
    squares = input * input
    pad = [0] * (2 * (input.ndim - 2)) + [size // 2, (size - 1) // 2]
    padded = constant_pad(squares, tuple(pad), 0.0)
    channels = input.shape[1]
    total = slice_dim(padded, 1, 0, channels)
    for offset in range(1, size):
        total = total + slice_dim(padded, 1, offset, offset + channels)
    return input / pow_general(total * (alpha / size) + k, beta)


