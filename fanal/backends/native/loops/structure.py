"""From expressions over a domain to a canonical kernel: collapsed dimensions, numbered operands.

The domain's dimensions are parallel or reduced. Extents of 1 vanish, neighbours that every operand
walks as one are merged, parallel dimensions are ordered by how the output lies in memory. What is
left of the extents and strides goes into the descriptor; the rest is the kernel's key.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fanal.backends.native.loops.expression import (
    Const,
    Expression,
    Gather,
    Load,
    Op,
    Ramp,
    Random,
)
from fanal.backends.native.program import Access
from fanal.core.dtypes import DType
from fanal.core.symbols import Word, is_symbolic

Shape = tuple[int, ...]


def merged(extents: list[int], rows: list[list[int]]) -> tuple[list[int], list[list[int]]]:
    """Drop extents of 1 and merge neighbours that all rows of strides walk as one."""
    keep = [d for d, n in enumerate(extents) if n != 1]
    extents = [extents[d] for d in keep]
    rows = [[r[d] for d in keep] for r in rows]
    d = len(extents) - 2
    while d >= 0:
        n = extents[d + 1]
        if all(r[d] == r[d + 1] * n for r in rows):
            extents[d : d + 2] = [extents[d] * n]
            for r in rows:
                r[d : d + 2] = [r[d + 1]]
        d -= 1
    return extents, rows


def memory_order(extents: Shape, strides: Shape) -> list[int]:
    """Dimensions from the outermost to the innermost by stride (stable for equal ones)."""
    return sorted(range(len(extents)), key=lambda d: (-abs(strides[d]), d))


def stride_class(stride: int) -> str:
    """How an operand moves along the vector dimension: not, by one, or by a run-time number."""
    return {0: "0", 1: "1"}.get(stride, "n")


def constant_bits(value: bool | int | float, dtype: DType) -> int:
    """The bits of a number in the type that kernels compute a dtype in."""
    if dtype.kind != "f":
        return int(value)
    if dtype.bits == 16:
        value = float(np.array(value).astype(dtype.numpy))
    form, integer = ("<d", "<q") if dtype.bits == 64 else ("<f", "<i")
    try:
        packed = struct.pack(form, value)
    except OverflowError:
        packed = struct.pack(form, math.copysign(math.inf, value))
    return int(struct.unpack(integer, packed)[0])


@dataclass(slots=True)
class Walk:
    """One thing that moves with the index: an operand's strides (in elements), or a ramp's."""

    strides: list[int]
    access: Access | None = None
    start: int = 0


@dataclass(slots=True)
class Program:
    """The straight-line code at one point: instructions in order, each a tuple.

    ("load", walk, dtype) ("scalar", walk, dtype) ("const", dtype, 0 or 1) ("literal", dtype, word)
    ("ramp", walk, dtype)
    ("random", key operand, position)
    ("place", (index, extent word, step word)…) ("gather", walk, dtype, place)
    ("op", name, operand dtype, result dtype, arguments…)
    Arguments are positions of earlier instructions; names in front of ":" are values that come from
    outside (a reduction's result).
    """

    instructions: list[tuple[Any, ...]] = field(default_factory=list)
    walks: list[Walk] = field(default_factory=list)
    words: list[int] = field(default_factory=list)
    _numbers: dict[object, int] = field(default_factory=dict)
    _places: dict[object, int] = field(default_factory=dict)
    _literals: dict[tuple[str, Any], int] = field(default_factory=dict)

    def _add(self, instruction: tuple[Any, ...]) -> int:
        number = self._numbers.get(instruction)
        if number is None:
            number = self._numbers[instruction] = len(self.instructions)
            self.instructions.append(instruction)
        return number

    def walk(self, shape: Shape, strides: Shape, access: Access | None, start: int = 0) -> int:
        """The number of a walk over the domain; one that moves like an earlier one is that one."""
        # A stride that is never taken must not make a difference.
        taken = tuple([0 if n == 1 else s for n, s in zip(shape, strides, strict=True)])
        place = None if access is None else (access.buffer, access.offset, access.dtype)
        key = (place, taken, start)
        number = self._places.get(key)
        if number is None:
            number = self._places[key] = len(self.walks)
            self.walks.append(Walk(list(taken), access, start))
        return number

    def add(self, e: Expression, outside: dict[int, int], memo: dict[int, int]) -> int:
        """Instructions for an expression; returns the number of its value.

        `outside` maps buffers that hold values of this kernel to their reduction's number.
        """
        if id(e) in memo:
            return memo[id(e)]
        if isinstance(e, Load) and e.access.buffer in outside:
            number = self._add(("outside", outside[e.access.buffer]))
        elif isinstance(e, Load):
            walk = self.walk(e.shape, e.access.strides, e.access)
            kind = "scalar" if e.scalar else "load"
            number = self._add((kind, walk, e.dtype.name))
        elif isinstance(e, Const):
            number = self._constant(e)
        elif isinstance(e, Ramp):
            number = self._add(("ramp", self.walk(e.shape, e.strides, None, e.start), e.dtype.name))
        elif isinstance(e, Random):
            position = self.add(e.position, outside, memo)
            key = self.walk(e.shape, (0,) * len(e.shape), e.key)
            number = self._add(("random", key, position))
        elif isinstance(e, Gather):
            number = self._gather(e, outside, memo)
        elif isinstance(e, Op):
            args = [self.add(a, outside, memo) for a in e.args]
            number = self._add(("op", e.name, e.operand.name, e.dtype.name, *args))
        else:
            raise TypeError(type(e))
        memo[id(e)] = number
        return number

    def _constant(self, e: Const) -> int:
        """0 and 1 are part of the code; other numbers (a row's length, say) are words, so that
        another number is no other kernel."""
        symbolic = is_symbolic(e.value)
        negative_zero = isinstance(e.value, float) and not symbolic and math.copysign(1.0, e.value) < 0
        if e.value in (0, 1) and not negative_zero:
            return self._add(("const", e.dtype.name, str(int(e.value))))
        bits: Any = constant_bits(e.value, e.dtype) if not symbolic else Word(constant_bits, e.value, e.dtype)
        key: tuple[str, Any] = (e.dtype.name, e.value if symbolic else bits)
        if key not in self._literals:
            self._literals[key] = self._add(("literal", e.dtype.name, len(self.words)))
            self.words.append(bits)
        return self._literals[key]

    def _gather(self, e: Gather, outside: dict[int, int], memo: dict[int, int]) -> int:
        table = Access(
            e.table.buffer, e.dtype, e.shape, e.strides,
            e.table.offset + e.offset * e.dtype.itemsize,
        )  # fmt: skip
        indices = []
        for index, extent, step in zip(e.indices, e.extents, e.steps, strict=True):
            value = self.add(index, outside, memo)
            indices.append((value, len(self.words), len(self.words) + 1))
            self.words += [extent, step]
        place = self._add(("place", *indices))
        return self._add(("gather", self.walk(e.shape, e.strides, table), e.dtype.name, place))

    @property
    def operands(self) -> list[int]:
        """Numbers of the walks that are memory operands, in order."""
        return [i for i, w in enumerate(self.walks) if w.access is not None]

    def written(self, walks: Sequence[int]) -> list[Access] | None:
        """The operands that stores go to; None where memory is read and written, or it may fail."""
        targets = self.changed(walks)
        if targets is None:
            return None
        read = {
            a.buffer
            for i in self.instructions
            if i[0] in ("load", "scalar", "random", "gather") and (a := self.walks[i[1]].access)
        }
        return None if read & {a.buffer for a in targets} else targets

    def changed(self, walks: Sequence[int]) -> list[Access] | None:
        """The operands that stores go to, be they also read; None where it may fail."""
        targets = [a for n in walks if (a := self.walks[n].access) is not None]
        return None if self.may_report else targets

    @property
    def may_report(self) -> bool:
        """Whether an instruction can write the status (its lanes must all be real elements)."""
        divides = ("floor_div", "trunc_div", "remainder", "fmod")
        return any(
            i[0] == "place" or (i[0] == "op" and i[1] in divides and "float" not in str(i[2]))
            for i in self.instructions
        )
