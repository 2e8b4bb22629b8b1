"""Elementwise mathematics for float and double vectors, written as straight-line IR.

`FUNCTIONS` maps the name that an operation's record gives to a function of the builder and values
of one floating type ("float", "double" or a vector of them), which returns a value of that type.
Names, domains and special values are PyTorch's (C99's where PyTorch calls the C library). 16-bit
floats are the caller's business: widen to float. `ULP` states the error bounds that the tests hold.
`INTEGER_FUNCTIONS` are power, quotient, floor_divide and remainder of integers.
`POLYNOMIALS` are the orthogonal ones, of a degree that is the second operand.
"""

from fanal.backends.native.vecmath.bounds import ULP
from fanal.backends.native.vecmath.integers import INTEGER_FUNCTIONS
from fanal.backends.native.vecmath.orthogonal import POLYNOMIALS
from fanal.backends.native.vecmath.table import FUNCTIONS

__all__ = ["FUNCTIONS", "INTEGER_FUNCTIONS", "POLYNOMIALS", "ULP"]
