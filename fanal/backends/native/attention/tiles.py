"""Tiles of attention: the contraction engine's inner loop over operands read where they lie.

Left operands are rows a constant number of bytes apart or a run-time step apart; right operands are
panels in the first cache. What tiles compute goes on from sums that exist (`sums`), so that a chain
over all queries or keys is one chain, however they are cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from fanal.backends.native.contract.gemm import MANY_ROWS, tile_counts
from fanal.backends.native.contract.shape import Shape
from fanal.backends.native.contract.steps import Walk
from fanal.backends.native.contract.tile import Rows, accumulate
from fanal.backends.native.emit import Builder, V


class Apart(Rows):
    """Rows a constant number of bytes apart: one register, all else in the instructions."""

    def __init__(self, b: Builder, first: V, distance: int, count: int):
        self.b, self.first, self.distance, self.height = b, first, distance, count

    def at(self, offset: V) -> list[V]:
        base = self.b.opaque(self.b.at(self.first, offset))
        return [self.b.at(base, i * self.distance) for i in range(self.height)]


class Left:
    """The left operand of tiles: `count` rows, `step` bytes (a constant or a number) apart.

    `padded`: rows may be read beyond the last one, as far as a tile reaches.
    """

    def __init__(
        self, b: Builder, base: V, step: V | int, count: V, inner: Walk, padded: bool = False
    ):
        self.b, self.base, self.step, self.count = b, base, step, count
        self.inner, self.padded = inner, padded

    def rows(self, at: V, height: int, whole: bool) -> Sequence[V]:
        """Addresses of a tile's rows; where not `whole`, those beyond the last one are it again."""
        b = self.b
        if whole or self.padded:
            first = b.at(self.base, at * self.step)
            if isinstance(self.step, int):
                return Apart(b, first, self.step, height)
            return Rows(b, first, self.step, height)
        return [b.at(self.base, self.row(at + i) * self.step) for i in range(height)]

    def row(self, index: V) -> V:
        """A row's number, that of the last one where there is no such row."""
        return self.b.select(index.lt(self.count), index, self.count - 1)


class Copied:
    """A block of rows of keys or values near by: their places in memory may be far apart (a page or a
    power of two), and are read once for many panels."""

    def __init__(self, b: Builder, s: Shape, rows: int, room: int, unit: bool):
        self.b, self.s, self.unit = b, s, unit
        self.pitch = room * s.itemsize
        self.place = b.alloca("i8", (rows + 1) * self.pitch + slack(s) * s.itemsize)

    def block(self, base: V, step: V, count: V, width: V, column: V) -> None:
        """Copy `count` rows, `step` bytes apart; elements are `column` bytes apart if no neighbours."""
        b, s = self.b, self.s
        whole = width & -s.lanes if self.unit else b.i64(0)
        with b.loop(0, count) as (r,):
            row, place = b.at(base, r * step), b.at(self.place, r * self.pitch)
            with b.loop(0, whole, s.lanes) as (c,):
                at = c * s.itemsize
                b.store(b.load(s.vector, b.at(row, at)), b.at(place, at))
            with b.loop(whole, width) as (c,):
                at = c * (b.i64(s.itemsize) if self.unit else column)
                b.store(b.load(s.scalar, b.at(row, at)), b.at(place, c * s.itemsize))

    def by_rows(self, count: V) -> Left:
        """The rows as a left operand: k along them."""
        inner = Walk(self.b, "1", self.s.itemsize, self.b.i64(0), None)
        return Left(self.b, self.place, self.pitch, count, inner)

    def by_columns(self, width: V) -> Left:
        """The columns as a left operand: k along the rows."""
        inner = Walk(self.b, "s", self.s.itemsize, self.b.i64(self.pitch), None)
        return Left(self.b, self.place, self.s.itemsize, width, inner, padded=True)


class Panel:
    """The right operand: k by columns, in memory near by."""

    def __init__(self, b: Builder, s: Shape, place: V, row_bytes: int):
        self.b, self.s, self.place, self.row_bytes = b, s, place, row_bytes

    def columns(self, place: V, k: V) -> list[V]:
        size = self.s.lanes * self.s.itemsize
        return [
            self.b.load(self.s.vector, self.b.at(place, v * size), size)
            for v in range(self.s.vectors)
        ]


def sums_of(
    b: Builder, s: Shape, rows: Sequence[V], inner: Walk, depth: V, panel: Panel,
    sums: Sequence[V] = (),
) -> list[V]:  # fmt: skip
    """One tile's chains over `depth`, row after row, going on from `sums`."""
    return accumulate(
        b, s, rows, inner, b.i64(0), depth, panel.columns, panel.place, panel.row_bytes, sums
    )


def over_tiles(
    b: Builder, s: Shape, count: V, tile: Callable[[int, V, bool], None]
) -> None:
    """`tile(height, first row, whole)` for tiles that cover `count` rows; of one that is not whole,
    rows may lie beyond the last."""
    regular = s.rows > MANY_ROWS and s.rows != s.few_rows
    many, few = tile_counts(b, s, count, regular)
    with b.loop(0, many) as (t,):
        tile(s.rows, t * s.rows, regular)
    if s.rows == s.few_rows:
        return
    with b.loop(0, few) as (t,):
        tile(s.few_rows, many * s.rows + t * s.few_rows, False)


def narrower(s: Shape) -> Shape:
    """The tile of a single vector, for what is left of a row of panels."""
    return replace(s, vectors=1)


def for_columns(b: Builder, s: Shape, columns: V, body: Callable[[Shape], None]) -> None:
    """`body` with the tile that is wide enough: one vector's where that holds all columns."""
    if s.vectors == 1:
        body(s)
        return
    few = columns.le(s.lanes)
    with b.if_(few):
        body(narrower(s))
    with b.if_(~few):
        body(s)


def slack(s: Shape) -> int:
    """Rows that tiles may reach beyond the last one."""
    return max(s.rows, s.lanes)
