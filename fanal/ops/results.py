"""Named results of functions that return several tensors, with PyTorch's names of the fields."""

from __future__ import annotations

from typing import Any, NamedTuple


class ValuesAndIndices(NamedTuple):
    """Values along a dimension, and the indices that they came from."""

    values: Any
    indices: Any


class MinMax(NamedTuple):
    """The smallest and the largest."""

    min: Any
    max: Any


class Frexp(NamedTuple):
    """Mantissas and exponents of 2."""

    mantissa: Any
    exponent: Any


class Histogram(NamedTuple):
    """Counts, and the edges of the bins."""

    hist: Any
    bin_edges: Any
