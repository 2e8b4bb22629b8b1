"""Polynomials of atoms with whole coefficients, in one form for each; and bounds of numbers."""

from __future__ import annotations

from collections.abc import Sequence

Monomial = tuple[int, ...]  # atoms by their numbers, with repetition, in order
Terms = tuple[tuple[Monomial, int], ...]  # monomials and coefficients, in order
Bounds = tuple[int | None, int | None]  # the least and the most that a number can be; None: who knows


def evaluated(terms: Terms, atoms: Sequence[int] | dict[int, int]) -> int:
    """What a polynomial is where the atoms are these."""
    total = 0
    for monomial, factor in terms:
        for a in monomial:
            factor *= atoms[a]
        total += factor
    return total


def constant(n: int) -> Terms:
    """A number as a polynomial."""
    return (((), n),) if n else ()


def added(a: Terms, b: Terms) -> Terms:
    """The sum of two polynomials."""
    found = dict(a)
    for monomial, factor in b:
        total = found.get(monomial, 0) + factor
        if total:
            found[monomial] = total
        else:
            del found[monomial]
    return tuple(sorted(found.items()))


def scaled(a: Terms, factor: int) -> Terms:
    """A polynomial times a number."""
    return tuple([(m, c * factor) for m, c in a]) if factor else ()


def multiplied(a: Terms, b: Terms) -> Terms:
    """The product of two polynomials."""
    found: dict[Monomial, int] = {}
    for m, c in a:
        for n, d in b:
            both = tuple(sorted(m + n))
            found[both] = found.get(both, 0) + c * d
    return tuple(sorted((m, c) for m, c in found.items() if c))


def divided(over: Terms, by: Terms) -> Terms | None:
    """The exact quotient by a polynomial, if it is one (of polynomials with several terms: only if
    they are multiples of one another)."""
    if len(by) > 1:
        m, c = by[0]
        match = [(n, d) for n, d in over if d % c == 0 and _without(n, m) is not None]
        for n, d in match:
            factor: Terms = ((_without(n, m) or (), d // c),)
            if multiplied(by, factor) == over:
                return factor
        return None
    monomial, number = by[0]
    found = []
    for m, c in over:
        left = _without(m, monomial)
        if left is None or c % number:
            return None
        found.append((left, c // number))
    return tuple(sorted(found))


def _without(m: Monomial, n: Monomial) -> Monomial | None:
    left = list(m)
    for a in n:
        if a not in left:
            return None
        left.remove(a)
    return tuple(left)


def times(a: Bounds, b: Bounds) -> Bounds:
    """The bounds of a product of two numbers."""
    if _is_negative(a) and _is_negative(b):
        return times(_turned(a), _turned(b))
    if _is_negative(a) or _is_negative(b):
        return _turned(times(_turned(a), b) if _is_negative(a) else times(a, _turned(b)))
    if a[0] is None or b[0] is None or a[0] < 0 or b[0] < 0:
        return None, None
    return a[0] * b[0], None if a[1] is None or b[1] is None else a[1] * b[1]


def _is_negative(a: Bounds) -> bool:
    """Whether it is known that a number is not above zero, and that it may be below."""
    return a[1] is not None and a[1] <= 0 and a[0] != 0


def _turned(a: Bounds) -> Bounds:
    low, high = a
    return None if high is None else -high, None if low is None else -low
