"""Dimensions that stay open: `Dim`, as `torch.export.Dim`, and the symbols that they become."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Collection, Sequence
from typing import Any

from fanal.core.errors import message
from fanal.core.symbols import Extent, Symbols, is_symbolic
from fanal.core.symbols.polynomials import Terms
from fanal.core.symbols.scope import Condition

_PACKAGE = __name__.split(".", 1)[0] + "."
_SYMBOLS = f"{_PACKAGE}core.symbols."

# Up to so many combinations of sizes are looked at one by one; of more, ends and some in between.
EXHAUSTIVE, SAMPLES = 4_096, 12
# Sizes that hardly anything else has.
_TYPICAL = (13, 19, 29, 37, 53, 11, 7, 5, 3, 67, 83, 101, 149, 211, 307, 503, 809, 1301, 2203, 4211, 8219)
LARGE = 1 << 20  # stands for the end of a range that has none


class Dim:
    """A dimension with a name and a range: `Dim("batch", max=256)`.

    min: the least size (1 if not given); max: the largest (None: no end; `fanal build` needs one).
    Sums and products with integers are dimensions that follow from it: `2 * Dim("half")`.
    """

    __slots__ = ("factor", "max", "min", "name", "offset", "root")

    AUTO: Any
    DYNAMIC: Any
    STATIC: Any

    def __init__(self, name: str, *, min: int | None = None, max: int | None = None):
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(message("Dim", "no name of a dimension", repr(name), "letters, digits, underscores"))
        low = 1 if min is None else min
        for bound in (low, max):
            if bound is not None and (not isinstance(bound, int) or isinstance(bound, bool) or bound < 0):
                raise ValueError(message("Dim", f"no bound of {name!r}", repr(bound), "an integer that is not negative"))
        if max is not None and max < low:
            raise ValueError(message("Dim", f"the range of {name!r} is empty", f"min={low}, max={max}", "min ≤ max"))
        self.name, self.min, self.max = name, low, max
        self.root, self.factor, self.offset = self, 1, 0

    def _derived(self, factor: int, offset: int) -> Dim:
        made = object.__new__(Dim)
        made.root, made.factor, made.offset = self.root, factor, offset
        made.name = f"{factor}*{self.root.name}" if factor != 1 else self.root.name
        made.name += f"+{offset}" if offset > 0 else str(offset) if offset else ""
        made.min = self.root.min * factor + offset
        made.max = None if self.root.max is None else self.root.max * factor + offset
        return made

    def __add__(self, other: int) -> Dim:
        return self._derived(self.factor, self.offset + other) if type(other) is int else NotImplemented

    __radd__ = __add__

    def __sub__(self, other: int) -> Dim:
        return self + -other if type(other) is int else NotImplemented

    def __mul__(self, other: int) -> Dim:
        if type(other) is not int or other < 1:
            return NotImplemented
        return self._derived(self.factor * other, self.offset * other)

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return f"Dim({self.name!r}, min={self.min}, max={self.max})"


class Hint:
    """How a dimension is to be found out: `Dim.AUTO`, `Dim.DYNAMIC`, `Dim.STATIC`."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"Dim.{self.name}"


Dim.AUTO, Dim.DYNAMIC, Dim.STATIC = Hint("AUTO"), Hint("DYNAMIC"), Hint("STATIC")


def dims(*names: str, min: int | None = None, max: int | None = None) -> tuple[Dim, ...]:
    """Several dimensions with one range."""
    return tuple(Dim(n, min=min, max=max) for n in names)


class DimSymbols(Symbols):
    """The symbols of named dimensions.

    A question that users' code asks has to have the same answer at each call. What the rules of operations
    ask (whether to broadcast, say) decides between ways to say the same, so sizes that are different in the
    example may be equal at a call, or 1, or 0; whoever captures looks at some such sizes again.
    `places`: the user's line at which a condition first came up; `users`: those that users' code asked;
    `differences`: what the rules took to be no zero.
    """

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[Condition, Any] = {}
        self.users: set[Condition] = set()
        self.differences: dict[Terms, None] = {}  # what rules found not to be zero
        self.place: Any = None  # called for a new condition, to say where it came up
        self.by_name: dict[str, Extent] = {}

    def dim(self, name: str, example: int, low: int, high: int | None) -> Extent:
        """The symbol of a dimension, made when it is first asked for."""
        if name not in self.by_name:
            self.by_name[name] = self.symbol(example, low, high)
        return self.by_name[name]

    def is_zero(self, terms: Terms) -> bool:
        if self.example(terms) != 0 and not _is_users_question():
            low, high = self.bounds(terms)
            if (low is None or low <= 0) and (high is None or high >= 0):
                self.differences[terms] = None
            return False
        return super().is_zero(terms)

    def answered(self, op: str, left: Any, right: Any, answer: Any) -> Any:
        before = len(self.conditions)
        found = super().answered(op, left, right, answer)
        if len(self.conditions) > before:
            condition = next(reversed(self.conditions))
            if _is_users_question():
                self.users.add(condition)
            if self.place is not None:
                self.places[condition] = self.place()
        return found

    def range_of(self, name: str) -> tuple[int, int | None]:
        """The range of a dimension."""
        low, high = self.atoms[self.by_name[name].terms[0][0][0]].bounds
        return low or 0, high

    @property
    def relations(self) -> list[Condition]:
        """What has to hold of sizes besides their ranges."""
        return [c for c in self.conditions if c.op == "==" and c.answer and c.right is None]

    def named(self, terms: Any) -> str:
        """A polynomial (or number) for people, with the dimensions' names."""
        text = self.text(terms) if isinstance(terms, tuple) else repr(terms)
        shown = {repr(e): n for n, e in self.by_name.items()}
        return re.sub(r"n\d+_\d+", lambda m: shown.get(m[0], m[0]), text)

    def shape(self, shape: Sequence[Any]) -> str:
        """A shape for people: (batch, 64)."""
        text = [self.named(n.terms) if is_symbolic(n) else str(n) for n in shape]
        return f"({', '.join(text)}{',' * (len(text) == 1)})"


def _is_users_question() -> bool:
    """Whether it is code outside of this package that compares a size."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_SYMBOLS):
        frame = frame.f_back  # type: ignore[assignment]
    return not frame.f_globals.get("__name__", "").startswith(_PACKAGE)


def typical(low: int, high: int | None, taken: Collection[int]) -> int | None:
    """A size that is like most others: no power of two, no multiple of anything; None if there is none."""
    for n in _TYPICAL:
        if low <= n and (high is None or n <= high) and n not in taken:
            return n
    return None


def samples(ranges: Sequence[tuple[int, int | None]]) -> list[tuple[int, ...]]:
    """Sizes to look at: all of them if they are not too many, else the ends and some in between."""
    spans = [(low, LARGE if high is None else high) for low, high in ranges]
    total = 1
    for low, high in spans:
        total *= high - low + 1
    if total <= EXHAUSTIVE:
        return list(itertools.product(*(range(low, high + 1) for low, high in spans)))
    count = SAMPLES if len(spans) < 4 else 4
    return list(itertools.product(*(_some(low, high, count) for low, high in spans)))


def _some(low: int, high: int, count: int) -> list[int]:
    """Sizes of a range: its ends, and others at distances that grow."""
    found = {low, min(low + 1, high), high, max(high - 1, low)}
    step = 2
    while len(found) < count and low + step < high:
        found.update((low + step, low + step + 1))
        step *= 2
    return sorted(found)
