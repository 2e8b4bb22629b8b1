"""Elementwise primitives that ONNX has operators for, most of them by a table of names."""

from __future__ import annotations

import math
from typing import Any

from fanal.core import dtypes
from fanal.core.dtypes import DType
from fanal.export.onnx.records import Ref
from fanal.export.onnx.registry import RULES, rule
from fanal.export.onnx.writer import Writer

# Of one operand and one dtype.
_UNARY = {
    "abs": "Abs", "sqrt": "Sqrt", "exp": "Exp", "log": "Log", "sin": "Sin", "cos": "Cos",
    "tan": "Tan", "asin": "Asin", "acos": "Acos", "atan": "Atan", "sinh": "Sinh", "cosh": "Cosh",
    "tanh": "Tanh", "asinh": "Asinh", "acosh": "Acosh", "atanh": "Atanh", "sigmoid": "Sigmoid",
    "erf": "Erf", "floor": "Floor", "ceil": "Ceil", "round": "Round",
}  # fmt: skip
# Sums and products keep their low bits whatever is computed above them.
_WRAPPING = {"add": "Add", "sub": "Sub", "mul": "Mul"}
_COMPARISONS = {
    "eq": "Equal", "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual",
}  # fmt: skip
_BITS = {"and": ("And", "BitwiseAnd"), "or": ("Or", "BitwiseOr"), "xor": ("Xor", "BitwiseXor")}
_ALIASES = ("detach", "stop_reverse", "hold")


def _named(op: str, **at: Any) -> Any:
    return lambda w, node, *xs: w.through(op, *xs, **at)


RULES.update({name: _named(op) for name, op in _UNARY.items()})
RULES.update({name: _named(op, wraps=True) for name, op in _WRAPPING.items()})
RULES.update({name: _named(op, result=dtypes.bool_) for name, op in _COMPARISONS.items()})
RULES["div"] = _named("Div")
RULES.update(dict.fromkeys(_ALIASES, lambda w, node, x: x))
RULES["after"] = lambda w, node, x, *others: x


@rule("neg")
def _neg(w: Writer, node: Any, x: Ref) -> Ref:
    """Of unsigned numbers: what is missing to the next power of two, as in C."""
    if x.dtype.kind != "u":
        return w.through("Neg", x)
    return w.through("Sub", w.number(0, x.dtype, x.shape), x, wraps=True)


@rule("ne")
def _ne(w: Writer, node: Any, a: Ref, b: Ref) -> Ref:
    return w.map("Not", w.through("Equal", a, b, result=dtypes.bool_))


@rule(*_BITS)
def _logic(w: Writer, node: Any, a: Ref, b: Ref) -> Ref:
    logical, bitwise = _BITS[node.primitive.name]
    return w.map(logical if a.dtype is dtypes.bool_ else bitwise, a, b)


@rule("not")
def _not(w: Writer, node: Any, x: Ref) -> Ref:
    return w.map("Not" if x.dtype is dtypes.bool_ else "BitwiseNot", x)


@rule("maximum", "minimum")
def _extreme(w: Writer, node: Any, a: Ref, b: Ref) -> Ref:
    larger = node.primitive.name == "maximum"
    if a.dtype is dtypes.bool_:
        return w.map("Or" if larger else "And", a, b)
    return w.through("Max" if larger else "Min", a, b)


@rule("where")
def _where(w: Writer, node: Any, condition: Ref, a: Ref, b: Ref) -> Ref:
    return where(w, condition, a, b)


def where(w: Writer, condition: Ref, a: Ref, b: Ref) -> Ref:
    """a where a condition holds, else b."""
    if a.dtype is dtypes.bool_:
        return w.map("Or", w.map("And", condition, a), w.map("And", w.map("Not", condition), b))
    if a.dtype is dtypes.uint64:
        return w.cast(where(w, condition, *(w.cast(x, dtypes.int64) for x in (a, b))), a.dtype)
    dtype = w.dtype_for("Where", a.dtype)
    return w.cast(w.map("Where", condition, w.cast(a, dtype), w.cast(b, dtype), dtype=dtype), a.dtype)


def isnan(w: Writer, x: Ref) -> Ref:
    """Which elements of a floating tensor are NaN."""
    wide = w.cast(x, w.dtype_for("IsNaN", x.dtype))
    return w.map("IsNaN", wide, dtype=dtypes.bool_)


