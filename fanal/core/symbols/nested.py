"""Numbers that follow from symbols inside of tuples and records."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from fanal.core.symbols.numbers import Extent, Ratio, is_symbolic

if TYPE_CHECKING:
    from fanal.core.symbols.scope import Symbols


def mapped(x: Any, value: Callable[[Any], Any]) -> Any:
    """What numbers are, also those in tuples and records."""
    if type(x) is tuple:
        found = tuple([mapped(y, value) for y in x])
        return found if any(a is not b for a, b in zip(found, x, strict=True)) else x
    if is_dataclass(x) and not isinstance(x, type):
        before = {f.name: getattr(x, f.name) for f in fields(x)}
        now = {name: mapped(y, value) for name, y in before.items()}
        changed: dict[str, Any] = {name: y for name, y in now.items() if y is not before[name]}
        return replace(x, **changed) if changed else x
    return value(x)


def symbols_in(x: Any) -> Symbols | None:
    """The symbols that a number follows from, or one in a tuple or record."""
    kind = type(x)
    if kind is Extent or kind is Ratio:
        return x.symbols
    if kind is tuple:
        inside: Iterable[Any] = x
    elif is_dataclass(x) and not isinstance(x, type):
        inside = (getattr(x, f.name) for f in fields(x))
    else:
        return None
    return next((s for s in map(symbols_in, inside) if s is not None), None)


def has_symbols(numbers: Iterable[Any]) -> bool:
    """Whether some of these follow from symbols."""
    return any(is_symbolic(n) for n in numbers)


def example_of(x: Any) -> Any:
    """The number that something is in the example."""
    return x.example if type(x) is Extent or type(x) is Ratio else x
