"""Symbolic dimensions: an extent that is a name with a range instead of a number.

Shape rules compute with `Extent`s and never ask whether one is symbolic: sums, products and
quotients of symbols are affine forms that stay exact, equality is structural, and a question that
has no single answer over the range raises an error that names the symbol.
"""

from __future__ import annotations

from dataclasses import dataclass

from fanal.core.errors import message

Extent = "int | Dim"


@dataclass(frozen=True)
class Dim:
    """A dimension known by name only: `Dim("batch", min=1, max=256)`.

    Arithmetic gives derived dimensions (`2 * batch + 1`, `batch // 2`) that print as they were
    built. `bind(values)` evaluates one for given numbers.
    """

    name: str
    min: int = 1
    max: int = 2**31 - 1
    op: str = ""
    parts: tuple[Dim | int, ...] = ()

    def _derive(self, op: str, a: Dim | int, b: Dim | int) -> Dim:
        low_a, high_a = _range(a)
        low_b, high_b = _range(b)
        f = _OPERATIONS[op]
        if op == "//" and low_b <= 0:
            raise ValueError(message("Dim", "division by a dim that may be zero", str(b)))
        ends = [f(x, y) for x in (low_a, high_a) for y in (low_b, high_b)]  # type: ignore[no-untyped-call]
        return Dim(f"({a} {op} {b})", min(ends), max(ends), op, (a, b))

    def __add__(self, other: Dim | int) -> Dim:
        return self if isinstance(other, int) and other == 0 else self._derive("+", self, other)

    def __radd__(self, other: int) -> Dim:
        return self + other

    def __sub__(self, other: Dim | int) -> Dim | int:
        if isinstance(other, Dim) and other == self:
            return 0
        return self if isinstance(other, int) and other == 0 else self._derive("-", self, other)

    def __rsub__(self, other: int) -> Dim:
        return self._derive("-", other, self)

    def __mul__(self, other: Dim | int) -> Dim | int:
        if isinstance(other, int) and other in (0, 1):
            return self if other else 0
        return self._derive("*", self, other)

    def __rmul__(self, other: int) -> Dim | int:
        return self * other

    def __floordiv__(self, other: Dim | int) -> Dim | int:
        if isinstance(other, Dim) and other == self:
            return 1
        return self if isinstance(other, int) and other == 1 else self._derive("//", self, other)

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__

    def bind(self, values: dict[str, int]) -> int:
        """The number that this dimension has when symbols have the given values."""
        if not self.op:
            value = values[self.name]
            if not self.min <= value <= self.max:
                raise ValueError(
                    message("Dim", f"{self.name} out of range", value, f"{self.min}..{self.max}")
                )
            return value
        a, b = (p.bind(values) if isinstance(p, Dim) else p for p in self.parts)
        return _OPERATIONS[self.op](a, b)


_OPERATIONS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "//": lambda a, b: a // b,
}


def _range(x: Dim | int) -> tuple[int, int]:
    return (x.min, x.max) if isinstance(x, Dim) else (x, x)
