"""What kernels along one dimension share: the dimension apart, the others collapsed to rows.

A *line* is the elements along the dimension at one index of the others. Lines are numbered row by
row; consecutive ones may be taken together as the lanes of a vector.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.loops.elementwise import decode
from fanal.backends.native.loops.structure import merged
from fanal.backends.native.program import Access, Descriptor


@dataclass(slots=True)
class Lines:
    """Extents and strides of lines, one row of strides an operand; the last extent is `columns`."""

    length: int
    steps: list[int]  # each operand's stride along the dimension
    extents: list[int]
    rows: list[list[int]]

    @property
    def count(self) -> int:
        return math.prod(self.extents)

    @property
    def rank(self) -> int:
        return len(self.extents)

    def words(self) -> list[int]:
        """length, steps, extents, strides: what `read` reads."""
        return [self.length, *self.steps, *self.extents, *(s for r in self.rows for s in r)]


def lines_of(operands: list[Access], dim: int) -> Lines:
    """Lines along `dim` of operands of one shape, ordered by the first operand's memory."""
    shape = operands[0].shape
    others = [d for d in range(len(shape)) if d != dim]
    others.sort(key=lambda d: (-abs(operands[0].strides[d]), d))
    extents, rows = merged(
        [shape[d] for d in others], [[a.strides[d] for d in others] for a in operands]
    )
    if not extents:
        extents, rows = [1], [[0] for _ in operands]
    return Lines(shape[dim], [a.strides[dim] for a in operands], extents, rows)


@dataclass(slots=True)
class LineWords:
    """The same numbers inside a kernel."""

    length: V
    steps: list[V]
    extents: list[V]
    rows: list[list[V]]

    def offsets(self, b: Builder, line: V) -> list[V]:
        """Element offset of each operand at the start of a line."""
        index = decode(b, line, self.extents[1:])
        found = []
        for row in self.rows:
            total = b.i64(0)
            for i, s in zip(index, row, strict=True):
                total = total + i * s
            found.append(total)
        return found


def read(d: Descriptor, operands: int, rank: int) -> LineWords:
    """Read what `Lines.words` wrote."""
    length = d.word()
    steps = [d.word() for _ in range(operands)]
    extents = [d.word() for _ in range(rank)]
    rows = [[d.word() for _ in range(rank)] for _ in range(operands)]
    return LineWords(length, steps, extents, rows)
