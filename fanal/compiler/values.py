"""Numbers that Python asked for, and what became of them, as it is done again without Python.

A value is a function of a call's tensors and of the values before it. A decision is what Python made of
values in the end: the way that it goes from there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fanal.tensor.layout import Layout
from fanal.tensor.tensor import Tensor, new_tensor

Value = Callable[[Sequence[Any], Sequence[Any]], Any]


@dataclass(frozen=True, slots=True)
class Slot:
    """The value with a number."""

    number: int


def asked(index: int, offset: int, layout: Layout, like: Layout, read: Any) -> Value:
    """The only element of a tensor so many bytes behind the beginning of one of the call's, which has the
    layout `like`."""
    if offset == 0 and like.numel == 1 and like.dtype is layout.dtype:
        return lambda tensors, values: read(tensors[index])

    def value(tensors: Sequence[Any], values: Sequence[Any]) -> Any:
        t = tensors[index]
        return read(new_tensor(t._storage, layout, t._ptr + offset))

    return value


def asked_of(t: Tensor, read: Any) -> Value:
    """The only element of a tensor from outside."""
    return lambda tensors, values: read(t)


def computed(function: Any, operands: Sequence[Any]) -> Value:
    """A function of values and of plain numbers."""
    if len(operands) == 1 and isinstance(operands[0], Slot):
        number = operands[0].number
        return lambda tensors, values: function(values[number])
    if len(operands) == 2 and isinstance(operands[0], Slot) and not isinstance(operands[1], Slot):
        number, other = operands[0].number, operands[1]
        return lambda tensors, values: function(values[number], other)
    places = [(x.number, None) if isinstance(x, Slot) else (None, x) for x in operands]

    def value(tensors: Sequence[Any], values: Sequence[Any]) -> Any:
        return function(*[x if number is None else values[number] for number, x in places])

    return value


def exact(x: Any) -> Any:
    """A number as it is: all of it decides."""
    return x


@functools.cache
def kind_of(function: Any) -> Any:
    """What kind of thing a function gives: the name of its type, or its error."""

    def kind(*operands: Any) -> Any:
        try:
            return type(function(*operands)).__name__
        except Exception as error:
            return failed(error)

    return kind


def way(x: Any) -> Any:
    """What tells two outcomes of a decision apart."""
    kind = type(x)
    if kind is bool or kind is int:
        return x
    return (kind, x.hex()) if kind is float else (kind, repr(x))


def failed(error: Exception) -> Any:
    """The same of a decision that ended with an error."""
    return (type(error), str(error))


class Decision:
    """What Python made of values. `any_float`: every other float is another way."""

    __slots__ = ("any_float", "value")

    def __init__(self, function: Any, operands: Sequence[Any], found: Any):
        self.value = computed(function, operands)
        while type(found) is list and found:
            found = found[0]
        self.any_float = type(found) is float

    def of(self, values: Sequence[Any]) -> Any:
        """The way that values lead."""
        try:
            found = self.value((), values)
        except Exception as error:
            return failed(error)
        return found if found is True or found is False else way(found)