def below_zero(w: Writer, x: Ref) -> Ref:
    """Which elements are less than 0."""
    return w.through("Less", x, w.number(0, x.dtype, x.shape), result=dtypes.bool_)


@rule("sign")
def _sign(w: Writer, node: Any, x: Ref) -> Ref:
    """0 of NaN, as in PyTorch; runtimes differ there."""
    y = w.through("Sign", x)
    return where(w, isnan(w, x), w.number(0, x.dtype, x.shape), y) if x.dtype.kind == "f" else y


def signs(w: Writer, x: Ref) -> Ref:
    """-1 where the sign bit is set, else 1. ONNX can't look at it: min(x, 1/x) is below zero for all
    negative numbers, -0 and -inf among them. NaN counts as positive."""
    one, zero = (w.number(v, x.dtype, x.shape) for v in (1.0, 0.0))
    least = w.map("Min", x, w.map("Div", one, x))
    negative = w.map("Less", least, zero, dtype=dtypes.bool_)
    return where(w, negative, w.number(-1.0, x.dtype, x.shape), one)


def with_signs(w: Writer, x: Ref, of: Ref) -> Ref:
    """The size of x with another's sign: a product, as a runtime's Where may lose the sign of a zero."""
    return w.map("Mul", w.map("Abs", x), signs(w, of))


@rule("trunc")
def _trunc(w: Writer, node: Any, x: Ref) -> Ref:
    wide = w.cast(x, w.dtype_for("Floor", x.dtype))
    return w.cast(with_signs(w, w.map("Floor", w.map("Abs", wide)), wide), x.dtype)


@rule("copysign")
def _copysign(w: Writer, node: Any, a: Ref, b: Ref) -> Ref:
    dtype = w.dtype_for("Abs", a.dtype)
    return w.cast(with_signs(w, w.cast(a, dtype), w.cast(b, dtype)), a.dtype)


@rule("exp2")
def _exp2(w: Writer, node: Any, x: Ref) -> Ref:
    return w.through("Pow", w.number(2.0, x.dtype, x.shape), x)


@rule("rsqrt")
def _rsqrt(w: Writer, node: Any, x: Ref) -> Ref:
    dtype = w.dtype_for("Sqrt", x.dtype)
    return w.cast(w.map("Reciprocal", w.map("Sqrt", w.cast(x, dtype))), x.dtype)


@rule("log2", "log10")
def _log(w: Writer, node: Any, x: Ref) -> Ref:
    base = {"log2": 2.0, "log10": 10.0}[node.primitive.name]
    dtype = _at_least_single(x.dtype)
    y = w.map("Div", w.map("Log", w.cast(x, dtype)), w.number(math.log(base), dtype, x.shape))
    return w.cast(y, x.dtype)


@rule("expm1")
def _expm1(w: Writer, node: Any, x: Ref) -> Ref:
    """tanh(x/2) · (eˣ + 1): nothing cancels near 0."""
    dtype = _at_least_single(x.dtype)
    v = w.cast(x, dtype)
    half = w.map("Mul", v, w.number(0.5, dtype, x.shape))
    above = w.map("Add", w.map("Exp", v), w.number(1.0, dtype, x.shape))
    return w.cast(w.map("Mul", w.map("Tanh", half), above), x.dtype)


@rule("log1p")
def _log1p(w: Writer, node: Any, x: Ref) -> Ref:
    """log u - ((u - 1) - x)/u with u = 1 + x rounded: what u lost is put back (W. Kahan). Where the
    loss is no number, u is infinite and so is its logarithm."""
    dtype = _at_least_single(x.dtype)
    v, one = w.cast(x, dtype), w.number(1.0, dtype, x.shape)
    u = w.map("Add", one, v)
    lost = w.map("Div", w.map("Sub", w.map("Sub", u, one), v), u)
    lost = where(w, isnan(w, lost), w.number(0.0, dtype, x.shape), lost)
    return w.cast(w.map("Sub", w.map("Log", u), lost), x.dtype)


def _at_least_single(dtype: DType) -> DType:
    """float32 for 16-bit numbers: several operators round once, as one primitive does."""
    return dtypes.float32 if dtype.bits == 16 else dtype
