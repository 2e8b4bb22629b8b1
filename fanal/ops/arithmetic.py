"""Elementwise primitives of arithmetic, comparison, logic and bits, with their derivatives.

Partial derivatives follow PyTorch where mathematics leaves a choice: equal operands of maximum and
minimum share the derivative, |x| and sign have derivative 0 at 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.core.dtypes import DType
from fanal.core.errors import message
from fanal.graph.ir import Type, Value
from fanal.ops.layout import move_axis
from fanal.ops.primitive import (
    BOOL,
    EVERY,
    FLOATS,
    INTEGERS,
    NUMBERS,
    Primitive,
    check_dtype,
    elementwise,
    same_shape,
)

bool_ = dtypes.bool_
BITS = INTEGERS + BOOL


def one(like: Value) -> Value:
    """A graph constant 1 of a value's type."""
    from fanal.ops.create import full_p

    return bind(full_p, value=1.0, shape=like.shape, dtype=like.dtype)


def as_mask(condition: Value, like: Value) -> Value:
    """0 or 1 in a value's dtype, from a condition."""
    return bind(cast_p, condition, dtype=like.dtype)


add_p = elementwise(
    "add", np.add, arity=2, partials=lambda a, b, y: (one(y), one(y)), doc="a + b"
)
sub_p = elementwise(
    "sub", np.subtract, arity=2, partials=lambda a, b, y: (one(y), -one(y)), doc="a - b"
)
mul_p = elementwise("mul", np.multiply, arity=2, partials=lambda a, b, y: (b, a), doc="a · b")
div_p = elementwise(
    "div", np.divide, arity=2, dtypes_=FLOATS, partials=lambda a, b, y: (1 / b, -y / b),
    doc="a / b of floating numbers",
)  # fmt: skip
neg_p = elementwise("neg", np.negative, arity=1, partials=lambda x, y: (-one(y),), doc="-x")
abs_p = elementwise(
    "abs", np.abs, arity=1, partials=lambda x, y: (bind(sign_p, x),), smooth=False, doc="|x|"
)


def _sign(x: Any) -> Any:
    # PyTorch's sign of NaN is 0, not NaN.
    return np.where(x > 0, 1, np.where(x < 0, -1, 0)).astype(x.dtype)


sign_p: Primitive = elementwise(
    "sign", _sign, arity=1, partials=lambda x, y: (None,), smooth=False,
    doc="-1, 0 or 1; 0 for NaN, as in PyTorch",
)  # fmt: skip


def _floor_div(a: Any, b: Any) -> Any:
    if a.dtype.kind in "iu":
        return np.floor_divide(a, b)
    # fmod-based, as PyTorch: exact where rounding the quotient first would be off by one.
    with np.errstate(all="ignore"):
        mod = np.fmod(a, b)
        q = (a - mod) / b
        q = np.where((mod != 0) & ((b < 0) != (mod < 0)), q - 1, q)
        floor = np.floor(q)
        floor = np.where(q - floor > 0.5, floor + 1, floor)
        zero = np.copysign(np.zeros_like(a), a / b)
        return np.where(b == 0, a / b, np.where(q != 0, floor, zero))


