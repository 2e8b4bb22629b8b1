"""Integer divisions and conversions on processors that have no instruction for them.

LLVM would call a library (`__aeabi_ldivmod`, `__aeabi_l2f`). Everything here is exact and made of
what such a processor does have: 32-bit integers and double precision. Small divisions and
conversions are written in place; that of 64 bits is a function that a module holds once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanal.backends.native.emit.value import V, bits_of, element, lanes_of, vector

if TYPE_CHECKING:
    from fanal.backends.native.emit.builder import Builder

_HALF = 2.0**32
_DIVIDE = "divide.u64"


# -- division ------------------------------------------------------------------------------------------


def divided(op: str, x: V, y: V) -> V:
    """`sdiv`, `udiv`, `srem` or `urem` of integers whose divisor is safe (see vecmath.integers)."""
    q = _quotient(x, y, op[0] == "s")
    return q if op.endswith("div") else x - q * y


def _quotient(x: V, y: V, signed: bool) -> V:
    if bits_of(x.type) <= 32:
        return _quotient_by_double(x, y, signed)
    if not signed:
        return _by_lanes(x, y)
    q = _by_lanes(x.b.abs(x), x.b.abs(y))
    return x.b.select((x ^ y).lt(0), -q, q)


def _quotient_by_double(x: V, y: V, signed: bool) -> V:
    """Exact: a quotient that is not whole is at least 2^-32/divisor away from the next integer."""
    to, back, widen = ("sitofp", "fptosi", "sext") if signed else ("uitofp", "fptoui", "zext")
    narrow = element(x.type)
    if narrow != "i32":
        x, y = x.cast(widen, "i32"), y.cast(widen, "i32")
    q = (x.cast(to, "double") / y.cast(to, "double")).cast(back, "i32")
    return q if narrow == "i32" else q.cast("trunc", narrow)


def _by_lanes(x: V, y: V) -> V:
    b = x.b
    if _DIVIDE not in b.functions:
        b.functions[_DIVIDE] = _division(b)
    if x.lanes == 1:
        return b.op("i64", f"call i64 @{_DIVIDE}(i64 {x.ref}, i64 {y.ref})")
    result = V(b, x.type, "poison")
    for lane in range(x.lanes):
        result = b.insert(result, _by_lanes(x[lane], y[lane]), lane)
    return result


def _division(outer: Builder) -> str:
    """A function that divides unsigned 64-bit integers: most are indices, and fit 32 bits.

    Others take three steps, each of which takes off an estimate of the quotient from below. The first
    is wrong by less than 2^-50 of it, which leaves a quotient below 2^15; the second leaves 0 or 1.
    """
    b = type(outer)(outer.target, _DIVIDE, (("i64", "x"), ("i64", "y")), "i64")
    x, y = b.arg("x"), b.arg("y")

    def short() -> list[V]:
        small = _quotient_by_double(x.cast("trunc", "i32"), y.cast("trunc", "i32"), False)
        return [small.cast("zext", "i64")]

    def long() -> list[V]:
        divisor = y.cast("uitofp", "double")
        steps = b.loop(0, 3, 1, [b.i64(0), x])
        with steps as (_, quotient, rest):
            estimate = (rest.cast("uitofp", "double") / divisor) * (1.0 - 2.0**-51)
            whole = estimate.cast("fptoui", "i64")
            least = rest.uge(y).cast("zext", "i64")
            taken = b.select(whole.eq(0), least, whole)
            steps.next(quotient + taken, rest - taken * y)
        return [steps.results[0]]

    (result,) = b.branch((x | y).lshr(32).eq(0), short, long)
    b.ret(result)
    return b.finish("internal ")


# -- conversion ----------------------------------------------------------------------------------------


def converted(op: str, x: V, to: str) -> V:
    """`sitofp`, `uitofp`, `fptosi`, `fptoui` from or to 64 bits."""
    if x.lanes > 1:  # lane by lane: LLVM would widen the 32-bit halves of vectors to 64 bits again
        result = V(x.b, vector(to, x.lanes), "poison")
        for lane in range(x.lanes):
            result = x.b.insert(result, x[lane].cast(op, to), lane)
        return result
    if op in ("fptosi", "fptoui"):
        return _to_integer(x, op == "fptosi")
    return _to_float(x, op == "sitofp", to)


def _to_float(x: V, signed: bool, to: str) -> V:
    b = x.b
    if to == "float":
        # Through double it would be rounded twice. Of numbers above 2^53 the bits that double cannot
        # hold become one bit that says whether any was set: far below float's last, and enough.
        top = x >> 53 if signed else x.lshr(53)
        small = (top + 1).ult(2) if signed else top.eq(0)
        sticky = b.select((x & 0x7FF).ne(0), b.const(x.type, 0x800), 0)
        x = b.select(small, x, (x & ~0x7FF) | sticky)
    high = (x >> 32).cast("trunc", "i32").cast("sitofp" if signed else "uitofp", "double")
    whole = high * _HALF + x.cast("trunc", "i32").cast("uitofp", "double")
    return whole.cast("fptrunc", "float") if to == "float" else whole


def _to_integer(x: V, signed: bool) -> V:
    """Truncation; the number must be in range, as for the instruction."""
    b = x.b
    if element(x.type) == "float":
        x = x.cast("fpext", "double")
    magnitude = b.abs(x) if signed else x
    high = (magnitude * (1.0 / _HALF)).cast("fptoui", "i32")
    low = (magnitude - high.cast("uitofp", "double") * _HALF).cast("fptoui", "i32")
    whole = (high.cast("zext", "i64") << 32) | low.cast("zext", "i64")
    return b.select(x.lt(0.0), -whole, whole) if signed else whole


def lacks_division(b: Builder, type_: str, divisor: V | float) -> bool:
    """Whether a division must be written out. By a constant power of two it never needs one."""
    if bits_of(type_) <= b.target.division_bits:
        return False
    return isinstance(divisor, V) or divisor <= 0 or int(divisor) & (int(divisor) - 1) != 0


def lacks_conversion(b: Builder, op: str, source: str, to: str) -> bool:
    """Whether a conversion between integers and floats must be written out: those from and to 64 bits,
    of vectors also where the float has 64, as no vector instruction does."""
    if op not in ("sitofp", "uitofp", "fptosi", "fptoui") or b.target.conversion_bits == 64:
        return False
    integer = source if op in ("sitofp", "uitofp") else to
    return bits_of(integer) == 64 or (lanes_of(source) > 1 and 64 in (bits_of(source), bits_of(to)))
