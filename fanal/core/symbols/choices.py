"""What is decided for each size by itself, where sizes follow from symbols.

Ordinary code makes a condition of every comparison. These functions make one number, or one answer, of
many: `largest(1, n // 8)` is right for every n, `max(1, n // 8)` for those on one side.

Where nobody can be asked again (`Symbols.once`: a library without Python), what functions decide, choose and answer
is found once, for the example. They are about speed, so that any answer is right for all sizes; what is not has to
be said otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from fanal.core.symbols.nested import example_of, mapped, symbols_in
from fanal.core.symbols.numbers import Extent, Ratio
from fanal.core.symbols.polynomials import Bounds


def decided(function: Callable[..., Any], *given: Any, numbers: Sequence[str]) -> Any:
    """What a function returns, a record some of whose attributes are `numbers` (of at least 1).

    Where arguments follow from symbols, these numbers are extents of their own: the function is called
    again for each size, and what it looks at makes no conditions.
    """
    symbols = symbols_in(given)
    if symbols is None:
        return function(*given)
    made = function(*mapped(given, example_of))
    if symbols.once:
        return made
    found = {n: symbols.found(function, given, n, getattr(made, n), (1, None)) for n in numbers}
    return replace(made, **found)


def chosen(function: Callable[..., int], *given: Any) -> Any:
    """The number (of at least 1) that a function chooses, for each size by itself."""
    symbols = symbols_in(given)
    if symbols is None:
        return function(*given)
    number = function(*mapped(given, example_of))
    return number if symbols.once else symbols.found(function, given, "", number, (1, None))


def asked(function: Callable[..., Any], *given: Any) -> Any:
    """What a function answers. Where arguments follow from symbols, it is the same function's answer
    that has to be the same for another size, not those of all comparisons that it makes."""
    symbols = symbols_in(given)
    if symbols is None:
        return function(*given)
    return function(*mapped(given, example_of)) if symbols.once else symbols.asked(function, given)


def is_settled(*given: Any) -> bool:
    """Whether numbers follow from symbols for which decisions are made once."""
    symbols = symbols_in(given)
    return symbols is not None and symbols.once


def largest(*numbers: Any) -> Any:
    """The largest number, whichever it is for each size."""
    return _extreme(max, numbers, 1)


def least(*numbers: Any) -> Any:
    """The least number, whichever it is for each size."""
    return _extreme(min, numbers, 0)


def _extreme(function: Callable[..., Any], numbers: tuple[Any, ...], end: int) -> Any:
    symbols = next((x.symbols for x in numbers if type(x) is Extent or type(x) is Ratio), None)
    if symbols is None:
        return function(numbers)
    all_bounds: list[Bounds] = [symbols.bounds(x.terms) if type(x) is Extent else (x, x) for x in numbers]
    for x, (low, high) in zip(numbers, all_bounds, strict=True):
        others = [b for y, b in zip(numbers, all_bounds, strict=True) if y is not x]
        if end and low is not None and all(h is not None and h <= low for _, h in others):
            return x
        if not end and high is not None and all(l is not None and l >= high for l, _ in others):
            return x
    lows = [low for low, _ in all_bounds if low is not None]
    highs = [high for _, high in all_bounds if high is not None]
    bounds: Bounds
    if end:
        bounds = max(lows, default=None), max(highs) if len(highs) == len(numbers) else None
    else:
        bounds = min(lows) if len(lows) == len(numbers) else None, min(highs, default=None)
    example = function([example_of(x) for x in numbers])
    return symbols.found(function, numbers, "", example, bounds)


def size(n: Any) -> Any:
    """A size as the integer that it is, or as the extent that it is."""
    return n if type(n) is int or type(n) is Extent else int(n)


def real(n: Any) -> Any:
    """A number as the float that it is, or as a ratio."""
    return n * 1.0 if type(n) is Extent or type(n) is Ratio else float(n)


def slice_bounds(s: slice, n: Any) -> tuple[Any, Any, Any]:
    """Start, stop and step of a slice of n elements, as `slice.indices` for steps above zero."""
    if type(n) is int and not any(type(x) is Extent for x in (s.start, s.stop, s.step)):
        return s.indices(n)

    def inside(x: Any) -> Any:
        return largest(x + n, 0) if x < 0 else least(x, n)

    step = 1 if s.step is None else s.step
    return 0 if s.start is None else inside(s.start), n if s.stop is None else inside(s.stop), step
