"""Elementwise operations on registers: the native counterpart of each elementwise primitive.

An operation gets the builder, its operands in compute types and the dtype; the name in a
primitive's record leads here or to vecmath. Whatever could trap is made safe before it is executed.
"""

from __future__ import annotations

from collections.abc import Callable

from fanal.backends.native.emit import Builder, V, is_float, vector
from fanal.backends.native.loops.convert import rounded
from fanal.backends.native.program import STATUS_DIVISION
from fanal.core import dtypes
from fanal.core.dtypes import DType

Operation = Callable[..., V]


def _compare(signed: str, unsigned: str) -> Operation:
    def operation(b: Builder, x: V, y: V, dtype: DType) -> V:
        name = unsigned if dtype.kind in "ub" else signed
        return getattr(x, name)(y)

    return operation


def _all(b: Builder, x: V, y: V, op: str) -> V:
    return b.op(x.type, f"{op} {x.type} {x.ref}, {y.ref}")


def _maximum(b: Builder, x: V, y: V, dtype: DType, sign: str = "gt") -> V:
    if dtype is dtypes.bool_:
        return _all(b, x, y, "or" if sign == "gt" else "and")
    if dtype.kind != "f":
        compare = ("ugt" if sign == "gt" else "ult") if dtype.kind == "u" else sign
        return b.select(getattr(x, compare)(y), x, y)
    # x if x > y or x is NaN, else y: NaN of either side comes through.
    wins = getattr(x, sign)(y)
    return b.select(_all(b, wins, x.isnan(), "or"), x, y)


def _minimum(b: Builder, x: V, y: V, dtype: DType) -> V:
    return _maximum(b, x, y, dtype, "lt")


def _sign(b: Builder, x: V, dtype: DType) -> V:
    if dtype.kind == "u":
        return b.select(x.eq(0), b.const(x.type, 0), b.const(x.type, 1))
    one, minus, zero = (b.const(x.type, v) for v in (1, -1, 0))
    return b.select(x.gt(0), one, b.select(x.lt(0), minus, zero))


def _abs(b: Builder, x: V, dtype: DType) -> V:
    return x if dtype.kind == "u" else b.abs(x)


def report(b: Builder, bad: V, code: int, value: V | None = None) -> None:
    """Write a status code if any lane of `bad` is set, and the first such lane of `value`."""
    word = bad
    if bad.lanes > 1:
        bits = f"i{bad.lanes}"
        word = b.op(bits, f"bitcast {bad.type} {bad.ref} to {bits}")
    with b.if_(word.ne(0) if bad.lanes > 1 else bad):
        b.store(b.i64(code), b.arg("status"))
        if value is not None:
            if value.lanes > 1:
                lane = b.intrinsic("cttz", word, b.const("i1", True))
                value = b.op("i64", f"extractelement {value.type} {value.ref}, {lane.type} {lane.ref}")
            b.store(value, b.at(b.arg("status"), 8))


def _safe_divisor(b: Builder, x: V, y: V, dtype: DType) -> V:
    """The divisor with zeros (reported) and the overflowing -1 replaced by 1."""
    zero = y.eq(0)
    report(b, zero, STATUS_DIVISION)
    bad = zero
    if dtype.kind == "i":
        overflow = _all(b, y.eq(-1), x.eq(-(2 ** (dtype.bits - 1))), "and")
        bad = _all(b, zero, overflow, "or")
    return b.select(bad, b.const(y.type, 1), y)


def _trunc_div(b: Builder, x: V, y: V, dtype: DType) -> V:
    y = _safe_divisor(b, x, y, dtype)
    return x.udiv(y) if dtype.kind == "u" else x.sdiv(y)


def _floor_div(b: Builder, x: V, y: V, dtype: DType) -> V:
    if dtype.kind == "f":
        return _float_floor_div(b, x, y)
    safe = _safe_divisor(b, x, y, dtype)
    if dtype.kind == "u":
        return x.udiv(safe)
    quotient = x.sdiv(safe)
    rest = x - quotient * safe
    differ = _all(b, rest.ne(0), (rest ^ safe).lt(0), "and")
    return quotient - differ.cast("zext", x.type.split("x ")[-1].rstrip(">"))


def _float_floor_div(b: Builder, x: V, y: V) -> V:
    from fanal.backends.native.vecmath import FUNCTIONS

    mod = FUNCTIONS["fmod"](b, x, y)
    quotient = (x - mod) / y
    differ = _all(b, mod.ne(0.0), _all(b, y.lt(0.0), mod.lt(0.0), "xor"), "and")
    quotient = b.select(differ, quotient - 1.0, quotient)
    floor = FUNCTIONS["floor"](b, quotient)
    floor = b.select((quotient - floor).gt(0.5), floor + 1.0, floor)
    plain = x / y
    zero = b.copysign(b.const(x.type, 0.0), plain)
    result = b.select(quotient.ne(0.0), floor, zero)
    return b.select(y.eq(0.0), plain, result)


