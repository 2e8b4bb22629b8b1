"""Activation functions: elementwise formulas, each one program forward and one backward.

Where a formula has two branches, the one that is not taken is evaluated at a harmless point, so
that its derivative is finite (0 · inf would be NaN). At kinks derivatives are PyTorch's.
"""

from __future__ import annotations

import math
from typing import Any

from fanal.core.dispatch import bind
from fanal.core.errors import message
from fanal.nn.functional.composite import composite, maybe_in_place
from fanal.ops.activations import gelu_p, silu_p
from fanal.ops.layout import slice_dim
from fanal.ops.pointwise import abs as absolute
from fanal.ops.pointwise import exp, expm1, log1p, minimum, where
from fanal.ops.pointwise import sigmoid as sigmoid_op
from fanal.ops.pointwise import tanh as tanh_op
from fanal.ops.primitive import normalize_dim
from fanal.ops.shape import reshaped
from fanal.random.generator import default_generator
from fanal.random.sampling import unit_interval


def positive_part_removed(x: Any) -> Any:
    """x where x ≤ 0, else 0: a harmless point for the branch of negative numbers."""
    return where(x > 0, 0.0, x)


@composite
def _relu(input: Any) -> Any:
    return where(input <= 0, 0, input)


def relu(input: Any, inplace: bool = False) -> Any:
    """max(x, 0) of each element; NaN stays."""
    return maybe_in_place(_relu, input, inplace)


@composite
def _threshold(input: Any, threshold: float, value: float) -> Any:
    return where(input <= threshold, value, input)


def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    """x where x > threshold, else value."""
    return maybe_in_place(_threshold, input, inplace, threshold, value)


@composite
def _hardtanh(input: Any, min_val: float, max_val: float) -> Any:
    return where(input <= min_val, min_val, where(input >= max_val, max_val, input))


