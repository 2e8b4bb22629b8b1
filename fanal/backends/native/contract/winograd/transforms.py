"""Winograd's transforms along one axis, for points in pairs ±p beside 0 and infinity.

What is even in the point is shared by both of a pair, what is odd has the other sign: each pair costs
the inputs' transform four multiply-adds and the outputs' one addition and one subtraction more. The
meaning, and why which points, is in `fanal/ops/winograd.py`.

A two-dimensional transform is one along the columns, then one along the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from fanal.backends.native.emit import Builder, V
from fanal.ops.winograd import POINTS

Line = Callable[[Builder, Sequence[V]], list[V]]


def _times(b: Builder, c: Fraction, x: V, plus: V | None) -> V:
    """c·x + plus."""
    if plus is None:
        return x if c == 1 else x * float(c)
    if abs(c) == 1:
        return plus + x if c > 0 else plus - x
    return b.fma(x, b.const(x.type, float(c)), plus)


def _sum(b: Builder, terms: Sequence[tuple[Fraction, V]]) -> V:
    """Σ c·x, the last term first."""
    total: V | None = None
    for c, x in reversed(terms):
        if c != 0:
            total = _times(b, c, x, total)
    assert total is not None
    return total


def _polynomial(squares: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients of Π (t² − s) in powers of t²."""
    coefficients = [Fraction(1)]
    for s in squares:
        raised = [Fraction(0), *coefficients]
        coefficients = [r - s * c for r, c in zip(raised, [*coefficients, Fraction(0)], strict=True)]
    return coefficients


def inputs_line(tile: int) -> Line:
    """Bᵀ d: a window of tile + 2 inputs at each point (0, the pairs, infinity)."""
    points = POINTS[tile]
    squares = [p * p for p in points]
    whole = _polynomial(squares)

    def line(b: Builder, d: Sequence[V]) -> list[V]:
        def even(coefficients: Sequence[Fraction], first: int) -> V:
            return _sum(b, [(c, d[first + 2 * i]) for i, c in enumerate(coefficients)])

        found = [even(whole, 0)]
        for n, p in enumerate(points):
            others = _polynomial([s for i, s in enumerate(squares) if i != n])
            # t·(t + p)·Π' = t²·Π' + p·t·Π'
            one, two = even(others, 2), even(others, 1)
            found += [_times(b, p, two, one), _times(b, -p, two, one)]
        return [*found, even(whole, 1)]

    return line


def weights_line(tile: int) -> Line:
    """G g: a kernel's three taps at each point, divided by what interpolation divides by."""
    points = POINTS[tile]
    squares = [p * p for p in points]

    def line(b: Builder, g: Sequence[V]) -> list[V]:
        at_zero = Fraction(1)
        for s in squares:
            at_zero *= -s
        found = [_times(b, 1 / at_zero, g[0], None)]
        for n, s in enumerate(squares):
            by = 2 * s
            for i, other in enumerate(squares):
                by *= s - other if i != n else 1
            even = _sum(b, [(1 / by, g[0]), (s / by, g[2])])
            found += [_times(b, sign * points[n] / by, g[1], even) for sign in (1, -1)]
        return [*found, g[2]]

    return line


def outputs_line(tile: int) -> Line:
    """Aᵀ m: `tile` outputs from the products at the points."""
    points = POINTS[tile]

    def line(b: Builder, m: Sequence[V]) -> list[V]:
        pairs = [(m[1 + 2 * i], m[2 + 2 * i]) for i in range(len(points))]
        sums, differences = [x + y for x, y in pairs], [x - y for x, y in pairs]
        found = []
        for k in range(tile):
            of = differences if k % 2 else sums
            terms = [(p**k, x) for p, x in zip(points, of, strict=True)]
            if k == 0:
                terms.append((Fraction(1), m[0]))
            if k == tile - 1:
                terms.append((Fraction(1), m[-1]))
            found.append(_sum(b, terms))
        return found

    return line


def columns_of(b: Builder, line: Line, values: Sequence[Sequence[V]]) -> list[list[V]]:
    """A transform of every column, of rows of values."""
    columns = [line(b, column) for column in zip(*values, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]
