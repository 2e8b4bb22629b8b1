"""Public elementwise functions: primitives with promotion, broadcasting and Python numbers.

Made from the table below, one line a function; functions with more to them are written out in the
modules of their subject.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused
from fanal.core.errors import message
from fanal.graph.ir import Value
from fanal.ops import arithmetic as a
from fanal.ops import transcendental as t
from fanal.ops.primitive import Primitive
from fanal.ops.promotion import cast, constant, result_type, to_float, together, working_dtype

Function = Callable[..., Any]


def _finish(function: Function, name: str, doc: str) -> Function:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def binary(primitive: Primitive, name: str, doc: str, to: str = "same") -> Any:
    """A function of two operands. `to`: "same" common dtype, "float" at least floating."""

    def function(input: Any, other: Any) -> Any:
        dtype = result_type(input, other)
        if to == "float":
            dtype = to_float(dtype)
        return bind(primitive, *together(name, input, other, dtype=dtype))

    return fused(_finish(function, name, doc), scalars=("input", "other"))


def unary(primitive: Primitive, name: str, doc: str, to: str = "same") -> Any:
    """A function of one tensor. `to`: "float" computes integers in the default float dtype."""

    def function(input: Any) -> Any:
        dtype = input.dtype if to == "same" else to_float(input.dtype)
        return bind(primitive, cast(input, dtype))

    return fused(_finish(function, name, doc))


_UNARY_FLOAT = {
    "exp": "eˣ of each element.", "exp2": "2ˣ.", "expm1": "eˣ - 1, accurate near 0.",
    "log": "Natural logarithm; NaN below 0, -inf at 0.", "log2": "Logarithm to base 2.",
    "log10": "Logarithm to base 10.", "log1p": "log(1 + x), accurate near 0.",
    "sqrt": "Square root; NaN below 0.", "rsqrt": "1 / √x.", "sin": "Sine of radians.",
    "cos": "Cosine of radians.", "tan": "Tangent of radians.", "asin": "Inverse sine in radians.",
    "acos": "Inverse cosine in radians.", "atan": "Inverse tangent in radians.",
    "sinh": "Hyperbolic sine.", "cosh": "Hyperbolic cosine.", "tanh": "Hyperbolic tangent.",
    "asinh": "Inverse hyperbolic sine.", "acosh": "Inverse hyperbolic cosine.",
    "atanh": "Inverse hyperbolic tangent.", "sigmoid": "1 / (1 + e⁻ˣ).",
    "erf": "Error function.", "erfc": "1 - erf x, accurate for large x.",
    "erfinv": "Inverse error function.", "lgamma": "log |Γ(x)|.",
    "digamma": "Derivative of lgamma.", "i0": "Modified Bessel function I₀.",
    "i0e": "e^(-|x|) I₀(x).", "i1": "Modified Bessel function I₁.", "i1e": "e^(-|x|) I₁(x).",
    "ndtri": "Inverse of the standard normal distribution function.",
    "log_ndtr": "Logarithm of the standard normal distribution function.",
    "bessel_j0": "Bessel function J₀.", "bessel_j1": "Bessel function J₁.",
    "bessel_y0": "Bessel function Y₀.", "bessel_y1": "Bessel function Y₁.",
}  # fmt: skip

exp, exp2, expm1, log, log2, log10, log1p, sqrt, rsqrt, sin, cos, tan, asin, acos, atan, sinh, \
    cosh, tanh, asinh, acosh, atanh, sigmoid, erf, erfc, erfinv, lgamma, digamma, i0, i0e, i1, \
    i1e, ndtri, log_ndtr, bessel_j0, bessel_j1, bessel_y0, bessel_y1 = (
        unary(getattr(t, f"{n}_p"), n, d, "float") for n, d in _UNARY_FLOAT.items()
    )  # fmt: skip

neg = unary(a.neg_p, "neg", "-x of each element.")
atan2 = binary(t.atan2_p, "atan2", "Angle in radians of the point (other, input).", "float")
hypot = binary(t.hypot_p, "hypot", "√(a² + b²) without overflow.", "float")
zeta = binary(t.zeta_p, "zeta", "Hurwitz zeta function Σ (k + other)^(-input).", "float")
gammainc = binary(t.gammainc_p, "gammainc", "Regularised lower incomplete gamma.", "float")
gammaincc = binary(t.gammaincc_p, "gammaincc", "Regularised upper incomplete gamma.", "float")
nextafter = binary(a.nextafter_p, "nextafter", "The next number after input towards other.")
copysign = binary(a.copysign_p, "copysign", "Magnitude of input, sign of other.", "float")
maximum = binary(a.maximum_p, "maximum", "The larger of two; NaN if either is.")
minimum = binary(a.minimum_p, "minimum", "The smaller of two; NaN if either is.")
remainder = binary(a.remainder_p, "remainder", "Remainder with the divisor's sign (Python's %).")
fmod = binary(a.fmod_p, "fmod", "Remainder with the dividend's sign (C's fmod).")
floor_divide = binary(a.floor_div_p, "floor_divide", "⌊input / other⌋.")


@fused(scalars=("input", "other"))
def true_divide(input: Any, other: Any) -> Any:
    """input / other; integers give floats."""
    dtype = to_float(result_type(input, other))
    x, y = together("true_divide", input, other, dtype=working_dtype(dtype, input, other))
    return cast(bind(a.div_p, x, y), dtype)


pow_general = binary(a.pow_p, "pow", "input to the power other.")


def _comparison(primitive: Primitive, name: str, doc: str) -> Any:
    def function(input: Any, other: Any) -> Any:
        return bind(primitive, *together(name, input, other))

    return fused(_finish(function, name, doc), scalars=("input", "other"))


eq = _comparison(a.eq_p, "eq", "input = other, as bool.")
ne = _comparison(a.ne_p, "ne", "input ≠ other, as bool.")
lt = _comparison(a.lt_p, "lt", "input < other, as bool.")
le = _comparison(a.le_p, "le", "input ≤ other, as bool.")
gt = _comparison(a.gt_p, "gt", "input > other, as bool.")
ge = _comparison(a.ge_p, "ge", "input ≥ other, as bool.")
bitwise_and = _comparison(a.and_p, "bitwise_and", "Bitwise and of integers or bools.")
bitwise_or = _comparison(a.or_p, "bitwise_or", "Bitwise or of integers or bools.")
bitwise_xor = _comparison(a.xor_p, "bitwise_xor", "Bitwise exclusive or of integers or bools.")
bitwise_left_shift = _comparison(a.shift_left_p, "bitwise_left_shift", "input · 2^other.")
bitwise_right_shift = _comparison(
    a.shift_right_p, "bitwise_right_shift", "input / 2^other rounded down."
)


@fused(scalars=("input", "other", "alpha"))
def add(input: Any, other: Any, *, alpha: float = 1) -> Any:
    """input + alpha · other, broadcast."""
    return _scaled(a.add_p, "add", input, other, alpha)


@fused(scalars=("input", "other", "alpha"))
def sub(input: Any, other: Any, *, alpha: float = 1) -> Any:
    """input - alpha · other, broadcast. Bools are an error, as in PyTorch."""
    return _scaled(a.sub_p, "sub", input, other, alpha)


def _scaled(primitive: Primitive, name: str, input: Any, other: Any, alpha: Any) -> Any:
    x, y = together(name, input, other)
    dtype = x.dtype
    if dtype is dtypes.bool_:
        if primitive is a.sub_p:
            raise RuntimeError(
                message("sub", "bools can't be subtracted", None, "numbers", "^ or logical_xor()")
            )
        if isinstance(alpha, Value):
            from fanal.ops.layout import expand_to

            y = bind(a.and_p, y, expand_to(cast(alpha, dtypes.bool_), y.shape))
        return x if alpha is False else bind(a.or_p, x, y)
    if isinstance(alpha, Value) or alpha != 1:
        # 16-bit floats are rounded once, at the end.
        work = working_dtype(dtype, alpha)
        x, y, factor = (cast(v, work) for v in together(name, x, y, cast(alpha, dtype)))
        y = bind(a.mul_p, y, factor)
    return cast(bind(primitive, x, y), dtype)


@fused(scalars=("input", "other"))
def mul(input: Any, other: Any) -> Any:
    """input · other, broadcast."""
    dtype = result_type(input, other)
    x, y = together("mul", input, other, dtype=working_dtype(dtype, input, other))
    return cast(bind(a.and_p if dtype is dtypes.bool_ else a.mul_p, x, y), dtype)


@fused
def abs(input: Any) -> Any:
    """|x| of each element; the smallest signed integer stays itself."""
    return input if input.dtype.kind in "ub" else bind(a.abs_p, input)


@fused
def sign(input: Any) -> Any:
    """-1, 0 or 1 of each element; 0 for NaN."""
    return input if input.dtype is dtypes.bool_ else bind(a.sign_p, input)


@fused(scalars=("input", "other"))
def where(condition: Any, input: Any, other: Any) -> Any:
    """`input` where `condition` holds, else `other`; all three broadcast."""
    dtype = result_type(input, other)
    if condition.dtype is not dtypes.bool_:
        condition = ne(condition, 0)
    x, y = (cast(v, dtype) for v in (input, other))
    shape_only = [condition, x, y]
    from fanal.ops.layout import expand_to
    from fanal.ops.promotion import broadcast_shapes

    shape = broadcast_shapes(*(v.shape for v in shape_only), op="where")
    return bind(a.where_p, *(expand_to(v, shape) for v in shape_only))


def _integral_identity(primitive: Primitive, name: str, doc: str) -> Any:
    def function(input: Any) -> Any:
        return bind(primitive, input) if input.dtype.kind == "f" else input

    return fused(_finish(function, name, doc))


floor = _integral_identity(a.floor_p, "floor", "⌊x⌋; integers are themselves.")
ceil = _integral_identity(a.ceil_p, "ceil", "⌈x⌉; integers are themselves.")
trunc = _integral_identity(a.trunc_p, "trunc", "x without its fraction.")
bitwise_not = unary(a.not_p, "bitwise_not", "Bitwise complement; of a bool, its negation.")


@fused
def square(input: Any) -> Any:
    """x · x; of bools as int64."""
    return cast(input, dtypes.int64) if input.dtype is dtypes.bool_ else input * input


@fused
def reciprocal(input: Any) -> Any:
    """1 / x; integers give floats."""
    x = cast(input, to_float(input.dtype))
    return bind(a.div_p, constant(1, x.dtype, x.shape), x)


@fused
def detach(input: Any) -> Any:
    """x itself, as a constant for derivatives."""
    return bind(a.detach_p, input)


def install_operators() -> None:
    """Give graph values Python's operators, so that rules read as mathematics."""
    table: dict[str, Function] = {
        "__add__": add, "__sub__": sub, "__mul__": mul, "__truediv__": true_divide,
        "__floordiv__": floor_divide, "__mod__": remainder, "__and__": bitwise_and,
        "__or__": bitwise_or, "__xor__": bitwise_xor, "__lt__": lt, "__le__": le,
        "__gt__": gt, "__ge__": ge, "__pow__": pow_general,
    }  # fmt: skip
    for name, function in table.items():
        setattr(Value, name, function)
        if name[2:-2] in ("add", "mul", "and", "or", "xor"):
            setattr(Value, f"__r{name[2:]}", function)
    for name, function in (
        ("__rsub__", sub), ("__rtruediv__", true_divide), ("__rpow__", pow_general),
        ("__rfloordiv__", floor_divide), ("__rmod__", remainder),
    ):  # fmt: skip
        setattr(Value, name, _swapped(function))
    Value.__neg__ = neg
    Value.__invert__ = bitwise_not


def _swapped(function: Function) -> Function:
    def reflected(self: Value, other: Any) -> Any:
        return function(other, self)

    return reflected


install_operators()
