"""Some symbols, and the conditions under which what was made with them is true."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fanal.core.symbols.choices import largest, least
from fanal.core.symbols.nested import Template, example_of, mapped
from fanal.core.symbols.numbers import Extent, Ratio, Word
from fanal.core.symbols.polynomials import (
    Bounds,
    Terms,
    added,
    constant,
    divided,
    evaluated,
    times,
)

# Of numbers that may be extents again.
_EXTREMES: dict[Callable[..., Any], Callable[..., Any]] = {max: largest, min: least}
_PACKAGE = __name__.split(".", 1)[0] + "."
_serials = itertools.count()


class Atom(NamedTuple):
    """What polynomials are made of: a symbol by its name; or the quotient of two polynomials, rounded
    down; or what a function returns, or an attribute of that."""

    bounds: Bounds
    name: str = ""
    over: Terms = ()
    by: Terms = ()
    found: tuple[Callable[..., Any], tuple[Any, ...], str] | None = None


class Condition(NamedTuple):
    """A question and its answer. `op`: "==" or "<" of two numbers (of a polynomial and zero, where
    there is no right one), or "asked" of a function and its arguments."""

    op: str
    left: Any
    right: Any
    answer: Any


class Symbols:
    """Some symbols, each with the number that it has in the example, and all that was asked."""

    def __init__(self) -> None:
        self.serial = next(_serials)
        self.atoms: list[Atom] = []
        self.examples: list[int] = []  # by atom
        self.names: list[str] = []
        self.conditions: dict[Condition, Template | None] = {}  # with the arguments of a function
        self.templates: dict[int, Template] = {}  # of the arguments of functions, by atom
        self._ordered: list[tuple[Condition, Template | None]] = []
        self.fixed: dict[str, str] = {}  # what was fixed to its number, and where
        self._numbers: dict[Atom, int] = {}
        self._extents: dict[Terms, Extent] = {}
        self.interned: dict[Any, Any] = {}  # what the package makes once of each combination of sizes
        self.once = False  # whether decisions about speed are made once; see `choices`

    def symbol(self, example: int, low: int = 2, high: int | None = None) -> Extent:
        """A new symbol, from `low` to `high`."""
        name = f"n{self.serial}_{len(self.names)}"
        self.names.append(name)
        return self._of(Atom((low, high), name), example)

    def found(
        self, function: Callable[..., Any], given: tuple[Any, ...], name: str, example: int, bounds: Bounds
    ) -> Extent:
        """What a function returns, or an attribute of that."""
        made = self._of(Atom(bounds, found=(function, given, name)), example)
        number = made.terms[0][0][0]
        if number not in self.templates:
            self.templates[number] = Template.of(given)
        return made

    def _of(self, atom: Atom, example: int) -> Extent:
        number = self._numbers.get(atom)
        if number is None:
            number = self._numbers[atom] = len(self.atoms)
            self.atoms.append(atom)
            self.examples.append(example)
        made = self.number((((number,), 1),))
        assert type(made) is Extent
        return made

    def number(self, terms: Terms) -> Any:
        """The extent of a polynomial, or the number if it is constant."""
        if not terms:
            return 0
        if len(terms) == 1 and not terms[0][0]:
            return terms[0][1]
        found = self._extents.get(terms)
        if found is None:
            found = self._extents[terms] = Extent(self, terms)
        return found

    def example(self, terms: Terms) -> int:
        """The number that a polynomial is in the example."""
        total = 0
        for monomial, factor in terms:
            for a in monomial:
                factor *= self.examples[a]
            total += factor
        return total

    def bounds(self, terms: Terms) -> Bounds:
        """Numbers that a polynomial is never below and never above, where that is easily said."""
        low: int | None = 0
        high: int | None = 0
        for monomial, factor in terms:
            one: Bounds = (factor, factor)
            for a in monomial:
                one = times(one, self.atoms[a].bounds)
            low = None if low is None or one[0] is None else low + one[0]
            high = None if high is None or one[1] is None else high + one[1]
        return low, high

    def quotient(self, over: Terms, by: Terms) -> Any:
        """A polynomial through another, rounded down."""
        if self.example(by) == 0 and self.is_zero(by):
            raise ZeroDivisionError("integer division or modulo by zero")
        exact = divided(over, by)
        if exact is not None:
            return self.number(exact)
        number = by[0][1] if len(by) == 1 and not by[0][0] else 0
        if number and len(over) == 1 and not over[0][0]:
            return over[0][1] // number
        if number > 0:  # multiples of the divisor come out of the quotient
            whole = tuple((m, c // number) for m, c in over if c % number == 0)
            if whole:
                rest = tuple((m, c) for m, c in over if c % number != 0)
                return self.number(whole) + self.quotient(rest, by)
        (low, high), least = self.bounds(over), self.bounds(by)[0]
        bounds: Bounds = (None, None)
        if number > 0:
            bounds = None if low is None else low // number, None if high is None else high // number
        elif least is not None and least > 0:
            bounds = 0 if low is not None and low >= 0 else None, -1 if high is not None and high < 0 else None
        value = self.example(over) // self.example(by)
        return self._of(Atom(bounds, over=over, by=by), value)

    def text(self, terms: Terms) -> str:
        """A polynomial as text; no other one of this process has the same."""
        parts = []
        for monomial, factor in terms:
            names = [self._atom_text(self.atoms[a]) for a in monomial]
            if factor != 1 or not names:
                names.append(str(factor))
            parts.append("*".join(names))
        return "+".join(parts) if len(parts) == 1 else f"({'+'.join(parts)})"

    def _atom_text(self, atom: Atom) -> str:
        if atom.name:
            return atom.name
        if atom.found is not None:
            function, given, name = atom.found
            return f"{function.__name__}{given}" + (f".{name}" if name else "")
        return f"({self.text(atom.over)}//{self.text(atom.by)})"

    # -- questions ----------------------------------------------------------------------------------

    def is_zero(self, terms: Terms) -> bool:
        """Whether a polynomial is zero, in the example."""
        low, high = self.bounds(terms)
        if (low is not None and low > 0) or (high is not None and high < 0):
            return False
        zero = self.example(terms) == 0
        if self.once and not zero and self._compares(terms):
            return False
        return self.answered("==", terms, None, zero)

    def _compares(self, terms: Terms) -> bool:
        """Whether it is two sizes that are compared, or two strides: what is right where they are not the
        same is right where they happen to be. (Not so where one is a number, or a part of a size.)"""
        return len(terms) > 1 and all(m and all(self.atoms[a].name for a in m) for m, _ in terms)

    def is_negative(self, terms: Terms) -> bool:
        """Whether a polynomial is below zero, in the example."""
        low, high = self.bounds(terms)
        if low is not None and low >= 0:
            return False
        if high is not None and high < 0:
            return True
        return self.answered("<", terms, None, self.example(terms) < 0)

    def answered(self, op: str, left: Any, right: Any, answer: Any) -> Any:
        condition = Condition(op, left, right, answer)
        if condition not in self.conditions:
            self.conditions[condition] = Template.of(right) if op == "asked" else None
        return answer

    def asked(self, function: Callable[..., Any], given: tuple[Any, ...]) -> Any:
        """What a function answers in the example."""
        return self.answered("asked", function, given, function(*mapped(given, example_of)))

    def fix(self, x: Extent | Ratio) -> Any:
        """The number that something is in the example, which it has to be from now on."""
        if isinstance(x, Ratio):
            self.answered("==", x, x.example, True)
        else:
            self.is_zero(added(x.terms, constant(-x.example)))
        self.fixed.setdefault(repr(x), _place())
        return x.example

    def pinned(self) -> list[Extent]:
        """The symbols that can have but one number, after what was asked."""
        found = {}
        for op, left, right, answer in self.conditions:
            if op == "==" and right is None and answer:
                atoms = [m for m, _ in left if m]
                if len(atoms) == 1 and len(atoms[0]) == 1 and self.atoms[atoms[0][0]].name:
                    found[atoms[0][0]] = self.number(((atoms[0], 1),))
        return list(found.values())

    # -- for other sizes ------------------------------------------------------------------------------

    def values(self, sizes: Sequence[int]) -> Callable[[Any], Any] | None:
        """What numbers are where the symbols have these sizes: a function of extents, ratios and words
        (others it returns as they are); None where a condition is not fulfilled."""
        atoms = _Atoms(self, sizes)
        try:
            if atoms.all_true(self._in_order()):
                return atoms.value
        except _NoNumber:
            pass
        return None

    def at(self, sizes: Sequence[Any]) -> Callable[[Any], Any]:
        """What numbers are where the symbols have these sizes, whether or not the conditions hold there.

        Sizes may be extents, of other symbols: so what follows from these symbols moves over to those.
        """
        return _Atoms(self, sizes).value

    def fulfils(self, condition: Condition, sizes: Sequence[int]) -> bool:
        """Whether a condition holds where the symbols have these sizes."""
        try:
            return _Atoms(self, sizes).all_true([(condition, self.conditions[condition])], False)
        except _NoNumber:
            return False

    def _in_order(self) -> list[tuple[Condition, Template | None]]:
        """The conditions, those first that are soon looked at."""
        if len(self._ordered) != len(self.conditions):
            self._ordered = sorted(self.conditions.items(), key=lambda one: self._is_hard(one[0]))
        return self._ordered

    def _is_hard(self, condition: Condition) -> bool:
        """Whether a function has to be called to look at a condition."""
        if condition.op == "asked" or condition.right is not None:
            return True
        stack, seen = [a for m, _ in condition.left for a in m], set()
        while stack:
            number = stack.pop()
            if number not in seen:
                seen.add(number)
                atom = self.atoms[number]
                if atom.found is not None and atom.found[0] not in (max, min):
                    return True
                stack += [a for m, _ in (*atom.over, *atom.by) for a in m]
        return False


class _NoNumber(Exception):
    """A size is out of bounds, or a divisor is zero."""


class _Atoms(dict[int, int]):
    """What atoms are for given sizes; found when they are asked for."""

    def __init__(self, symbols: Symbols, sizes: Sequence[int]):
        super().__init__()
        self._symbols = symbols
        self._known: dict[Any, Any] = {}
        given = iter(sizes)
        for number, atom in enumerate(symbols.atoms):
            if atom.name:
                self[number] = next(given)

    def value(self, x: Any) -> Any:
        """What a number is."""
        kind = type(x)
        if kind is not Extent and kind is not Ratio and kind is not Word:
            return x
        found = self._known.get(x)
        if found is None:
            found = evaluated(x.terms, self) if kind is Extent else x.value(self.value)
            self._known[x] = found
        return found

    def __missing__(self, number: int) -> int:
        atom = self._symbols.atoms[number]
        if atom.found is not None:
            function, _, name = atom.found
            function = _EXTREMES.get(function, function)
            result = function(*self._symbols.templates[number].made(self.value))
            found: int = getattr(result, name) if name else result
        else:
            by = evaluated(atom.by, self)
            if by == 0:
                raise _NoNumber
            found = evaluated(atom.over, self) // by
        self[number] = found
        return found

    def all_true(
        self, conditions: Sequence[tuple[Condition, Template | None]], within: bool = True
    ) -> bool:
        """Whether the sizes are within their bounds and fulfil conditions."""
        for number, atom in enumerate(self._symbols.atoms if within else ()):
            low, high = atom.bounds
            if atom.name and (self[number] < (low or 0) or (high is not None and self[number] > high)):
                return False
        for (op, left, right, answer), template in conditions:
            if template is not None:
                if left(*template.made(self.value)) != answer:
                    return False
                continue
            a, b = (evaluated(left, self), 0) if right is None else (self.value(left), self.value(right))
            if (a == b if op == "==" else a < b) is not answer:
                return False
        return True


def _place() -> str:
    """The user's line that the Python is at now, or the package's."""
    frame = innermost = sys._getframe(1)
    while frame is not None:
        if not frame.f_globals.get("__name__", "").startswith(_PACKAGE):
            return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
        if innermost.f_globals.get("__name__", "").startswith(__package__):
            innermost = frame
        frame = frame.f_back  # type: ignore[assignment]
    return f"{innermost.f_code.co_filename}:{innermost.f_lineno}"
