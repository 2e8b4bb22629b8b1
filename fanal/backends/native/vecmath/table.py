"""The table of all functions by name."""

from __future__ import annotations

from collections.abc import Callable

from fanal.backends.native.emit import V
from fanal.backends.native.vecmath import (
    error_function,
    exponential,
    gamma,
    hyperbolic,
    inverse_hyperbolic,
    inverse_trigonometric,
    logarithm,
    power,
    remainders,
    rounding,
    trigonometric,
)

FUNCTIONS: dict[str, Callable[..., V]] = {
    "exp": exponential.exp,
    "exp2": exponential.exp2,
    "expm1": exponential.expm1,
    "log": logarithm.log,
    "log2": logarithm.log2,
    "log10": logarithm.log10,
    "log1p": logarithm.log1p,
    "tanh": hyperbolic.tanh,
    "sigmoid": hyperbolic.sigmoid,
    "erf": error_function.erf,
    "sin": trigonometric.sin,
    "cos": trigonometric.cos,
    "tan": trigonometric.tan,
    "asin": inverse_trigonometric.asin,
    "acos": inverse_trigonometric.acos,
    "atan": inverse_trigonometric.atan,
    "atan2": inverse_trigonometric.atan2,
    "sinh": hyperbolic.sinh,
    "cosh": hyperbolic.cosh,
    "asinh": inverse_hyperbolic.asinh,
    "acosh": inverse_hyperbolic.acosh,
    "atanh": inverse_hyperbolic.atanh,
    "sqrt": power.sqrt,
    "rsqrt": power.rsqrt,
    "pow": power.pow_,
    "lgamma": gamma.lgamma,
    "digamma": gamma.digamma,
    "trigamma": gamma.trigamma,
    "sinc": trigonometric.sinc,
    "floor": rounding.floor,
    "ceil": rounding.ceil,
    "trunc": rounding.trunc,
    "round": rounding.round_,
    "copysign": rounding.copysign,
    "fmod": remainders.fmod,
    "remainder": remainders.remainder,
}
