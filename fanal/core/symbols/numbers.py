"""Numbers that remember how they came about: extents (whole ones) and ratios.

To Python they are `int` and `float`; C code has to ask for the number (`__index__`, `__float__`), which
fixes it. So nothing gets lost in silence.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fanal.core.symbols.polynomials import Terms, added, constant, multiplied, scaled

if TYPE_CHECKING:
    from fanal.core.symbols.scope import Symbols

_PACKAGE = __name__.split(".", 1)[0] + "."


def _is_asked_outside() -> bool:
    """Whether it is not this package that asks for a hash or a text. The user's dictionaries are to find
    what they hold of a number; ours keep symbols apart from it."""
    name: str = sys._getframe(2).f_globals.get("__name__", "")
    return not name.startswith(_PACKAGE)


class Extent:
    """A size as a polynomial of symbols. Made by `Symbols`."""

    __slots__ = ("_hash", "example", "symbols", "terms")

    # To `isinstance` it is an int, to C code it is not.
    __class__ = property(lambda self: int)

    def __init__(self, symbols: Symbols, terms: Terms):
        self.symbols, self.terms = symbols, terms
        self.example = symbols.example(terms)
        self._hash = hash((symbols.serial, terms))

    def _other(self, x: Any) -> Terms | None:
        kind = type(x)
        if kind is Extent:
            return x.terms
        if kind is int or kind is bool:
            return constant(int(x))
        if kind is float or kind is Ratio or not hasattr(kind, "__index__"):
            return None
        return constant(x.__index__())

    def __hash__(self) -> int:
        return hash(self.__index__()) if _is_asked_outside() else self._hash

    def __repr__(self) -> str:
        return repr(self.__index__()) if _is_asked_outside() else self.symbols.text(self.terms)

    # -- arithmetic ---------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Any:
        b = self._other(other)
        if b is None:
            return _ratio("+", self, other)
        return self.symbols.number(added(self.terms, b)) if b else self

    def __radd__(self, other: Any) -> Any:
        return self + other if self._other(other) is not None else _ratio("+", other, self)

    def __sub__(self, other: Any) -> Any:
        b = self._other(other)
        if b is None:
            return _ratio("-", self, other)
        return self.symbols.number(added(self.terms, scaled(b, -1))) if b else self

    def __rsub__(self, other: Any) -> Any:
        b = self._other(other)
        if b is None:
            return _ratio("-", other, self)
        return self.symbols.number(added(b, scaled(self.terms, -1)))

    def __mul__(self, other: Any) -> Any:
        kind = type(other)
        if kind is int:
            return self if other == 1 else self.symbols.number(scaled(self.terms, other))
        if kind in (tuple, list, str, bytes):
            return other * self.__index__()
        b = self._other(other)
        if b is None:
            return _ratio("*", self, other)
        return self.symbols.number(multiplied(self.terms, b))

    def __rmul__(self, other: Any) -> Any:
        if self._other(other) is None and type(other) not in (tuple, list, str, bytes):
            return _ratio("*", other, self)
        return self * other

    def __floordiv__(self, other: Any) -> Any:
        b = self._other(other)
        if b is None:
            return _ratio("//", self, other)
        if not b:
            raise ZeroDivisionError("integer division or modulo by zero")
        return self.symbols.quotient(self.terms, b)

    def __rfloordiv__(self, other: Any) -> Any:
        b = self._other(other)
        if b is None:
            return _ratio("//", other, self)
        return self.symbols.quotient(b, self.terms) if b else 0

    def __mod__(self, other: Any) -> Any:
        return self - (self // other) * other

    def __rmod__(self, other: Any) -> Any:
        if isinstance(other, str):
            return other % self.__index__()
        return other - (other // self) * self

    def __divmod__(self, other: Any) -> Any:
        quotient = self // other
        return quotient, self - quotient * other

    def __rdivmod__(self, other: Any) -> Any:
        quotient = other // self
        return quotient, other - quotient * self

    def __truediv__(self, other: Any) -> Any:
        return _ratio("/", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _ratio("/", other, self)

    def __pow__(self, other: Any, modulus: Any = None) -> Any:
        if modulus is None and type(other) is int and 0 <= other <= 8:
            return math.prod([self] * other)
        if modulus is None and type(other) in (float, int):
            return _ratio("**", self, other)
        return pow(self.__index__(), other, modulus)

    def __rpow__(self, other: Any, modulus: Any = None) -> Any:
        return pow(other, self.__index__(), modulus)

    def __neg__(self) -> Any:
        return self.symbols.number(scaled(self.terms, -1))

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return -self if self < 0 else self

    def __lshift__(self, other: Any) -> Any:
        return self * (1 << other)

    def __rshift__(self, other: Any) -> Any:
        return self // (1 << other)

    def __rlshift__(self, other: Any) -> Any:
        return other << self.__index__()

    def __rrshift__(self, other: Any) -> Any:
        return other >> self.__index__()

    def __and__(self, other: Any) -> Any:
        if type(other) is int and other >= 0 and other & (other + 1) == 0:
            return self % (other + 1)
        return self.__index__() & other

    def __or__(self, other: Any) -> Any:
        return self.__index__() | other

    def __xor__(self, other: Any) -> Any:
        return self.__index__() ^ other

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __invert__(self) -> Any:
        return -self - 1

    # -- questions ----------------------------------------------------------------------------------

    def __bool__(self) -> bool:
        return not self.symbols.is_zero(self.terms)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        b = self._other(other)
        if b is None:
            return False if not isinstance(other, float) else bool(_ratio("+", self, 0.0) == other)
        return self.symbols.is_zero(added(self.terms, scaled(b, -1)))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __lt__(self, other: Any) -> bool:
        b = self._other(other)
        if b is None:
            return bool(_ratio("+", self, 0.0) < other)
        return self.symbols.is_negative(added(self.terms, scaled(b, -1)))

    def __gt__(self, other: Any) -> bool:
        b = self._other(other)
        if b is None:
            return bool(_ratio("+", self, 0.0) > other)
        return self.symbols.is_negative(added(b, scaled(self.terms, -1)))

    def __le__(self, other: Any) -> bool:
        return not self > other

    def __ge__(self, other: Any) -> bool:
        return not self < other

    # -- the number itself --------------------------------------------------------------------------

    def __index__(self) -> int:
        return int(self.symbols.fix(self))

    __int__ = __index__

    def __float__(self) -> float:
        return float(self.__index__())

    def __format__(self, spec: str) -> str:
        if spec or _is_asked_outside():
            return format(self.__index__(), spec)
        return self.symbols.text(self.terms)

    def __round__(self, digits: int | None = None) -> Any:
        return self if digits is None or digits >= 0 else round(self.__index__(), digits)

    def __trunc__(self) -> Any:
        return self

    __floor__ = __ceil__ = __trunc__

    def bit_length(self) -> int:
        return self.__index__().bit_length()

    @property
    def real(self) -> Extent:
        return self

    @property
    def numerator(self) -> Extent:
        return self

    @property
    def imag(self) -> int:
        return 0

    denominator = 1

    def is_integer(self) -> bool:
        return True


RATIOS: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "**": lambda a, b: a**b,
}


def _ratio(op: str, left: Any, right: Any) -> Any:
    for x in (left, right):
        if type(x) not in (Extent, Ratio, int, float, bool):
            return NotImplemented
    symbols = next(x.symbols for x in (left, right) if type(x) in (Extent, Ratio))
    return Ratio(symbols, op, left, right)


class Ratio:
    """A number with a fraction that was computed of extents: `1 / n`."""

    __slots__ = ("_key", "example", "left", "op", "right", "symbols")

    __class__ = property(lambda self: float)

    def __init__(self, symbols: Symbols, op: str, left: Any, right: Any):
        self.symbols, self.op, self.left, self.right = symbols, op, left, right
        if op in ("/", "//", "%") and is_symbolic(right):
            symbols.answered("==", right, 0, right.example == 0)
        self._key = (op, _named(left), _named(right))
        example = RATIOS[op](*[getattr(x, "example", x) for x in (left, right)])
        assert isinstance(example, float)
        self.example = example

    def value(self, of: Callable[[Any], Any]) -> float:
        """The number that it is, where others are what `of` says."""
        return RATIOS[self.op](of(self.left), of(self.right))

    def __hash__(self) -> int:
        return hash(float(self)) if _is_asked_outside() else hash((self.symbols.serial, self._key))

    def __repr__(self) -> str:
        if _is_asked_outside():
            return repr(float(self))
        return f"({self.left!r} {self.op} {self.right!r})"

    def hex(self) -> str:
        """Text that stands for it and no other."""
        return repr(self._key)

    def _compared(self, op: str, left: Any, right: Any) -> bool:
        a, b = (getattr(x, "example", x) for x in (left, right))
        return self.symbols.answered(op, left, right, bool(a == b if op == "==" else a < b))

    def __eq__(self, other: object) -> bool:
        if type(other) is Ratio and other._key == self._key:
            return True
        if type(other) not in (Extent, Ratio, int, float, bool):
            return False
        return self._compared("==", self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __lt__(self, other: Any) -> bool:
        return self._compared("<", self, other)

    def __gt__(self, other: Any) -> bool:
        return self._compared("<", other, self)

    def __le__(self, other: Any) -> bool:
        return self._compared("<", self, other) or self == other

    def __ge__(self, other: Any) -> bool:
        return self._compared("<", other, self) or self == other

    def __bool__(self) -> bool:
        return self != 0.0

    def __add__(self, other: Any) -> Any:
        return _ratio("+", self, other)

    def __radd__(self, other: Any) -> Any:
        return _ratio("+", other, self)

    def __sub__(self, other: Any) -> Any:
        return _ratio("-", self, other)

    def __rsub__(self, other: Any) -> Any:
        return _ratio("-", other, self)

    def __mul__(self, other: Any) -> Any:
        return _ratio("*", self, other)

    def __rmul__(self, other: Any) -> Any:
        return _ratio("*", other, self)

    def __truediv__(self, other: Any) -> Any:
        return _ratio("/", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _ratio("/", other, self)

    def __floordiv__(self, other: Any) -> Any:
        return _ratio("//", self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return _ratio("//", other, self)

    def __mod__(self, other: Any) -> Any:
        return _ratio("%", self, other)

    def __rmod__(self, other: Any) -> Any:
        return _ratio("%", other, self)

    def __pow__(self, other: Any) -> Any:
        return _ratio("**", self, other)

    def __rpow__(self, other: Any) -> Any:
        return _ratio("**", other, self)

    def __neg__(self) -> Any:
        return _ratio("*", self, -1.0)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return -self if self < 0.0 else self

    def __float__(self) -> float:
        return float(self.symbols.fix(self))

    def __int__(self) -> int:
        return int(float(self))

    __trunc__ = __int__

    def __floor__(self) -> int:
        return math.floor(float(self))

    def __ceil__(self) -> int:
        return math.ceil(float(self))

    def __round__(self, digits: int | None = None) -> Any:
        return round(float(self), digits)

    def __format__(self, spec: str) -> str:
        return format(float(self), spec)

    def is_integer(self) -> bool:
        return float(self).is_integer()


class Word:
    """A word of a program that a function makes of a number: its bits as a float, say."""

    __slots__ = ("_function", "_number", "_others")

    def __init__(self, function: Callable[..., int], number: Any, *others: Any):
        self._function, self._number, self._others = function, number, others

    def value(self, of: Callable[[Any], Any]) -> int:
        """The word, where numbers are what `of` says."""
        return self._function(of(self._number), *self._others)


def is_symbolic(x: Any) -> bool:
    """Whether a number follows from symbols."""
    return type(x) in (Extent, Ratio, Word)


def _named(x: Any) -> Any:
    kind = type(x)
    if kind is Ratio:
        return x._key
    if kind is Extent:
        return repr(x)
    return kind.__name__, struct.pack("d", x) if kind is float else x
