"""Dimensions that stay open: `Dim`, as `torch.export.Dim`, and the symbols that they become."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from fanal.core.errors import message
from fanal.core.symbols import Extent, Symbols
from fanal.core.symbols.polynomials import Terms
from fanal.core.symbols.scope import Condition

_PACKAGE = __name__.split(".", 1)[0] + "."
_SYMBOLS = f"{_PACKAGE}core.symbols."

# Up to so many combinations of sizes are looked at one by one; of more, ends and some in between.
EXHAUSTIVE, SAMPLES = 4_096, 12
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


class _Hint:
    """How a dimension is to be found out: `Dim.AUTO`, `Dim.DYNAMIC`, `Dim.STATIC`."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"Dim.{self.name}"


Dim.AUTO, Dim.DYNAMIC, Dim.STATIC = _Hint("AUTO"), _Hint("DYNAMIC"), _Hint("STATIC")


def dims(*names: str, min: int | None = None, max: int | None = None) -> tuple[Dim, ...]:
    """Several dimensions with one range."""
    return tuple(Dim(n, min=min, max=max) for n in names)


class DimSymbols(Symbols):
    """The symbols of named dimensions.

    Two sizes that are different in the example are different to the rules of operations (whether to
    broadcast, say), though they may be equal at a call, or 1, or 0: what the rules chose gives the same then.
    It is only the user's own question that has to have the same answer at each call; one of the rules
    ("more than one?") has to have it for sizes from 2 on.
    `places`: the user's line at which a condition first came up; `users`: those that users' code asked.
    """

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[Condition, Any] = {}
        self.users: set[Condition] = set()
        self.place: Any = None  # called for a new condition, to say where it came up
        self.by_name: dict[str, Extent] = {}

    def dim(self, name: str, example: int, low: int, high: int | None) -> Extent:
        """The symbol of a dimension, made when it is first asked for."""
        if name not in self.by_name:
            self.by_name[name] = self.symbol(example, low, high)
        return self.by_name[name]

    def is_zero(self, terms: Terms) -> bool:
        if self.example(terms) != 0 and not _is_users_question():
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

    def matters(self, condition: Condition, sizes: Sequence[int]) -> bool:
        """Whether a condition has to hold where the dimensions have these sizes."""
        relation = condition.op == "==" and condition.answer
        return relation or condition in self.users or min(sizes, default=2) >= 2

    def relation(self, zero: Extent, place: str) -> None:
        """Say that a number that follows from the dimensions is 0: what is asked of it is known then."""
        condition = Condition("==", zero.terms, None, True)
        self.conditions[condition] = None
        self.places[condition] = place

    @property
    def relations(self) -> list[Condition]:
        """What has to hold of sizes besides their ranges."""
        return [c for c in self.conditions if c.op == "==" and c.answer and c.right is None]

    def named(self, terms: Any) -> str:
        """A polynomial (or number) for people, with the dimensions' names."""
        text = self.text(terms) if isinstance(terms, tuple) else repr(terms)
        shown = {repr(e): n for n, e in self.by_name.items()}
        return re.sub(r"n\d+_\d+", lambda m: shown.get(m[0], m[0]), text)


def _is_users_question() -> bool:
    """Whether it is code outside of this package that compares a size."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_SYMBOLS):
        frame = frame.f_back  # type: ignore[assignment]
    return not frame.f_globals.get("__name__", "").startswith(_PACKAGE)


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


class Shapes:
    """`dynamic_shapes` in one form: for each tensor argument, which of its dimensions are what.

    Given as a dict by argument name, or as a tuple or list by position; for each argument a dict
    {dimension: Dim} or a tuple with a Dim, None or a number for each dimension, or None; nested as the
    arguments are.
    """

    def __init__(self, given: Any, names: Sequence[str]):
        self.given, self.names = given, list(names)

    def of(self, arguments: Mapping[str, Any]) -> dict[int, dict[int, Any]]:
        """The dims of tensors by their identity."""
        if self.given is None:
            return {}
        if isinstance(self.given, Mapping):
            unknown = [n for n in self.given if n not in arguments]
            if unknown:
                raise ValueError(
                    message("export", "dynamic_shapes names arguments that there are not", ", ".join(map(repr, unknown)),
                            "some of " + ", ".join(map(repr, arguments)))
                )  # fmt: skip
            pairs = [(arguments[n], spec) for n, spec in self.given.items()]
        elif isinstance(self.given, tuple | list):
            if len(self.given) > len(arguments):
                raise ValueError(
                    message("export", "dynamic_shapes has more entries than there are arguments",
                            len(self.given), f"at most {len(arguments)}")
                )  # fmt: skip
            pairs = list(zip(arguments.values(), self.given, strict=False))
        else:
            raise TypeError(message("export", "dynamic_shapes is of another type", type(self.given).__name__, "a dict or a tuple"))
        found: dict[int, dict[int, Any]] = {}
        for value, spec in pairs:
            _collect(value, spec, found)
        return found


def _collect(value: Any, spec: Any, found: dict[int, dict[int, Any]]) -> None:
    from fanal.tensor.tensor import Tensor

    if spec is None:
        return
    if isinstance(value, Tensor):
        entries = spec.items() if isinstance(spec, Mapping) else enumerate(spec) if isinstance(spec, tuple | list) else None
        if entries is None:
            raise TypeError(message("export", "no dynamic shape of a tensor", repr(spec), "{dimension: Dim} or a tuple with one entry for each dimension"))
        chosen = {}
        for d, dim in entries:
            if not isinstance(d, int) or not -value.ndim <= d < value.ndim:
                raise ValueError(message("export", f"a dimension that a tensor of shape {tuple(value.shape)} has not", d, f"0 to {value.ndim - 1}"))
            if isinstance(dim, int) and not isinstance(dim, bool):
                if dim != value.shape[d]:
                    raise ValueError(message("export", f"dynamic_shapes says that dimension {d} is another size than the example's", dim, str(value.shape[d])))
            elif isinstance(dim, Dim | _Hint):
                if dim is not Dim.STATIC:
                    chosen[d % value.ndim] = dim
            elif dim is not None:
                raise TypeError(message("export", "no dimension", repr(dim), "Dim, None or the size"))
        found[id(value)] = chosen
        return
    if isinstance(value, Mapping) and isinstance(spec, Mapping):
        for key, inner in spec.items():
            _collect(value[key], inner, found)
    elif isinstance(value, tuple | list) and isinstance(spec, tuple | list):
        for item, inner in zip(value, spec, strict=False):
            _collect(item, inner, found)
    else:
        raise TypeError(message("export", "dynamic_shapes is built otherwise than the arguments", type(spec).__name__, f"as {type(value).__name__}"))