floor_div_p = elementwise(
    "floor_div", _floor_div, arity=2, partials=lambda a, b, y: (None, None), smooth=False,
    doc="⌊a / b⌋; integer division by zero is an error",
)  # fmt: skip
trunc_div_p = elementwise(
    "trunc_div",
    lambda a, b: np.sign(a) * np.sign(b) * (abs(a.astype(object)) // abs(b.astype(object)))
    if a.dtype.kind == "i"
    else a // b,
    arity=2,
    dtypes_=INTEGERS,
    smooth=False,
    doc="integer a / b rounded towards zero; division by zero is an error",
)
remainder_p = elementwise(
    "remainder", np.remainder, arity=2, smooth=False, domain=(0.5, 4.0),
    partials=lambda a, b, y: (one(y), -bind(floor_div_p, a, b)),
    doc="a - b·⌊a / b⌋, with the sign of b, as Python's %",
)  # fmt: skip
fmod_p = elementwise(
    "fmod", np.fmod, arity=2, smooth=False, domain=(0.5, 4.0),
    partials=lambda a, b, y: (one(y), -bind(trunc_p, a / b)),
    doc="the remainder with the sign of a, as C's fmod",
)  # fmt: skip


gcd_p = elementwise(
    "gcd", np.gcd, arity=2, dtypes_=INTEGERS, smooth=False,
    doc="greatest common divisor of integers, 0 or more (0 of two zeros)",
)  # fmt: skip


def _extreme_partials(primitive_name: str) -> Any:
    def partials(a: Value, b: Value, y: Value) -> Any:
        compare = gt_p if primitive_name == "maximum" else lt_p
        tie = as_mask(bind(eq_p, a, b), y) * 0.5
        return (
            as_mask(bind(compare, a, b), y) + tie,
            as_mask(bind(compare, b, a), y) + tie,
        )

    return partials


maximum_p = elementwise(
    "maximum", np.maximum, arity=2, dtypes_=EVERY, partials=_extreme_partials("maximum"),
    smooth=False, doc="the larger; NaN if either is",
)  # fmt: skip
minimum_p = elementwise(
    "minimum", np.minimum, arity=2, dtypes_=EVERY, partials=_extreme_partials("minimum"),
    smooth=False, doc="the smaller; NaN if either is",
)  # fmt: skip


def _pow_partials(a: Value, b: Value, y: Value) -> Any:
    # d/da = b·a^(b-1), 0 where b = 0; d/db = y·log a, 0 where a = 0 and b ≥ 0.
    zero = one(y) * 0.0
    base = bind(where_p, bind(eq_p, b, zero), zero, b * bind(pow_p, a, b - 1))
    from fanal.ops.transcendental import log_p

    flat = bind(and_p, bind(eq_p, a, zero), bind(ge_p, b, zero))
    exponent = bind(where_p, flat, zero, y * bind(log_p, bind(where_p, flat, one(y), a)))
    return base, exponent


pow_p = elementwise(
    "pow", np.power, arity=2, partials=_pow_partials, ulp=2, domain=(0.1, 3.0), doc="a to the b"
)

for _name, _f, _doc in (
    ("eq", np.equal, "a = b"),
    ("ne", np.not_equal, "a ≠ b"),
    ("lt", np.less, "a < b"),
    ("le", np.less_equal, "a ≤ b"),
    ("gt", np.greater, "a > b"),
    ("ge", np.greater_equal, "a ≥ b"),
):
    elementwise(
        _name, _f, arity=2, dtypes_=EVERY, result=bool_, partials=lambda a, b, y: (None, None),
        smooth=False, doc=_doc,
    )  # fmt: skip

from fanal.ops.primitive import TABLE  # noqa: E402 - the comparisons above have just been made

eq_p, ne_p, lt_p, le_p, gt_p, ge_p = (TABLE[n] for n in ("eq", "ne", "lt", "le", "gt", "ge"))

and_p = elementwise("and", np.bitwise_and, arity=2, dtypes_=BITS, doc="bitwise and")
or_p = elementwise("or", np.bitwise_or, arity=2, dtypes_=BITS, doc="bitwise or")
xor_p = elementwise("xor", np.bitwise_xor, arity=2, dtypes_=BITS, doc="bitwise exclusive or")
not_p = elementwise("not", np.invert, arity=1, dtypes_=BITS, doc="bitwise complement")


def _shift(f: Any, over: Any) -> Any:
    def shift(a: Any, b: Any) -> Any:
        bits = a.dtype.itemsize * 8
        wild = (b < 0) | (b >= bits)
        return np.where(wild, over(a), f(a, np.where(wild, 0, b).astype(a.dtype))).astype(a.dtype)

    return shift


shift_left_p = elementwise(
    "shift_left", _shift(np.left_shift, lambda a: np.zeros_like(a)), arity=2, dtypes_=INTEGERS,
    doc="a · 2^b; 0 for a shift by the width or more, or a negative one",
)  # fmt: skip
shift_right_p = elementwise(
    "shift_right", _shift(np.right_shift, lambda a: np.where(a < 0, -1, 0)), arity=2,
    dtypes_=INTEGERS,
    doc="a / 2^b rounded down; the sign alone for a shift by the width or more, or a negative one",
)  # fmt: skip

floor_p = elementwise(
    "floor", np.floor, arity=1, dtypes_=FLOATS, partials=lambda x, y: (None,), smooth=False,
    doc="⌊x⌋",
)  # fmt: skip
ceil_p = elementwise(
    "ceil", np.ceil, arity=1, dtypes_=FLOATS, partials=lambda x, y: (None,), smooth=False,
    doc="⌈x⌉",
)  # fmt: skip
trunc_p: Primitive = elementwise(
    "trunc", np.trunc, arity=1, dtypes_=FLOATS, partials=lambda x, y: (None,), smooth=False,
    doc="x without its fraction",
)  # fmt: skip
round_p = elementwise(
    "round", np.rint, arity=1, dtypes_=FLOATS, partials=lambda x, y: (None,), smooth=False,
    doc="nearest integer, halves to even",
)  # fmt: skip
copysign_p = elementwise(
    "copysign", np.copysign, arity=2, dtypes_=FLOATS, smooth=False,
    partials=lambda a, b, y: (bind(sign_p, a) * bind(sign_p, y), None),
    doc="magnitude of a, sign of b",
)  # fmt: skip
nextafter_p = elementwise(
    "nextafter", np.nextafter, arity=2, dtypes_=(dtypes.float32, dtypes.float64),
    partials=lambda a, b, y: (one(y), None), smooth=False, doc="the number next to a towards b",
)  # fmt: skip
# Identity with derivative 0.
detach_p = elementwise(
    "detach", lambda x: x, arity=1, dtypes_=EVERY, partials=lambda x, y: (None,), smooth=False,
    doc="x itself, its derivative 0",
)  # fmt: skip


def _where_infer(condition: Value, a: Value, b: Value) -> list[Type]:
    if condition.dtype is not bool_:
        raise TypeError(message("where", "condition is not bool", repr(condition.dtype)))
    if a.dtype is not b.dtype:
        raise TypeError(message("where", "dtypes differ", f"{a.dtype!r} and {b.dtype!r}"))
    return [Type(a.dtype, same_shape("where", (condition, a, b)))]


def _where_partials(condition: Value, a: Value, b: Value, y: Value) -> Any:
    return None, as_mask(condition, y), as_mask(bind(not_p, condition), y)


def _where_transpose(ct: Value, inputs: Any, linear: Any) -> Any:
    zero = ct * 0 if ct.dtype.kind != "f" else _zero(ct)
    return (
        None,
        bind(where_p, inputs[0], ct, zero) if linear[1] else None,
        bind(where_p, inputs[0], zero, ct) if linear[2] else None,
    )


def _zero(like: Value) -> Value:
    from fanal.ops.layout import zeros_like_type

    return zeros_like_type(like)


def _where_jvp(tangents: Any, inputs: Any, outputs: Any) -> Any:
    a, b = (t if t is not None else _zero(outputs[0]) for t in tangents[1:])
    return bind(where_p, inputs[0], a, b)


where_p = Primitive(
    name="where",
    kind="elementwise",
    infer=_where_infer,
    reference=np.where,
    partials=None,
    jvp=_where_jvp,
    transpose=_where_transpose,
    smooth=False,
    doc="a where the condition holds, else b",
)


def _cast_infer(x: Value, *, dtype: DType) -> list[Type]:
    return [Type(dtype, x.shape)]


def _cast_reference(x: Any, *, dtype: DType) -> Any:
    with np.errstate(all="ignore"):
        return np.asarray(x).astype(dtype.numpy)


def _cast_jvp(tangents: Any, inputs: Any, outputs: Any, *, dtype: DType) -> Any:
    if dtype.kind != "f":
        return None
    return bind(cast_p, tangents[0], dtype=dtype)


def _cast_batch(inputs: Any, axes: Any, size: int, *, dtype: DType) -> Any:
    return bind(cast_p, move_axis(inputs[0], axes[0], 0), dtype=dtype), 0


cast_p: Primitive = Primitive(
    name="cast",
    kind="elementwise",
    infer=_cast_infer,
    reference=_cast_reference,
    jvp=_cast_jvp,
    transpose=lambda ct, inputs, linear, *, dtype: [bind(cast_p, ct, dtype=inputs[0].dtype)],
    batch=_cast_batch,
    smooth=False,
    doc=(
        "The value in another dtype. Floats become integers by truncation; what does not fit, and "
        "NaN, becomes the smallest int32 or int64, cut to the width (x86's rule, as in PyTorch)."
    ),
)


def check_floating(name: str, dtype: DType) -> None:
    """TypeError unless the dtype is floating-point."""
    check_dtype(name, dtype, FLOATS)


__all__ = [n for n in list(globals()) if n.endswith("_p")] + [
    "BITS", "NUMBERS", "as_mask", "check_floating", "one",
]  # fmt: skip
