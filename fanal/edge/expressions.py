"""Numbers that follow from sizes, as a small program that a library carries out: one value after another.

A word is {operation, 8 bits | value a, 28 bits | value b, 28 bits}; a constant takes the word behind it. Values
are numbered in order, the sizes of the dimensions first. A condition makes no value: where it does not hold,
all ends there. `evaluated` is the twin of the library's interpreter (`driver.py`), word for word.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

from fanal.backends.native.loops.structure import constant_bits
from fanal.core.errors import Limit, message
from fanal.core.symbols import Extent, Ratio, Symbols, Word
from fanal.core.symbols.polynomials import Terms
from fanal.core.symbols.scope import Condition

END, CONST, ADD, MULTIPLY, DIVIDE, MOST, LEAST, REAL, SUM, DIFFERENCE, PRODUCT, QUOTIENT, SINGLE = range(13)
EQUAL, DIFFERENT, LESS, NOT_LESS = range(13, 17)
CODES = {
    f"OP_{name}": code
    for name, code in {
        "END": END, "CONST": CONST, "ADD": ADD, "MULTIPLY": MULTIPLY, "DIVIDE": DIVIDE, "MOST": MOST,
        "LEAST": LEAST, "EQUAL": EQUAL, "DIFFERENT": DIFFERENT, "LESS": LESS,
    }.items()
}  # fmt: skip
_REALS = {"+": SUM, "-": DIFFERENCE, "*": PRODUCT, "/": QUOTIENT}


class Values:
    """Code that is being written; equal values are computed once. `dims` values are there already."""

    def __init__(self, dims: int):
        self.words: list[int] = []
        self.count = dims
        self._known: dict[Any, int] = {}

    def constant(self, n: int) -> int:
        found = self._known.get(n)
        if found is None:
            self.words += [CONST, int(n)]
            found = self._known[n] = self._next()
        return found

    def later(self) -> int:
        """A constant that is said later: it is the word behind this one's, which is the last by now."""
        self.words += [CONST, 0]
        return self._next()

    def of(self, operation: int, a: int, b: int = 0) -> int:
        """The value of an operation on two others."""
        key = (operation, a, b)
        found = self._known.get(key)
        if found is None:
            self.words.append(operation | a << 8 | b << 36)
            found = self._known[key] = self._next()
        return found

    def require(self, operation: int, a: int, b: int) -> None:
        """Let the code end here unless a condition holds."""
        self.words.append(operation | a << 8 | b << 36)

    def end(self) -> None:
        self.words.append(END)

    def _next(self) -> int:
        self.count += 1
        return self.count - 1

    # -- numbers ---------------------------------------------------------------------------------------

    def number(self, x: Any) -> int:
        """The value of a whole number, which may follow from symbols."""
        kind = type(x)
        if kind is Extent:
            return self._polynomial(x.symbols, x.terms)
        if kind is Word:
            return self._word(x)
        return self.constant(int(x))

    def _polynomial(self, symbols: Symbols, terms: Terms) -> int:
        total: int | None = None
        for monomial, factor in terms:
            product: int | None = None
            for a in monomial:
                atom = self._atom(symbols, a)
                product = atom if product is None else self.of(MULTIPLY, product, atom)
            if product is None:
                product = self.constant(factor)
            elif factor != 1:
                product = self.of(MULTIPLY, product, self.constant(factor))
            total = product if total is None else self.of(ADD, total, product)
        return self.constant(0) if total is None else total

    def _atom(self, symbols: Symbols, number: int) -> int:
        atom = symbols.atoms[number]
        if atom.name:  # symbols are made first, in the order of the dimensions
            return number
        if atom.found is None:
            return self.of(DIVIDE, self._polynomial(symbols, atom.over), self._polynomial(symbols, atom.by))
        function, given, name = atom.found
        if function not in (max, min) or name:
            raise Limit(message("build", "a size is found by a function of Python's", function.__name__,
                                hint="fixed sizes, by dims="))  # fmt: skip
        numbers = [self.number(x) for x in (given[0] if len(given) == 1 else given)]
        result = numbers[0]
        for n in numbers[1:]:
            result = self.of(MOST if function is max else LEAST, result, n)
        return result

    def _real(self, x: Any) -> int:
        """The value of a real number, by its bits."""
        if type(x) is Ratio:
            if x.op not in _REALS:
                raise Limit(message("build", "a number follows from sizes in a way that a library can't compute", x.op,
                                    "sums, products, quotients", "fixed sizes, by dims="))  # fmt: skip
            return self.of(_REALS[x.op], self._real(x.left), self._real(x.right))
        if type(x) is Extent:
            return self.of(REAL, self.number(x))
        return self.constant(struct.unpack("<q", struct.pack("<d", float(x)))[0])

    def _word(self, x: Word) -> int:
        """A number's bits as kernels read them."""
        function, number, others = x.parts
        (dtype,) = others
        if function is not constant_bits or (dtype.kind == "f" and dtype.bits == 16) or (dtype.kind != "f" and type(number) is Ratio):
            raise Limit(message("build", "a number follows from sizes in a way that a library can't compute",
                                dtype.name, hint="fixed sizes, by dims="))  # fmt: skip
        if dtype.kind != "f":
            return self.number(number)
        real = self._real(number)
        return self.of(SINGLE, real) if dtype.bits == 32 else real

    # -- conditions --------------------------------------------------------------------------------------

    def condition(self, symbols: Symbols, condition: Condition) -> None:
        """Require what was found true in an example."""
        op, left, right, answer = condition
        if op == "asked":
            raise Limit(message("build", "a decision about sizes needs Python", getattr(left, "__name__", op),
                                hint="fixed sizes, by dims="))  # fmt: skip
        if right is None:
            a, b = self._polynomial(symbols, left), self.constant(0)
        elif Ratio in (type(left), type(right)):  # the difference of equal numbers has no bit set
            a, b = self.of(DIFFERENCE, self._real(left), self._real(right)), self.constant(0)
        else:
            a, b = self.number(left), self.number(right)
        if op == "==":
            self.require(EQUAL if answer else DIFFERENT, a, b)
        else:
            self.require(LESS if answer else NOT_LESS, a, b)


