"""Numbers that follow from symbols inside of tuples and records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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


class Template:
    """A tuple or record of which only some parts follow from symbols: `made` gives it with other numbers,
    without a look at the rest."""

    __slots__ = ("_parts", "_whole")

    def __init__(self, whole: Any, parts: Sequence[tuple[Any, Any]]):
        self._whole, self._parts = whole, parts  # (index or name, number or template) of those parts

    @classmethod
    def of(cls, whole: Any) -> Template:
        """A template; `whole` itself need not follow from symbols."""
        record = is_dataclass(whole) and not isinstance(whole, type)
        named: Iterable[tuple[Any, Any]] = ()
        if type(whole) is tuple:
            named = enumerate(whole)
        elif record:
            named = ((f.name, getattr(whole, f.name)) for f in fields(whole))
        parts = []
        for key, x in named:
            if is_symbolic(x):
                parts.append((key, x))
            elif symbols_in(x) is not None:
                parts.append((key, cls.of(x)))
        return cls(whole, parts)

    def made(self, value: Callable[[Any], Any]) -> Any:
        """The tuple or record, with numbers as `value` says."""
        new = [(k, x.made(value) if type(x) is Template else value(x)) for k, x in self._parts]
        if type(self._whole) is not tuple:
            return replace(self._whole, **dict(new)) if new else self._whole
        items = list(self._whole)
        for i, x in new:
            items[i] = x
        return tuple(items)


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
