"""Sizes that are symbols.

An `Extent` stands where a size does and behaves as the integer that it is in an example: sums, products
and quotients are extents again (polynomials of symbols), and a question with a yes or no, `n > 16`, is
answered for the example and noted as a *condition* under which everything that follows is true. So
ordinary Python (shape rules, passes, the lowering to kernels) makes one result for all sizes that fulfil
the conditions, and `Symbols.values` gives the numbers for each of them.

Whoever needs the number itself (`range(n)`, an index, NumPy) fixes it: the condition is that it is that
number.
"""

from fanal.core.symbols.choices import (
    asked,
    chosen,
    decided,
    is_settled,
    largest,
    least,
    real,
    size,
    slice_bounds,
)
from fanal.core.symbols.nested import example_of, has_symbols, mapped, symbols_in
from fanal.core.symbols.numbers import Extent, Ratio, Word, is_symbolic
from fanal.core.symbols.scope import Symbols

__all__ = [
    "Extent", "Ratio", "Symbols", "Word", "asked", "chosen", "decided", "example_of", "has_symbols",
    "is_settled", "is_symbolic", "largest", "least", "mapped", "real", "size", "slice_bounds", "symbols_in",
]  # fmt: skip
