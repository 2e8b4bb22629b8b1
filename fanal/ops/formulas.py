"""Elementwise formulas of arithmetic: blends, products with a sum, roundings, units of angle."""

from __future__ import annotations

import math
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused
from fanal.core.errors import message
from fanal.core.limits import finfo
from fanal.graph.ir import Value
from fanal.ops.arithmetic import div_p, floor_div_p, gcd_p, round_p, trunc_div_p
from fanal.ops.comparing import isinf
from fanal.ops.composite import composite
from fanal.ops.pointwise import abs as absolute
from fanal.ops.pointwise import (
    eq,
    exp,
    exp2,
    floor,
    ge,
    log1p,
    log2,
    lt,
    ne,
    neg,
    pow_general,
    sign,
    trunc,
    where,
)  # fmt: skip
from fanal.ops.promotion import cast, constant, result_type, to_float, together


def _one_dtype(name: str, *values: Value) -> None:
    for v in values[1:]:
        if not v.weak and v.dtype is not values[0].dtype:
            raise RuntimeError(
                message(name, "dtypes differ", f"{values[0].dtype!r} and {v.dtype!r}", "one dtype",
                        "casting one with .to(...)")
            )


@composite(scalars=("weight",))
def lerp(input: Any, end: Any, weight: Any) -> Any:
    """input + weight·(end - input). `weight` is a number or a tensor; all broadcast."""
    _one_dtype("lerp", input, end, *([weight] if isinstance(weight, Value) else []))
    x, y, w = together("lerp", input, end, weight)
    # From the nearer end, so that weights 0 and 1 give the ends exactly.
    return where(absolute(w) < 0.5, x + w * (y - x), y - (y - x) * (1 - w))


@composite(scalars=("value",), promote=True)
def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:
    """input + value · tensor1 · tensor2."""
    x, a, b, factor = together("addcmul", input, tensor1, tensor2, value)
    return x + (a * b if isinstance(value, int) and value == 1 else factor * a * b)


@composite(scalars=("value",), promote=True)
def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:
    """input + value · tensor1 / tensor2. Raises RuntimeError for integers."""
    if tensor1.dtype.kind != "f" and tensor2.dtype.kind != "f":
        raise RuntimeError(
            message("addcdiv", "integer division is not defined here",
                    f"{tensor1.dtype!r} and {tensor2.dtype!r}", "floating tensors",
                    "input + value * trunc(tensor1 / tensor2)")
        )
    x, a, b, factor = together("addcdiv", input, tensor1, tensor2, value)
    return x + (a / b if isinstance(value, int) and value == 1 else factor * a / b)


@fused(scalars=("input", "other", "alpha"))
def rsub(input: Any, other: Any, *, alpha: float = 1) -> Any:
    """other - alpha · input."""
    from fanal.ops.pointwise import sub

    return sub(other, input, alpha=alpha)


@fused(scalars=("input", "other"))
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    """input / other; `rounding_mode` "trunc" rounds towards zero, "floor" down.

    Without rounding integers give floats. Raises RuntimeError for another rounding mode, and for
    an integer division by zero.
    """
    if rounding_mode not in (None, "trunc", "floor"):
        raise RuntimeError(
            message("div", "unknown rounding_mode", repr(rounding_mode), "None, 'trunc' or 'floor'")
        )
    dtype = result_type(input, other)
    if rounding_mode is None:
        return bind(div_p, *together("div", input, other, dtype=to_float(dtype)))
    if dtype is dtypes.bool_:
        raise RuntimeError(message("div", "bools can't be divided with rounding", hint=".int()"))
    x, y = together("div", input, other, dtype=dtype)
    if rounding_mode == "floor":
        return bind(floor_div_p, x, y)
    return trunc(bind(div_p, x, y)) if dtype.kind == "f" else bind(trunc_div_p, x, y)


@fused(scalars=("input", "exponent"))
def float_power(input: Any, exponent: Any) -> Any:
    """input to the power exponent, computed and returned in float64."""
    x, y = together("float_power", input, exponent, dtype=dtypes.float64)
    return pow_general(x, y)


@composite(scalars=("other",), promote=True)
def ldexp(input: Any, other: Any) -> Any:
    """input · 2^other."""
    x, y = together("ldexp", input, other, dtype=to_float(result_type(input, other)))
    return x * pow_general(2.0, y)


@fused
def frexp(input: Any) -> Any:
    """Mantissa and exponent (int32): input = mantissa · 2^exponent, ½ ≤ |mantissa| < 1."""
    if input.dtype.kind != "f":
        raise RuntimeError(message("frexp", "only for floating tensors", repr(input.dtype)))
    from fanal.ops.results import Frexp

    # In float64 every finite number of the other dtypes is normal; subnormals of float64 are
    # lifted by 2^64 first.
    x = cast(input, dtypes.float64)
    small = lt(absolute(x), 2.0**-1000)
    lifted = where(small, x * 2.0**64, x)
    plain = eq(lifted, 0.0) | ne(lifted - lifted, 0.0)  # zero, infinite, NaN
    safe = where(plain, 1.0, lifted)
    guess = floor(log2(absolute(safe))) + 1.0
    # 2^-guess in two factors, since guess may be 1024.
    half = floor(guess * 0.5)
    mantissa = safe * exp2(neg(half)) * exp2(half - guess)
    over, under = ge(absolute(mantissa), 1.0), lt(absolute(mantissa), 0.5)
    mantissa = where(over, mantissa * 0.5, where(under, mantissa * 2.0, mantissa))
    exponent = where(over, guess + 1.0, where(under, guess - 1.0, guess))
    exponent = where(small, exponent - 64.0, exponent)
    mantissa = cast(where(plain, x, mantissa), input.dtype)
    return Frexp(mantissa, cast(where(plain, 0.0, exponent), dtypes.int32))