def _remainder(b: Builder, x: V, y: V, dtype: DType) -> V:
    if dtype.kind == "f":
        from fanal.backends.native.vecmath import FUNCTIONS

        return FUNCTIONS["remainder"](b, x, y)
    safe = _safe_divisor(b, x, y, dtype)
    if dtype.kind == "u":
        return x.urem(safe)
    rest = x.srem(safe)
    differ = _all(b, rest.ne(0), (rest ^ safe).lt(0), "and")
    return b.select(differ, rest + safe, rest)


def _fmod(b: Builder, x: V, y: V, dtype: DType) -> V:
    if dtype.kind == "f":
        from fanal.backends.native.vecmath import FUNCTIONS

        return FUNCTIONS["fmod"](b, x, y)
    safe = _safe_divisor(b, x, y, dtype)
    return x.urem(safe) if dtype.kind == "u" else x.srem(safe)


def _gcd(b: Builder, x: V, y: V, dtype: DType) -> V:
    from fanal.backends.native.vecmath import INTEGER_FUNCTIONS

    return INTEGER_FUNCTIONS["gcd"](b, x, y, signed=dtype.kind == "i")


def _pow(b: Builder, x: V, y: V, dtype: DType) -> V:
    from fanal.backends.native import vecmath

    if dtype.kind == "f":
        return vecmath.FUNCTIONS["pow"](b, x, y)
    return _integer_power(b, x, y, dtype)


def _integer_power(b: Builder, x: V, y: V, dtype: DType) -> V:
    """x^y by squaring, wrapping around; negative exponents give 0 (±1 for bases ±1)."""
    one = b.const(x.type, 1)
    result, base, left = one, x, y
    for _ in range(dtype.bits):
        result = b.select((left & 1).ne(0), result * base, result)
        base = base * base
        left = left.lshr(1)
    if dtype.kind == "u":
        return result
    odd = (y & 1).ne(0)
    minus = b.select(odd, b.const(x.type, -1), one)
    negative = b.select(x.eq(1), one, b.select(x.eq(-1), minus, b.const(x.type, 0)))
    return b.select(y.lt(0), negative, result)


def _shift(op: str) -> Operation:
    def operation(b: Builder, x: V, y: V, dtype: DType) -> V:
        wild = y.uge(dtype.bits)
        amount = b.select(wild, b.const(y.type, 0), y)
        if op == "left":
            return b.select(wild, b.const(x.type, 0), x << amount)
        if dtype.kind == "u":
            return b.select(wild, b.const(x.type, 0), x.lshr(amount))
        return b.select(wild, x >> (dtype.bits - 1), x >> amount)

    return operation


def _logic(op: str) -> Operation:
    return lambda b, x, y, dtype: _all(b, x, y, op)


def _not(b: Builder, x: V, dtype: DType) -> V:
    return ~x


def _where(b: Builder, condition: V, x: V, y: V, dtype: DType) -> V:
    return b.select(condition, x, y)


OPERATIONS: dict[str, Operation] = {
    "add": lambda b, x, y, dtype: x + y,
    "sub": lambda b, x, y, dtype: x - y,
    "mul": lambda b, x, y, dtype: x * y,
    "div": lambda b, x, y, dtype: x / y,
    "neg": lambda b, x, dtype: -x,
    "abs": _abs,
    "sign": _sign,
    "floor_div": _floor_div,
    "trunc_div": _trunc_div,
    "remainder": _remainder,
    "fmod": _fmod,
    "gcd": _gcd,
    "pow": _pow,
    "maximum": _maximum,
    "minimum": _minimum,
    "eq": _compare("eq", "eq"),
    "ne": _compare("ne", "ne"),
    "lt": _compare("lt", "ult"),
    "le": _compare("le", "ule"),
    "gt": _compare("gt", "ugt"),
    "ge": _compare("ge", "uge"),
    "and": _logic("and"),
    "or": _logic("or"),
    "xor": _logic("xor"),
    "not": _not,
    "shift_left": _shift("left"),
    "shift_right": _shift("right"),
    "where": _where,
    "detach": lambda b, x, dtype: x,
    "copysign": lambda b, x, y, dtype: b.copysign(x, y),
}


def apply(b: Builder, name: str, operands: list[V], dtype: DType, result: DType) -> V:
    """One primitive on registers: `dtype` of the operands, result rounded to its own dtype."""
    operation = OPERATIONS.get(name)
    if operation is not None:
        value = operation(b, *operands, dtype=dtype)
    else:
        from fanal.backends.native.vecmath import FUNCTIONS, POLYNOMIALS

        value = (FUNCTIONS.get(name) or POLYNOMIALS[name])(b, *operands)
    return rounded(value, result) if is_float(value.type) else value


__all__ = ["OPERATIONS", "apply", "report", "vector"]
