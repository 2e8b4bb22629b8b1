"""Orthogonal polynomials of a degree that differs from element to element, by their recurrences.

p₀ = 1, p₁ = first(x), p_{k+1} = step(x, k, p_k, p_{k-1}). The degree is the second operand, cut to a
whole number; below 0 the value is 0. A vector takes as many steps as its largest degree; lanes that
are done keep their value. Bounds on the degree: 2²⁰ - 1.
"""

from __future__ import annotations

from collections.abc import Callable

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.vecmath.core import F64, const, largest, through_double
from fanal.backends.native.vecmath.exponential import clamp
from fanal.backends.native.vecmath.rounding import trunc

First = Callable[[V], V]
Step = Callable[[V, V, V, V], V]
_LARGEST = float(2**20 - 1)


def _evaluated(b: Builder, x: V, n: V, first: First, step: Step) -> V:
    degree = trunc(b, clamp(b, n, -1.0, _LARGEST))
    degree = b.select(degree.isnan(), const(x, -1.0), degree)
    steps = (largest(b, b.select(degree.lt(0.0), const(x, 0.0), degree)) + F64.shifter).bits()
    one = const(x, 1.0)
    before, value = one, b.select(degree.ge(1.0), first(x), one)
    loop = b.loop(1, steps & 0xFFFFF, 1, [before, value, one])
    with loop as (_, earlier, now, k):
        going = degree.gt(k)
        next_ = step(x, k, now, earlier)
        loop.next(b.select(going, now, earlier), b.select(going, next_, now), k + 1.0)
    value = loop.results[1]
    value = b.select(degree.lt(0.0), const(x, 0.0), value)
    return b.select(x.isnan(), x, value)


def _family(name: str, first: First, step: Step, shifted: bool = False) -> Callable[..., V]:
    def function(b: Builder, x: V, n: V) -> V:
        at = (x + x) - 1.0 if shifted else x
        return _evaluated(b, at, n, first, step)

    function.__name__ = name
    return through_double(function)


def _chebyshev_step(x: V, k: V, now: V, before: V) -> V:
    return (x + x) * now - before


_CHEBYSHEV: dict[str, First] = {
    "t": lambda x: x, "u": lambda x: x + x, "v": lambda x: (x + x) - 1.0,
    "w": lambda x: (x + x) + 1.0,
}  # fmt: skip

POLYNOMIALS: dict[str, Callable[..., V]] = {
    f"{prefix}chebyshev_polynomial_{letter}": _family(letter, first, _chebyshev_step, bool(prefix))
    for prefix in ("", "shifted_")
    for letter, first in _CHEBYSHEV.items()
} | {
    "hermite_polynomial_h": _family(
        "h", lambda x: x + x, lambda x, k, now, before: (x + x) * now - (k + k) * before
    ),
    "hermite_polynomial_he": _family(
        "he", lambda x: x, lambda x, k, now, before: x * now - k * before
    ),
    "laguerre_polynomial_l": _family(
        "l", lambda x: 1.0 - x,
        lambda x, k, now, before: (((k + k) + (1.0 - x)) * now - k * before) / (k + 1.0),
    ),
    "legendre_polynomial_p": _family(
        "p", lambda x: x,
        lambda x, k, now, before: (((k + k) + 1.0) * x * now - k * before) / (k + 1.0),
    ),
}  # fmt: skip