def _log_sum(name: str, input: Any, other: Any, power: Any, scale: float) -> Value:
    """The larger plus log(1 + power(smaller - larger)) · scale, exact to all orders at ties."""
    a, b = together(name, input, other, dtype=to_float(result_type(input, other)))
    first = ge(a, b)
    large, gap = where(first, a, b), where(first, b - a, a - b)
    gap = where(isinf(a) & eq(a, b), 0.0, gap)
    rest = log1p(power(gap))
    return large + (rest if scale == 1 else rest * scale)


@composite(promote=True)
def logaddexp(input: Any, other: Any) -> Any:
    """log(e^input + e^other) without overflow."""
    return _log_sum("logaddexp", input, other, exp, 1)


@composite(promote=True)
def logaddexp2(input: Any, other: Any) -> Any:
    """log₂(2^input + 2^other) without overflow."""
    return _log_sum("logaddexp2", input, other, exp2, 1 / math.log(2))


# -- one tensor -----------------------------------------------------------------------------------


@composite
def _round_decimals(input: Any, decimals: int) -> Any:
    scale = 10.0 ** abs(decimals)
    if decimals > 0:
        return bind(round_p, input * scale) / scale
    return bind(round_p, input / scale) * scale


@fused
def round(input: Any, *, decimals: int = 0) -> Any:
    """The nearest integer, halves to even; or the nearest multiple of 10^-decimals."""
    if input.dtype.kind != "f":
        if decimals:
            raise NotImplementedError(message("round", "decimals of integers", repr(input.dtype)))
        return input
    return _round_decimals(input, decimals) if decimals else bind(round_p, input)


@fused
def frac(input: Any) -> Any:
    """x - trunc(x), with the sign of x. Raises NotImplementedError for integers."""
    if input.dtype.kind != "f":
        raise NotImplementedError(message("frac", "only for floating tensors", repr(input.dtype)))
    return input - trunc(input)


@fused
def positive(input: Any) -> Any:
    """x itself. Raises RuntimeError for bools."""
    if input.dtype is dtypes.bool_:
        raise RuntimeError(message("positive", "not defined for bool", hint=".int()"))
    return input


@fused
def sgn(input: Any) -> Any:
    """-1, 0 or 1 of each element (for real numbers the same as `sign`)."""
    return sign(input)


@composite
def deg2rad(input: Any) -> Any:
    """Degrees as radians."""
    return cast(input, to_float(input.dtype)) * (math.pi / 180)


@composite
def rad2deg(input: Any) -> Any:
    """Radians as degrees."""
    return cast(input, to_float(input.dtype)) * (180 / math.pi)


@fused
def angle(input: Any) -> Any:
    """π for negative numbers, 0 for others, NaN for NaN."""
    x = cast(input, to_float(input.dtype))
    pi, zero = constant(math.pi, x.dtype), constant(0.0, x.dtype)
    return where(ne(x, x), x, where(lt(x, 0.0), pi, zero))


@fused
def nan_to_num(
    input: Any, nan: float | None = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Any:
    """NaN, +∞ and -∞ replaced by numbers: 0, the largest and the lowest of the dtype by default."""
    if input.dtype.kind != "f":
        return input
    limits = finfo(input.dtype)
    above = limits.max if posinf is None else posinf
    below = limits.min if neginf is None else neginf
    x = where(ne(input, input), constant(nan or 0.0, input.dtype), input)
    x = where(eq(input, math.inf), constant(above, input.dtype), x)
    return where(eq(input, -math.inf), constant(below, input.dtype), x)


# -- whole numbers ----------------------------------------------------------------------------------


def _integers(name: str, input: Any, other: Any) -> list[Value]:
    x, y = together(name, input, other)
    if x.dtype.kind not in "iu":
        raise NotImplementedError(message(name, "only for integers", repr(x.dtype), "an integer dtype"))
    return [x, y]


@fused(scalars=("other",))
def gcd(input: Any, other: Any) -> Any:
    """Greatest common divisor, 0 or more; gcd(0, 0) = 0."""
    return bind(gcd_p, *_integers("gcd", input, other))


@fused(scalars=("other",))
def lcm(input: Any, other: Any) -> Any:
    """Least common multiple, 0 or more; 0 if either is 0."""
    x, y = _integers("lcm", input, other)
    divisor = bind(gcd_p, x, y)
    safe = where(eq(divisor, 0), 1, divisor)
    return absolute(bind(trunc_div_p, x, safe) * y)
