"""A line search for the strong Wolfe conditions (Nocedal and Wright, 2006, algorithms 3.5, 3.6)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from fanal.tensor.tensor import Tensor


class Point(NamedTuple):
    """A step along the direction: its length, the loss, the gradient and the slope there."""

    t: float
    f: float
    g: Tensor
    slope: float


def cubic_minimum(a: Point, b: Point, low: float, high: float) -> float:
    """The minimiser in [low, high] of the cubic through two points with their slopes."""
    d1 = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2.0
    left, right = (a, b) if a.t <= b.t else (b, a)
    d2 = math.sqrt(square)
    divisor = right.slope - left.slope + 2 * d2
    if divisor == 0:
        return (low + high) / 2.0
    position = right.t - (right.t - left.t) * ((right.slope + d2 - d1) / divisor)
    return min(max(position, low), high)


def strong_wolfe(
    evaluate: Callable[[float], tuple[float, Tensor]],
    t: float,
    direction: Tensor,
    start: Point,
    most: int = 25,
    tolerance: float = 1e-9,
    c1: float = 1e-4,
    c2: float = 0.9,
) -> tuple[Point, int]:
    """A step t with f(t) ≤ f(0) + c₁ t f′(0) and |f′(t)| ≤ -c₂ f′(0), and how often f was asked.

    `evaluate(t)` gives the loss and the gradient after a step of length t along the direction.
    """
    count = 0

    def at(t: float) -> Point:
        nonlocal count
        count += 1
        f, g = evaluate(t)
        return Point(t, f, g, float(g.dot(direction)))

    bracket, done, turns = _bracket(at, t, start, most, c1, c2)
    longest = float(direction.abs().max())
    low, high = _ordered(bracket)
    stuck = False
    while not done and turns < most and len(bracket) == 2:
        if abs(high.t - low.t) * longest < tolerance:
            break
        t, stuck = _inside(bracket, stuck)
        new = at(t)
        turns += 1
        if new.f > start.f + c1 * t * start.slope or new.f >= low.f:
            low, high = _ordered((low, new))
        else:
            if abs(new.slope) <= -c2 * start.slope:
                done = True
            elif new.slope * (high.t - low.t) >= 0:
                high = low
            low = new
        bracket = (low, high)
    return low, count


def _ordered(bracket: tuple[Point, ...]) -> tuple[Point, Point]:
    """The end with the lower loss first."""
    first, last = bracket[0], bracket[-1]
    return (first, last) if first.f <= last.f else (last, first)


def _bracket(
    at: Callable[[float], Point], t: float, start: Point, most: int, c1: float, c2: float
) -> tuple[tuple[Point, ...], bool, int]:
    """An interval that holds a good step, or the step itself; whether it is one; the turns made."""
    before, new, turns = start, at(t), 0
    while turns < most:
        too_high = new.f > start.f + c1 * new.t * start.slope
        if too_high or (turns > 1 and new.f >= before.f):
            return (before, new), False, turns
        if abs(new.slope) <= -c2 * start.slope:
            return (new,), True, turns
        if new.slope >= 0:
            return (before, new), False, turns
        least, longest = new.t + 0.01 * (new.t - before.t), new.t * 10
        t = cubic_minimum(before, new, least, longest)
        before, new = new, at(t)
        turns += 1
    return (start, new), False, turns


def _inside(bracket: tuple[Point, ...], stuck: bool) -> tuple[float, bool]:
    """The next step to try in a bracket, kept off its ends; whether progress is in doubt."""
    a, b = bracket[0], bracket[-1]
    left, right = min(a.t, b.t), max(a.t, b.t)
    t = cubic_minimum(a, b, left, right)
    margin = 0.1 * (right - left)
    if min(right - t, t - left) >= margin:
        return t, False
    if not stuck and left < t < right:
        return t, True
    nearer_right = abs(t - right) < abs(t - left)
    return (right - margin if nearer_right else left + margin), False
