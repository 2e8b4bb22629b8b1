"""A typed SSA value with Python's operators: `x * y + 1.0` writes two instructions.

A `V` is a type, a name and the builder that wrote it. Types are LLVM's own texts ("float", "i64",
"<8 x float>", "ptr"). Python numbers become constants of the other operand's type. No fast-math
flag is ever written, and a fused multiply-add only where `fma` is called.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fanal.backends.native.emit.builder import Builder

Number = int | float | bool

_FLOATS = {"half": 16, "bfloat": 16, "float": 32, "double": 64}


def vector(scalar: str, lanes: int) -> str:
    """The type of `lanes` scalars; one lane is the scalar itself."""
    return scalar if lanes == 1 else f"<{lanes} x {scalar}>"


def element(type_: str) -> str:
    """The scalar type of a vector type (a scalar's own type)."""
    return type_[type_.index("x") + 2 : -1] if type_.startswith("<") else type_


def lanes_of(type_: str) -> int:
    """Number of lanes of a type (1 for a scalar)."""
    return int(type_[1 : type_.index("x") - 1]) if type_.startswith("<") else 1


def is_float(type_: str) -> bool:
    """Whether the type's elements are floating-point numbers."""
    return element(type_) in _FLOATS


def bits_of(type_: str) -> int:
    """Bits of one element."""
    e = element(type_)
    if e in _FLOATS:
        return _FLOATS[e]
    return 64 if e == "ptr" else int(e[1:])


def _scalar_constant(type_: str, value: Number) -> str:
    if type_ in ("float", "double"):
        x = float(value)
        if type_ == "float" and not (math.isinf(x) or math.isnan(x)):
            try:
                x = struct.unpack("<f", struct.pack("<f", x))[0]
            except OverflowError:
                x = math.copysign(math.inf, x)
        return f"0x{struct.unpack('<Q', struct.pack('<d', x))[0]:016X}"
    if type_ == "half":
        return f"0xH{struct.unpack('<H', struct.pack('<e', value))[0]:04X}"
    if type_ == "bfloat":
        bits = struct.unpack("<I", struct.pack("<f", value))[0]
        return f"0xR{(bits + 0x7FFF + (bits >> 16 & 1)) >> 16:04X}"
    if type_ == "i1":
        return "true" if value else "false"
    if type_ == "ptr":
        if value != 0:
            raise ValueError("the only constant pointer is null")
        return "null"
    width = int(type_[1:])
    number = int(value) & ((1 << width) - 1)
    return str(number - (1 << width) if number >> (width - 1) else number)


def constant(type_: str, value: Number) -> str:
    """The text of `value` as a constant of a scalar or vector type."""
    if type_.startswith("<"):
        e = element(type_)
        return f"splat ({e} {_scalar_constant(e, value)})"
    return _scalar_constant(type_, value)


class V:
    """A value in the function being written. Immutable; every operator writes one instruction."""

    __slots__ = ("b", "ref", "type")

    def __init__(self, b: Builder, type_: str, ref: str):
        self.b = b
        self.type = type_
        self.ref = ref

    def __repr__(self) -> str:
        return f"{self.type} {self.ref}"

    @property
    def lanes(self) -> int:
        return lanes_of(self.type)

    @property
    def is_float(self) -> bool:
        return is_float(self.type)

    def _other(self, value: V | Number) -> str:
        if isinstance(value, V):
            if value.type != self.type:
                raise TypeError(f"operands of different types: {self.type} and {value.type}")
            return value.ref
        return constant(self.type, value)

    def _binary(self, float_op: str, int_op: str, other: V | Number, swap: bool = False) -> V:
        a, b = self.ref, self._other(other)
        if swap:
            a, b = b, a
        op = float_op if self.is_float else int_op
        if not op:
            raise TypeError(f"no such operation on {self.type}")
        return self.b.op(self.type, f"{op} {self.type} {a}, {b}")

    def __add__(self, other: V | Number) -> V:
        return self._binary("fadd", "add", other)

    __radd__ = __add__

    def __sub__(self, other: V | Number) -> V:
        return self._binary("fsub", "sub", other)

    def __rsub__(self, other: V | Number) -> V:
        return self._binary("fsub", "sub", other, swap=True)

    def __mul__(self, other: V | Number) -> V:
        return self._binary("fmul", "mul", other)

    __rmul__ = __mul__

    def __truediv__(self, other: V | Number) -> V:
        return self._binary("fdiv", "", other)

    def __rtruediv__(self, other: V | Number) -> V:
        return self._binary("fdiv", "", other, swap=True)

    def __and__(self, other: V | Number) -> V:
        return self._binary("", "and", other)

    def __or__(self, other: V | Number) -> V:
        return self._binary("", "or", other)

    def __xor__(self, other: V | Number) -> V:
        return self._binary("", "xor", other)

    def __lshift__(self, other: V | Number) -> V:
        return self._binary("", "shl", other)

    def __rshift__(self, other: V | Number) -> V:
        """Arithmetic shift (sign-extending); `lshr` is the logical one."""
        return self._binary("", "ashr", other)

    def lshr(self, other: V | Number) -> V:
        return self._binary("", "lshr", other)

    def sdiv(self, other: V | Number) -> V:
        return self._divided("sdiv", other)

    def udiv(self, other: V | Number) -> V:
        return self._divided("udiv", other)

    def srem(self, other: V | Number) -> V:
        return self._divided("srem", other)

    def urem(self, other: V | Number) -> V:
        return self._divided("urem", other)

    def _divided(self, op: str, other: V | Number) -> V:
        from fanal.backends.native.emit import substitutes

        if substitutes.lacks_division(self.b, self.type, other):
            divisor = other if isinstance(other, V) else self.b.const(self.type, other)
            return substitutes.divided(op, self, divisor)
        return self._binary("", op, other)

    def __neg__(self) -> V:
        if self.is_float:
            return self.b.op(self.type, f"fneg {self.type} {self.ref}")
        return self.b.op(self.type, f"sub {self.type} {constant(self.type, 0)}, {self.ref}")

    def __invert__(self) -> V:
        return self._binary("", "xor", -1 if element(self.type) != "i1" else True)

    def _compare(self, float_op: str, int_op: str, other: V | Number) -> V:
        kind, op = ("fcmp", float_op) if self.is_float else ("icmp", int_op)
        out = vector("i1", self.lanes)
        return self.b.op(out, f"{kind} {op} {self.type} {self.ref}, {self._other(other)}")

    # Comparisons return i1 lanes. Floating ones are ordered (false with NaN), `ne` is unordered.
    def eq(self, other: V | Number) -> V:
        return self._compare("oeq", "eq", other)

    def ne(self, other: V | Number) -> V:
        return self._compare("une", "ne", other)

    def lt(self, other: V | Number) -> V:
        return self._compare("olt", "slt", other)

    def le(self, other: V | Number) -> V:
        return self._compare("ole", "sle", other)

    def gt(self, other: V | Number) -> V:
        return self._compare("ogt", "sgt", other)

    def ge(self, other: V | Number) -> V:
        return self._compare("oge", "sge", other)

    def ult(self, other: V | Number) -> V:
        return self._compare("ult", "ult", other)

    def ule(self, other: V | Number) -> V:
        return self._compare("ule", "ule", other)

    def ugt(self, other: V | Number) -> V:
        return self._compare("ugt", "ugt", other)

    def uge(self, other: V | Number) -> V:
        return self._compare("uge", "uge", other)

    def isnan(self) -> V:
        out = vector("i1", self.lanes)
        return self.b.op(out, f"fcmp uno {self.type} {self.ref}, {self.ref}")

    def cast(self, op: str, to: str) -> V:
        """A conversion instruction, element by element: `x.cast("sitofp", "float")`."""
        out = vector(to, self.lanes)
        if out == self.type:
            return self
        if "fp" in op and not (is_float(self.type) and is_float(to)):
            from fanal.backends.native.emit import substitutes

            if substitutes.lacks_conversion(self.b, op, self.type, to):
                return substitutes.converted(op, self, to)
        return self.b.op(out, f"{op} {self.type} {self.ref} to {out}")

    def bitcast(self, to: str) -> V:
        """The same bits as another type of the same total size (`to` is a whole type)."""
        if to == self.type:
            return self
        return self.b.op(to, f"bitcast {self.type} {self.ref} to {to}")

    def bits(self) -> V:
        """A float's bits as integers of the same width, lane by lane."""
        return self.bitcast(vector(f"i{bits_of(self.type)}", self.lanes))

    def as_float(self) -> V:
        """Integer lanes of 32 or 64 bits seen as floats."""
        to = {16: "half", 32: "float", 64: "double"}[bits_of(self.type)]
        return self.bitcast(vector(to, self.lanes))

    def __getitem__(self, lane: int) -> V:
        if self.lanes == 1:
            return self
        return self.b.op(element(self.type), f"extractelement {self.type} {self.ref}, i32 {lane}")