def evaluated(words: Sequence[int], values: list[int]) -> bool:
    """Append the values of code to those of the dimensions; False where a condition does not hold."""
    at = 0
    while True:
        word = words[at]
        at += 1
        op = word & 255
        if op == END:
            return True
        if op == CONST:
            values.append(words[at])
            at += 1
            continue
        a, b = values[(word >> 8) & 0xFFFFFFF], values[word >> 36]
        if op >= EQUAL:
            if not _HOLDS[op](a, b):
                return False
        elif op == DIVIDE and b == 0:
            return False
        else:
            values.append(_MADE[op](a, b))


def _bits(x: float) -> int:
    return int(struct.unpack("<q", struct.pack("<d", x))[0])


def _float(bits: int) -> float:
    return float(struct.unpack("<d", struct.pack("<q", bits))[0])


def _divided(a: int, b: int) -> int:
    x, y = _float(a), _float(b)
    return _bits(x / y if y else math.copysign(math.inf, x) if x else math.nan)


def _single(a: int, _: int) -> int:
    return int(struct.unpack("<i", struct.pack("<f", _float(a)))[0])


_MADE: dict[int, Callable[[int, int], int]] = {
    ADD: lambda a, b: a + b,
    MULTIPLY: lambda a, b: a * b,
    DIVIDE: lambda a, b: a // b,
    MOST: max,
    LEAST: min,
    REAL: lambda a, _: _bits(float(a)),
    SUM: lambda a, b: _bits(_float(a) + _float(b)),
    DIFFERENCE: lambda a, b: _bits(_float(a) - _float(b)),
    PRODUCT: lambda a, b: _bits(_float(a) * _float(b)),
    QUOTIENT: _divided,
    SINGLE: _single,
}
_HOLDS: dict[int, Callable[[int, int], bool]] = {
    EQUAL: lambda a, b: a == b,
    DIFFERENT: lambda a, b: a != b,
    LESS: lambda a, b: a < b,
    NOT_LESS: lambda a, b: a >= b,
}
