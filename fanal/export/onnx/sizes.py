"""Numbers that follow from symbolic dimensions, computed by the model from its inputs' shapes.

All of it stands at the beginning of the outermost graph, so that any subgraph may use it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fanal.core import dtypes
from fanal.core.dtypes import DType
from fanal.core.symbols import Extent, Ratio, Symbols
from fanal.core.symbols.polynomials import Terms
from fanal.export.onnx.registry import Unsayable
from fanal.export.text import flat

# Makes a node of the beginning: operator, names of operands, attributes -> the result's name.
Emit = Callable[..., str]
# Gives the name of a constant: value and dtype, as a vector of one element.
Constant = Callable[[Any, DType], str]

_RATIOS = {"+": "Add", "-": "Sub", "*": "Mul", "/": "Div", "**": "Pow"}


class Sizes:
    """Writes numbers as vectors of one int64 (ratios: float64)."""

    def __init__(
        self, symbols: Symbols, inputs: Sequence[tuple[str, tuple[Any, ...]]], emit: Emit,
        constant: Constant,
    ):  # fmt: skip
        self._symbols, self._emit, self._constant = symbols, emit, constant
        self._inputs = inputs
        self._atoms: dict[int, str] = {}
        self._known: dict[Any, str] = {}

    def vector(self, n: Any) -> str:
        """The name of a vector of one int64."""
        if type(n) is not Extent:
            return self._constant(int(n), dtypes.int64)
        if n.terms not in self._known:
            self._known[n.terms] = self._polynomial(n.terms)
        return self._known[n.terms]

    def real(self, x: Any) -> str:
        """The name of a vector of one float64: what a ratio is."""
        if type(x) is Extent:
            return self._emit("Cast", [self.vector(x)], to=dtypes.float64)
        if type(x) is not Ratio:
            return self._constant(float(x), dtypes.float64)
        if x not in self._known:
            a, b = self.real(x.left), self.real(x.right)
            if x.op in _RATIOS:
                self._known[x] = self._emit(_RATIOS[x.op], [a, b])
            else:
                whole = self._emit("Floor", [self._emit("Div", [a, b])])
                rest = self._emit("Sub", [a, self._emit("Mul", [whole, b])])
                self._known[x] = whole if x.op == "//" else rest
        return self._known[x]

    def _polynomial(self, terms: Terms) -> str:
        total = ""
        for monomial, factor in sorted(terms, key=lambda t: -len(t[0])):
            product = ""
            for a in monomial:
                name = self._atom(a)
                product = self._emit("Mul", [product, name]) if product else name
            if not product:
                product = self._constant(factor, dtypes.int64)
            elif factor != 1:
                product = self._emit("Mul", [product, self._constant(factor, dtypes.int64)])
            total = self._emit("Add", [total, product]) if total else product
        return total

    def _atom(self, number: int) -> str:
        if number not in self._atoms:
            atom = self._symbols.atoms[number]
            if atom.name:
                self._atoms[number] = self._symbol(number)
            elif atom.found is not None:
                self._atoms[number] = self._found(*atom.found)
            else:
                self._atoms[number] = self._quotient(atom.over, atom.by)
        return self._atoms[number]

    def _symbol(self, number: int) -> str:
        """A symbol, from a dimension of an input that is it, or a multiple of it and a rest."""
        linear = []
        for name, shape in self._inputs:
            for d, n in enumerate(shape):
                if type(n) is not Extent:
                    continue
                if n.terms == (((number,), 1),):
                    return self._emit("Shape", [name], start=d, end=d + 1)
                rest = dict(n.terms)
                factor, offset = rest.pop((number,), 0), rest.pop((), 0)
                if factor and not rest:
                    linear.append((name, d, factor, offset))
        if not linear:
            raise Unsayable("a dimension does not follow from the inputs' shapes")
        name, d, factor, offset = linear[0]
        n = self._emit("Shape", [name], start=d, end=d + 1)
        if offset:
            n = self._emit("Sub", [n, self._constant(offset, dtypes.int64)])
        return n if factor == 1 else self._emit("Div", [n, self._constant(factor, dtypes.int64)])

    def _quotient(self, over: Terms, by: Terms) -> str:
        """Rounded down; ONNX's division of integers cuts off, which is the same from zero on."""
        a, b = self._polynomial(over) or self._constant(0, dtypes.int64), self._polynomial(by)
        low, least = self._symbols.bounds(over)[0], self._symbols.bounds(by)[0]
        if low is not None and low >= 0 and least is not None and least > 0:
            return self._emit("Div", [a, b])
        return self._emit("Div", [self._emit("Sub", [a, self._emit("Mod", [a, b])]), b])

    def _found(self, function: Callable[..., Any], given: tuple[Any, ...], name: str) -> str:
        if function in (max, min) and not name:
            return self._emit("Max" if function is max else "Min", [self.vector(n) for n in flat(given)])
        raise Unsayable(f"a size is what {function.__name__}() chooses for each size by itself")
