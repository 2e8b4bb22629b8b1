"""Numbers that follow from symbols: they compute as numbers do, and say for which sizes what was answered
is true."""

from __future__ import annotations

import math
import operator
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from fanal.core.symbols import (
    Extent,
    Symbols,
    asked,
    chosen,
    decided,
    is_symbolic,
    largest,
    least,
    real,
    size,
    slice_bounds,
)

SIZES = [2, 3, 5, 8, 16, 17, 64, 100, 1000]


def _two() -> tuple[Symbols, Any, Any]:
    symbols = Symbols()
    return symbols, symbols.symbol(32), symbols.symbol(48)


def test_equal_polynomials_are_one_object() -> None:
    symbols, a, b = _two()
    assert a * 64 // 64 is a
    assert (a + b) * (a - b) is a * a - b * b
    assert (a * b * 6) // (b * 3) is a * 2
    assert (a * 64 + 5) // 8 is a * 8
    assert a - a == 0 and type(a - a) is int
    assert not symbols.fixed


def test_to_python_they_are_numbers() -> None:
    symbols, a, _ = _two()
    assert isinstance(a, int) and isinstance(1 / a, float) and type(a) is Extent
    assert math.prod((a, 2, a)) is a * a * 2 and sum([a, a, 1]) is a * 2 + 1
    assert max(a, 16) is a and sorted([a, 7, 100]) == [7, a, 100]
    assert divmod(a, 5) == (6, 2) and a % 16 == 0 and -a < 0 and abs(-a) is a and a << 2 is a * 4
    assert not symbols.fixed
    assert list(range(a))[-1] == 31 and [0] * a == [0] * 32 and "x" * a == "x" * 32
    assert symbols.fixed and symbols.pinned() == [a]
    for look_up in (lambda n: {32: 1}[n], lambda n: {n: 1}[32], lambda n: {"32": 1}[f"{n}"], lambda n: [1][n - 32]):
        symbols, a, _ = _two()
        assert look_up(a) == 1 and symbols.pinned() == [a]
    assert math.sqrt(a) == math.sqrt(32) and f"{a:d}" == "32" and int(a) == 32 and a.bit_length() == 6


OPERATIONS: list[Callable[[Any, Any], Any]] = [
    operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod, largest, least,
    lambda x, y: x if x < y else y + 1, lambda x, y: x * 2 if x == y else y, max, min,
    lambda x, y: -(-x // (y * y + 1)), lambda x, y: x / (y * y + 1), lambda x, y: size(x) + real(y) * 0.5,
    lambda x, y: chosen(lambda u, v: abs(int(u)) % 7 + abs(int(v)) % 3 + 1, x, y),
    lambda x, y: 5 if asked(lambda u, v: (u * 7 + v) % 3 < 1, x, y) else x,
]  # fmt: skip


def test_other_sizes_give_what_numbers_give() -> None:
    """Random programs: where the conditions hold, the values are those of the program run on numbers."""
    served = 0
    for seed in range(300):
        source = random.Random(seed)
        steps = [
            (source.choice(OPERATIONS), source.random(), source.random()) for _ in range(source.randrange(1, 8))
        ]

        def run(a: Any, b: Any, steps: Any = steps) -> list[Any]:
            known = [a, b, 1, 3, 16]
            for operation, i, j in steps:
                try:
                    known.append(operation(known[int(i * len(known))], known[int(j * len(known))]))
                except ZeroDivisionError:
                    known.append(11)
            return known

        symbols, a, b = _two()
        found = run(a, b)
        for _ in range(20):
            sizes = source.choice(SIZES), source.choice(SIZES)
            value = symbols.values(sizes)
            if value is None:
                continue
            served += 1
            assert [value(x) for x in found] == run(*sizes), (seed, sizes)
        value = symbols.values((32, 48))
        assert value is not None and [value(x) for x in found] == run(32, 48)
    assert served > 1500


def test_what_is_always_true_is_no_condition() -> None:
    symbols, a, b = _two()
    assert a > 0 and a * b + 1 != 0 and a + b >= 4 and -a < 0 and a * 3 != 0
    assert -(-a // 8) >= 1 and largest(1, -(-a // 8)) is -(-a // 8)
    assert not symbols.conditions
    assert a > 16 and len(symbols.conditions) == 1
    assert symbols.values((16, 2)) is None and symbols.values((17, 2)) is not None
    assert symbols.values((1, 2)) is None  # symbols are at least 2


def test_bounds_of_a_symbol() -> None:
    symbols = Symbols()
    n = symbols.symbol(32, 8, 64)
    assert n >= 8 and n <= 64 and not symbols.conditions
    assert symbols.values((65,)) is None and symbols.values((7,)) is None and symbols.values((64,)) is not None


@dataclass(frozen=True)
class _Cut:
    blocks: int
    rest: str = "as it is"


def test_decisions_are_made_anew_for_each_size() -> None:
    symbols, a, _ = _two()

    def cut(n: int, way: tuple[int, ...]) -> _Cut:
        return _Cut(3 if n > 40 else 2)

    made = decided(cut, a, (a * 2, 7), numbers=["blocks"])
    assert made.blocks == 2 and made.rest == "as it is"
    symbols.conditions.clear()
    value = symbols.values((50, 2))
    assert value is not None and value(made.blocks * 10) == 30
    assert chosen(lambda n: n // 2, 9) == 4 and not is_symbolic(asked(lambda n: n > 3, a))
    assert symbols.values((3, 2)) is None


@pytest.mark.parametrize(
    "bounds", [(None, None), (1, None), (None, -1), (-3, None), (5, 100), (-100, 4), (0, 0), (7, 3)]
)
def test_slices(bounds: tuple[int | None, int | None]) -> None:
    for step in (None, 2):
        s = slice(*bounds, step)
        symbols = Symbols()
        found = slice_bounds(s, symbols.symbol(32))
        for n in (2, 3, 5, 32, 200):
            value = symbols.values((n,))
            if value is not None:
                start, stop, jump = map(value, found)
                assert list(range(start, max(start, stop), jump)) == list(range(*s.indices(n)))
