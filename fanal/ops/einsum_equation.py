"""The equations of einsum: from text or sublists to labels for every dimension.

Labels are letters; the dimensions under an ellipsis are numbered from the right, -1 being the last,
so that operands with fewer of them broadcast.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fanal.core.errors import message

Label = str | int
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Equation:
    """A label for each dimension of each operand, and of the output."""

    inputs: tuple[tuple[Label, ...], ...]
    output: tuple[Label, ...]


def _error(what: str, got: object, expected: str = "", hint: str = "") -> RuntimeError:
    return RuntimeError(message("einsum", what, got, expected, hint))


def parse(equation: str, ranks: Sequence[int]) -> Equation:
    """Labels for operands of the given numbers of dimensions; RuntimeError where they don't fit."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(ranks):
        raise _error(
            "more operands were given than are in the equation" if len(ranks) > len(parts)
            else "fewer operands were given than are in the equation",
            f"{len(ranks)} operands and {equation!r}", f"{len(parts)} operands",
        )  # fmt: skip
    inputs = tuple(
        _labels(part, rank, number, equation)
        for number, (part, rank) in enumerate(zip(parts, ranks, strict=True))
    )
    hidden = max((-x for labels in inputs for x in labels if isinstance(x, int)), default=0)
    ellipsis = tuple(range(-hidden, 0))
    counts = Counter(x for labels in inputs for x in labels)
    if not arrow:
        once = sorted(x for x, n in counts.items() if isinstance(x, str) and n == 1)
        return Equation(inputs, (*ellipsis, *once))
    before, dots, after = right.partition("...")
    output: tuple[Label, ...] = (*before, *(ellipsis if dots else ()), *after)
    for label in (*before, *after):
        if label not in _LETTERS:
            raise _error(f"invalid label {label!r} in the output", repr(equation), "letters")
        if output.count(label) > 1:
            raise _error(f"label {label!r} appears more than once in the output", repr(equation))
        if label not in counts:
            raise _error(
                f"output label {label!r} does not appear in any operand", repr(equation)
            )
    return Equation(inputs, output)


def _labels(part: str, rank: int, number: int, equation: str) -> tuple[Label, ...]:
    before, dots, after = part.partition("...")
    for letter in before + after:
        if letter == ".":
            raise _error(f"a lone '.' in operand {number}", repr(equation), "at most one '...'")
        if letter not in _LETTERS:
            raise _error(f"invalid label {letter!r} in operand {number}", repr(equation), "letters")
    covered = rank - len(before) - len(after)
    if covered < 0 or (covered and not dots):
        raise _error(
            f"the number of labels is not that of operand {number}'s dimensions",
            f"{part!r} for {rank} dimensions", f"{rank} labels" if not dots else "",
            "" if dots else "'...' for dimensions that are not named",
        )
    return (*before, *range(-covered, 0), *after)


def parse_sublists(args: Sequence[Any]) -> tuple[str, list[Any]]:
    """`(x, [0, 1], y, [1, 2], [0, 2])` as an equation and its operands."""
    operands, parts = list(args[:-1:2]), list(args[1::2])
    output = args[-1] if len(args) % 2 else None
    text = ",".join(_letters(p) for p in parts)
    return (text if output is None else f"{text}->{_letters(output)}"), operands


def _letters(sublist: Any) -> str:
    if not isinstance(sublist, list | tuple):
        raise ValueError(
            message(
                "einsum", "not a list of labels", type(sublist).__name__,
                "operands and lists of numbers in turn", "einsum(x, [0, 1], y, [1, 2], [0, 2])",
            )
        )
    letters = []
    for label in sublist:
        if label is Ellipsis:
            letters.append("...")
        elif isinstance(label, int) and 0 <= label < len(_LETTERS):
            letters.append(_LETTERS[label])
        else:
            raise ValueError(message("einsum", "not a label", label, "numbers from 0 to 51, or ..."))
    return "".join(letters)
