"""The row operand as tiles read it: where it lies, or copied into a buffer near by.

A tile broadcasts one value of A a row and k. Where A is used by several panels, a block of its rows is
copied first, in a form in which every address is one register and a constant: many rows would need more
registers for addresses than there are, and rows a power of two apart share few sets of the first cache.
Rows whose k are neighbours are copied as they are (`rows`), others packed k by k (`lanes`, `any`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fanal.backends.native.contract.element import load
from fanal.backends.native.contract.lanes import LaneRun
from fanal.backends.native.contract.pack import Packer
from fanal.backends.native.contract.shape import KC, Shape, rows_max
from fanal.backends.native.contract.steps import Walk
from fanal.backends.native.emit import Builder, V
from fanal.core.dtypes import DType

# Bytes between two rows of the buffer: one line more than a block of k, so that the rows of a tile fall
# into different sets of the first cache.
LINE = 64


class Constant:
    """A walk along k inside of the buffer: a constant step from the block's first k."""

    mode = "s"

    def __init__(self, b: Builder, step: int):
        self.b, self.step = b, b.i64(step)

    def at(self, index: V) -> V:
        return self.b.i64(0)


class Copied:
    """A block of rows of A, copied before its tiles run."""

    def __init__(
        self, b: Builder, s: Shape, how: str, dtype: DType, first: Walk, inner: Walk, rows: V
    ):
        self.b, self.s, self.how, self.dtype = b, s, how, dtype
        self.first, self.inner, self.count = first, inner, rows
        if how == "lanes" and first.mode == "s":  # a step that is known to be one element
            self.first = Walk(b, "1", dtype.itemsize, first.step, None)
        tiles = -(-rows_max(s) // s.rows) + 1
        if how == "rows":
            self.row_bytes = KC * s.itemsize + LINE
            self.tile_bytes = s.rows * self.row_bytes
            self.walk = Constant(b, s.itemsize)
        else:
            self.row_bytes = s.itemsize
            self.vectors = -(-s.rows // s.lanes)  # of one k
            self.k_bytes = self.vectors * s.lanes * s.itemsize
            self.tile_bytes = KC * self.k_bytes
            self.walk = Constant(b, self.k_bytes)
        self.buffer = b.alloca("i8", tiles * self.tile_bytes)
        # Of tiles whose rows are neighbours: where their vectors start, and where they go.
        near = how == "lanes" and self.first.mode in "1t"
        self.places = b.alloca("i64", (tiles + 1) * (self.vectors + 1)) if near else None

    def block(self, base: V, first_row: V, rows: V, start: V, depth: V) -> None:
        """Copy the block of k of some rows."""
        b, s = self.b, self.s
        if self.how == "rows":
            with b.loop(0, rows) as (r,):
                self._row(b.at(base, self.first.at(first_row + r)), start, depth, r)
            # Tiles may reach beyond the last row: that is it again.
            last = b.at(self.buffer, (rows - 1) * self.row_bytes)
            beyond = (rows + (s.rows - 1)).udiv(s.rows) * s.rows - rows
            beyond = b.select(beyond.lt(s.few_rows), beyond, s.few_rows)
            with b.loop(0, beyond) as (r,):
                place = b.at(self.buffer, (rows + r) * self.row_bytes)
                with b.loop(0, depth, s.lanes) as (k,):
                    at = k * s.itemsize
                    b.store(
                        b.load(s.vector, b.at(last, at), s.itemsize), b.at(place, at), s.itemsize
                    )
            return
        self._tiles(base, first_row, rows, start, depth)

    def _tiles(self, base: V, first_row: V, rows: V, start: V, depth: V) -> None:
        """Tiles whose rows are neighbours side by side, k by k: so memory is read in its order, as it is
        read fastest. The others one by one."""
        b, s = self.b, self.s
        one = replace(s, vectors=self.vectors)
        packer = Packer(
            b, one, self.how, self.dtype, base, self.first, self.inner, self.count,
            row_bytes=self.k_bytes,
        )  # fmt: skip
        tiles = (rows + (s.rows - 1)).udiv(s.rows)
        if self.places is None:
            with b.loop(0, tiles) as (t,):
                packer.panel(
                    first_row + t * s.rows, start, depth, b.at(self.buffer, t * self.tile_bytes)
                )
            return
        sort = b.loop(0, tiles, 1, [b.i64(0)])
        with sort as (t, found):
            row, tile = first_row + t * s.rows, t * self.tile_bytes
            runs = [
                LaneRun(b, self.first, row + v * s.lanes, self.count, s.lanes, self.dtype.itemsize)
                for v in range(self.vectors)
            ]
            dense = runs[0].dense
            for run in runs[1:]:
                dense = dense & run.dense
            for v, run in enumerate(runs):
                b.store(run.start, b.at(self.places, found * (self.vectors + 1) + v, "i64"))
            b.store(tile, b.at(self.places, found * (self.vectors + 1) + self.vectors, "i64"))
            with b.if_(~dense):
                packer.panel(row, start, depth, b.at(self.buffer, tile))
            sort.next(b.select(dense, found + 1, found))
        with b.loop(0, depth) as (k,):
            line, place = b.at(base, self.inner.at(start + k)), b.at(self.buffer, k * self.k_bytes)
            with b.loop(0, sort.results[0]) as (n,):
                self._copy_tile(line, place, n)

    def _copy_tile(self, line: V, place: V, n: V) -> None:
        """One k of a tile."""
        b, s = self.b, self.s
        assert self.places is not None
        *starts, tile = (
            b.load("i64", b.at(self.places, n * (self.vectors + 1) + v, "i64"))
            for v in range(self.vectors + 1)
        )
        for v, at in enumerate(starts):
            value = load(b, self.dtype, b.at(line, at), s.lanes, s.scalar)
            b.store(value, b.at(place, tile + v * s.lanes * s.itemsize))

    def _row(self, row: V, start: V, depth: V, r: V) -> None:
        """One row's block of k: vectors, then what is left."""
        b, s = self.b, self.s
        place = b.at(self.buffer, r * self.row_bytes)
        whole = depth & -s.lanes
        with b.loop(0, whole, s.lanes) as (k,):
            here = self.inner.at(start + k)
            to = b.at(place, k * s.itemsize)
            if self.inner.mode == "t":
                there = self.inner.at(start + k + (s.lanes - 1))
                joined = (there - here).eq((s.lanes - 1) * self.dtype.itemsize)
                with b.if_(joined):
                    self._vector(b.at(row, here), to)
                with b.if_(~joined):
                    self._elements(row, start, k, k + s.lanes, place)
            else:
                self._vector(b.at(row, here), to)
        self._elements(row, start, whole, depth, place)

    def _vector(self, address: V, to: V) -> None:
        b, s = self.b, self.s
        b.store(load(b, self.dtype, address, s.lanes, s.scalar), to)

    def _elements(self, row: V, start: V, low: V, high: V, place: V) -> None:
        b, s = self.b, self.s
        with b.loop(low, high) as (k,):
            value = load(b, self.dtype, b.at(row, self.inner.at(start + k)), 1, s.scalar)
            b.store(value, b.at(place, k * s.itemsize))

    def pointers(self, at: V, height: int) -> Sequence[V]:
        """Addresses of the rows of the tile at row `at` of the block, at its first k."""
        b, s = self.b, self.s
        if self.how == "rows":
            tile = b.at(self.buffer, at * self.row_bytes)
        else:
            rest = at.urem(s.rows)
            tile = b.at(self.buffer, at.udiv(s.rows) * self.tile_bytes + rest * s.itemsize)
        return [b.at(tile, i * self.row_bytes) for i in range(height)]