def hardtanh(
    input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Any:
    """x cut to [min_val, max_val]."""
    if min_val > max_val:
        raise ValueError(
            message("hardtanh", "min_val is larger than max_val", f"{min_val} and {max_val}")
        )
    if isinstance(min_val, float) and input.dtype.kind in "iu":
        min_val, max_val = int(min_val), int(max_val)
    return maybe_in_place(_hardtanh, input, inplace, min_val, max_val)


def relu6(input: Any, inplace: bool = False) -> Any:
    """min(max(x, 0), 6)."""
    return hardtanh(input, 0.0, 6.0, inplace)


@composite
def _elu(input: Any, alpha: float, scale: float, input_scale: float) -> Any:
    low = expm1(positive_part_removed(input) * input_scale) * (alpha * scale)
    return where(input > 0, input * scale if scale != 1 else input, low)


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where x > 0, else alpha · (eˣ - 1). Clevert et al., 2015."""
    return maybe_in_place(_elu, input, inplace, float(alpha), 1.0, 1.0)


_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


def selu(input: Any, inplace: bool = False) -> Any:
    """scale · elu(x, alpha), whose outputs tend to mean 0, variance 1. Klambauer et al., 2017."""
    return maybe_in_place(_elu, input, inplace, _SELU_ALPHA, _SELU_SCALE, 1.0)


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where x > 0, else alpha · (e^(x/alpha) - 1). Barron, 2017."""
    if alpha == 0:
        raise RuntimeError(message("celu", "alpha is zero", alpha, "a number that is not 0"))
    return maybe_in_place(_elu, input, inplace, float(alpha), 1.0, 1.0 / alpha)


@composite
def _leaky_relu(input: Any, negative_slope: float) -> Any:
    return where(input > 0, input, input * negative_slope)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """x where x > 0, else negative_slope · x."""
    return maybe_in_place(_leaky_relu, input, inplace, negative_slope)


@composite
def prelu(input: Any, weight: Any) -> Any:
    """x where x > 0, else weight · x, with one learned weight, or one a channel (dimension 1)."""
    count = math.prod(weight.shape)
    if weight.ndim > 1:
        raise RuntimeError(message("prelu", "the weight is not a number or vector", tuple(weight.shape)))
    if count == 1:
        slope = reshaped(weight, (1,) * input.ndim)
    else:
        channels = input.shape[1] if input.ndim > 1 else 1
        if input.ndim == 0 or channels != count:
            raise RuntimeError(
                message(
                    "prelu", "the number of weights is not the number of channels",
                    f"weight {tuple(weight.shape)}, input {tuple(input.shape)}",
                    f"1 or {channels} weights",
                )
            )
        slope = reshaped(weight, (1, count, *(1,) * (input.ndim - 2)))
    return where(input > 0, input, input * slope)


@composite(scalars=("lower", "upper"))
def _rrelu(input: Any, key: Any, lower: Any, upper: Any) -> Any:
    slope = unit_interval(key, input.shape, input.dtype) * (upper - lower) + lower
    return where(input <= 0, input * slope, input)


def rrelu(
    input: Any,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Any:
    """Leaky ReLU whose slope is random in [lower, upper] in training, else their mean."""
    if lower > upper:
        raise RuntimeError(
            message("rrelu", "lower is larger than upper", f"{lower} and {upper}")
        )
    if training:
        key = default_generator.draw()
        return maybe_in_place(_rrelu, input, inplace, key, float(lower), float(upper))
    return leaky_relu(input, (lower + upper) / 2, inplace)


@composite
def logsigmoid(input: Any) -> Any:
    """log(1 / (1 + e⁻ˣ))."""
    return minimum(input, 0.0) - log1p(exp(-absolute(input)))


@composite
def _gelu(input: Any, approximate: str) -> Any:
    return bind(gelu_p, input, approximate=approximate)


def gelu(input: Any, approximate: str = "none") -> Any:
    """x Φ(x), Φ the normal distribution function; "tanh": by its approximation.

    0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))). Hendrycks and Gimpel, 2016.
    """
    if approximate not in ("none", "tanh"):
        raise RuntimeError(
            message("gelu", "unknown approximation", repr(approximate), "'none' or 'tanh'")
        )
    return _gelu(input, approximate)


@composite
def hardshrink(input: Any, lambd: float = 0.5) -> Any:
    """x where |x| > lambd, else 0."""
    return where(absolute(input) <= lambd, 0.0, input)


@composite
def softshrink(input: Any, lambd: float = 0.5) -> Any:
    """x moved by lambd towards 0, not beyond it."""
    if lambd < 0:
        raise RuntimeError(message("softshrink", "lambd is negative", lambd, "0 or more"))
    # x · 0 keeps NaN.
    return where(
        input > lambd, input - lambd, where(input < -lambd, input + lambd, input * 0.0)
    )


@composite
def tanhshrink(input: Any) -> Any:
    """x - tanh x."""
    return input - tanh_op(input)


@composite
def softsign(input: Any) -> Any:
    """x / (1 + |x|)."""
    return input / (absolute(input) + 1.0)


@composite
def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + e^(beta·x)) / beta; x itself where beta · x > threshold."""
    scaled = input if beta == 1 else input * beta
    large = scaled > threshold
    soft = log1p(exp(where(large, 0.0, scaled)))
    return where(large, input, soft if beta == 1 else soft / beta)


@composite
def tanh(input: Any) -> Any:
    """Hyperbolic tangent."""
    return tanh_op(input)


@composite
def sigmoid(input: Any) -> Any:
    """1 / (1 + e⁻ˣ)."""
    return sigmoid_op(input)


@composite
def _hardsigmoid(input: Any) -> Any:
    return where(input <= -3, 0.0, where(input >= 3, 1.0, input / 6.0 + 0.5))


def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """x / 6 + 1/2 cut to [0, 1]."""
    return maybe_in_place(_hardsigmoid, input, inplace)


@composite
def _hardswish(input: Any) -> Any:
    return where(input <= -3, 0.0, where(input >= 3, input, input * (input + 3.0) / 6.0))


def hardswish(input: Any, inplace: bool = False) -> Any:
    """x · hardsigmoid(x). Howard et al., 2019."""
    return maybe_in_place(_hardswish, input, inplace)


@composite
def _silu(input: Any) -> Any:
    return bind(silu_p, input)


def silu(input: Any, inplace: bool = False) -> Any:
    """x / (1 + e⁻ˣ), also called swish."""
    return maybe_in_place(_silu, input, inplace)


@composite
def _mish(input: Any) -> Any:
    return input * tanh_op(softplus(input))


def mish(input: Any, inplace: bool = False) -> Any:
    """x · tanh(log(1 + eˣ)). Misra, 2019."""
    return maybe_in_place(_mish, input, inplace)


@composite
def glu(input: Any, dim: int = -1) -> Any:
    """a · sigmoid(b) of the two halves of a dimension. Dauphin et al., 2016."""
    if input.ndim == 0:
        raise RuntimeError(message("glu", "a 0-d tensor has no halves"))
    d = normalize_dim("glu", dim, input.ndim)
    n = input.shape[d]
    if n % 2:
        raise RuntimeError(
            message("glu", f"extent of dimension {d} is odd", n, "an even extent")
        )
    return slice_dim(input, d, 0, n // 2) * sigmoid_op(slice_dim(input, d, n // 2, n))


def _in_place_version(function: Any) -> Any:
    def version(input: Any, *args: Any, **kwargs: Any) -> Any:
        return function(input, *args, inplace=True, **kwargs)

    version.__name__ = version.__qualname__ = f"{function.__name__}_"
    version.__doc__ = f"`{function.__name__}` in the input's memory."
    return version


relu_ = _in_place_version(relu)
threshold_ = _in_place_version(threshold)
hardtanh_ = _in_place_version(hardtanh)
elu_ = _in_place_version(elu)
selu_ = _in_place_version(selu)
celu_ = _in_place_version(celu)
leaky_relu_ = _in_place_version(leaky_relu)
rrelu_ = _in_place_version(rrelu)
