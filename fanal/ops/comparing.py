"""Questions about elements that are answered with bools, and the extremes that ignore NaN."""

from __future__ import annotations

import math
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused
from fanal.core.errors import message
from fanal.graph.ir import Value
from fanal.ops.arithmetic import copysign_p
from fanal.ops.pointwise import abs as absolute
from fanal.ops.pointwise import bitwise_not, eq, ge, le, lt, ne, where
from fanal.ops.promotion import cast, constant, together


def as_bool(x: Value) -> Value:
    """Which elements are not zero."""
    return x if x.dtype is dtypes.bool_ else ne(x, 0)


def everywhere(answer: bool, like: Value) -> Value:
    """One answer for all elements."""
    return constant(answer, dtypes.bool_, like.shape)


@fused
def isnan(input: Any) -> Any:
    """Which elements are NaN (none of integers)."""
    return ne(input, input) if input.dtype.kind == "f" else everywhere(False, input)


@fused
def isinf(input: Any) -> Any:
    """Which elements are infinite, of either sign."""
    return eq(absolute(input), math.inf) if input.dtype.kind == "f" else everywhere(False, input)


@fused
def isposinf(input: Any) -> Any:
    """Which elements are +∞."""
    return eq(input, math.inf) if input.dtype.kind == "f" else everywhere(False, input)


@fused
def isneginf(input: Any) -> Any:
    """Which elements are -∞."""
    return eq(input, -math.inf) if input.dtype.kind == "f" else everywhere(False, input)


@fused
def isfinite(input: Any) -> Any:
    """Which elements are neither infinite nor NaN."""
    return lt(absolute(input), math.inf) if input.dtype.kind == "f" else everywhere(True, input)


@fused
def isreal(input: Any) -> Any:
    """Which elements are real numbers: all, as there are no complex dtypes."""
    return everywhere(True, input)


@fused
def signbit(input: Any) -> Any:
    """Which elements have their sign bit set (also -0.0 and negative NaN)."""
    if input.dtype.kind == "f":
        return lt(bind(copysign_p, constant(1, input.dtype, input.shape), input), 0.0)
    return lt(input, 0) if input.dtype.kind == "i" else everywhere(False, input)


@fused
def isclose(
    input: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Any:
    """Where |input - other| ≤ atol + rtol·|other|, or the two are equal.

    Raises RuntimeError if the dtypes differ, or for a negative tolerance.
    """
    if not isinstance(input, Value) or not isinstance(other, Value):
        raise TypeError(message("isclose", "not two tensors", None, "tensors", "fanal.tensor(...)"))
    if input.dtype is not other.dtype:
        raise RuntimeError(
            message("isclose", "dtypes differ", f"{input.dtype!r} and {other.dtype!r}", "one dtype",
                    "casting one with .to(...)")
        )
    if rtol < 0 or atol < 0:
        raise RuntimeError(message("isclose", "a tolerance is negative", (rtol, atol), "0 or more"))
    a, b = together("isclose", input, other)
    close = eq(a, b)
    if equal_nan and a.dtype.kind == "f":
        close = close | (ne(a, a) & ne(b, b))
    if rtol == 0 and atol == 0:
        return close
    if a.dtype.kind != "f":
        a, b = (cast(v, dtypes.get_default_dtype()) for v in (a, b))
    error = absolute(a - b)
    allowed = absolute(b * rtol) + atol
    return close | (lt(error, math.inf) & le(error, allowed))


@fused(scalars=("input", "other"))
def logical_and(input: Any, other: Any) -> Any:
    """Whether both elements are true (not zero), as bool."""
    x, y = together("logical_and", input, other)
    return as_bool(x) & as_bool(y)


@fused(scalars=("input", "other"))
def logical_or(input: Any, other: Any) -> Any:
    """Whether either element is true (not zero), as bool."""
    x, y = together("logical_or", input, other)
    return as_bool(x) | as_bool(y)


@fused(scalars=("input", "other"))
def logical_xor(input: Any, other: Any) -> Any:
    """Whether exactly one of the elements is true (not zero), as bool."""
    x, y = together("logical_xor", input, other)
    return as_bool(x) ^ as_bool(y)


@fused
def logical_not(input: Any) -> Any:
    """Whether each element is false (zero), as bool."""
    return bitwise_not(input) if input.dtype is dtypes.bool_ else eq(input, 0)


def _ignoring_nan(name: str, wins: Any) -> Any:
    def function(input: Any, other: Any) -> Any:
        a, b = together(name, input, other)
        # The condition also says where the gradient goes: ties go to the first, as in PyTorch.
        first = wins(a, b)
        if a.dtype.kind == "f":
            first = first | ne(b, b)
        return where(first, a, b)

    function.__name__ = function.__qualname__ = name
    return function


_fmax, _fmin = _ignoring_nan("fmax", ge), _ignoring_nan("fmin", le)


@fused(scalars=("input", "other"))
def fmax(input: Any, other: Any) -> Any:
    """The larger of two; a number beside NaN."""
    return _fmax(input, other)


@fused(scalars=("input", "other"))
def fmin(input: Any, other: Any) -> Any:
    """The smaller of two; a number beside NaN."""
    return _fmin(input, other)


@fused(scalars=("values",))
def heaviside(input: Any, values: Any) -> Any:
    """0 below zero, 1 above, `values` at zero. Raises RuntimeError if the dtypes differ."""
    if not isinstance(input, Value):
        raise TypeError(message("heaviside", "not a tensor", type(input).__name__, "a tensor"))
    if isinstance(values, Value) and not values.weak and values.dtype is not input.dtype:
        raise RuntimeError(
            message("heaviside", "dtypes differ", f"{input.dtype!r} and {values.dtype!r}",
                    "one dtype", "casting one with .to(...)")
        )
    x, at_zero = together("heaviside", input, values)
    return where(eq(x, 0), at_zero, cast(x > 0, x.dtype))


@fused(scalars=("min", "max"))
def clamp(input: Any, min: Any = None, max: Any = None) -> Any:
    """Elements cut to [min, max]; the bounds are numbers, tensors (broadcast) or None.

    Where min > max the result is max; NaN in the input or a bound gives NaN. Raises RuntimeError
    without any bound.
    """
    bounds = [b for b in (min, max) if b is not None]
    if not bounds:
        raise RuntimeError(message("clamp", "no bound", None, "min, max or both"))
    x, *limits = together("clamp", input, *bounds)
    if min is not None:
        x = _cut(x, limits.pop(0), lt)
    if max is not None:
        x = _cut(x, limits.pop(0), lambda a, b: lt(b, a))
    return x


def _cut(x: Value, bound: Value, beyond: Any) -> Value:
    outside = beyond(x, bound)
    if x.dtype.kind == "f":
        outside = outside | ne(bound, bound)
    return where(outside, bound, x)


@fused(scalars=("min",))
def clamp_min(input: Any, min: Any) -> Any:
    """Elements raised to at least `min`."""
    return clamp(input, min, None)


@fused(scalars=("max",))
def clamp_max(input: Any, max: Any) -> Any:
    """Elements lowered to at most `max`."""
    return clamp(input, None, max)
