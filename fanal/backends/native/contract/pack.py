"""Packing: one panel of the lane operand, made contiguous in the order in which a tile reads it.

A panel is `depth` rows of k by `width` columns. Four ways to fill it, chosen by how the operand
lies: `lanes` (columns are neighbours, perhaps in two runs a vector: copied), `inner` (k are
neighbours: transposed in registers), `any` (element by element), and `ready` (packed beforehand,
nothing to do); `lanes2` is `lanes` with every second element left out. Values are widened to the compute type here. Columns beyond the last one repeat it,
or are zero; they are never stored.
"""

from __future__ import annotations

from fanal.backends.native.contract.element import compute_bits, is_stored_as, load
from fanal.backends.native.contract.lanes import LaneRun, has_masked_loads, load_pieces
from fanal.backends.native.contract.shape import Shape
from fanal.backends.native.contract.steps import Walk
from fanal.backends.native.contract.transpose import of_scalars, transposed
from fanal.backends.native.emit import Builder, V
from fanal.core.dtypes import DType


class Packer:
    """Writes panels of one operand inside a kernel."""

    def __init__(
        self,
        b: Builder,
        shape: Shape,
        how: str,
        dtype: DType,
        base: V,
        cols: Walk,
        inner: Walk,
        count: V,
        row_bytes: V | int | None = None,
        exact: bool = False,
    ):
        """`row_bytes` is the distance of two k's in the output (a panel's, unless given);
        `exact` says that nothing may be written beyond column `count`."""
        self.b, self.shape, self.how, self.dtype, self.base = b, shape, how, dtype, base
        self.cols, self.inner, self.count, self.exact = cols, inner, count, exact
        self.row_bytes = shape.row_bytes if row_bytes is None else row_bytes

    def panel(self, first: V, start: V, depth: V, out: V) -> None:
        """Pack columns `first..` and k `start .. start+depth` to `out`."""
        if self.how.startswith("lanes"):
            self._from_lanes(first, start, depth, out)
        elif self.how == "inner":
            self._from_inner(first, start, depth, out)
        else:
            b, s = self.b, self.shape
            with b.loop(0, s.vectors) as (v,):
                place = b.at(out, v * self._vector_bytes)
                self._elements(first + v * s.lanes, start, depth, place)

    # -- columns are neighbours ---------------------------------------------------------------------

    def _from_lanes(self, first: V, start: V, depth: V, out: V) -> None:
        b, s = self.b, self.shape
        runs = [self._run(first + v * s.lanes) for v in range(s.vectors)]
        dense = runs[0].dense
        for run in runs[1:]:
            dense = dense & run.dense
        with b.if_(dense):
            starts = [b.at(self.base, run.start) for run in runs]
            with b.loop(0, depth) as (k,):
                self._copy_row(starts, start, k, out)
        with b.if_(~dense), b.loop(0, s.vectors) as (v,):
            column, place = first + v * s.lanes, b.at(out, v * self._vector_bytes)
            self._lanes_in_pieces(column, start, depth, place)

    def _lanes_in_pieces(self, first: V, start: V, depth: V, out: V) -> None:
        """One vector of columns that are neighbours in two runs, or fewer than a vector."""
        b, s = self.b, self.shape
        bits = compute_bits(s.scalar)
        stored = is_stored_as(self.dtype, s.scalar)
        if self.exact or self.spread > 1 or not stored or not has_masked_loads(b, bits):
            self._elements(first, start, depth, out)
            return
        covered, pieces = self._run(first).pieces(bits)
        with b.if_(covered), b.loop(0, depth) as (k,):
            row = b.at(self.base, self.inner.at(start + k))
            b.store(load_pieces(b, s.scalar, row, pieces), b.at(out, k * self.row_bytes))
        if self.cols.mode == "t":
            with b.if_(~covered):
                self._elements(first, start, depth, out)

    def _copy_row(self, starts: list[V], start: V, k: V, out: V) -> None:
        b = self.b
        offset = self.inner.at(start + k)
        row = b.at(out, k * self.row_bytes)
        values = [self._vector(b.at(p, offset)) for p in starts]
        for v, value in enumerate(values):
            b.store(value, b.at(row, v * self._vector_bytes))

    def _vector(self, address: V) -> V:
        """One vector of columns, `spread` elements apart."""
        b, s = self.b, self.shape
        first = load(b, self.dtype, address, s.lanes, s.scalar)
        if self.spread == 1 or s.lanes == 1:
            return first
        # The second load ends with the last lane's element: nothing beyond it is touched.
        move = (s.lanes - 1) * self.dtype.itemsize
        second = load(b, self.dtype, b.at(address, move), s.lanes, s.scalar)
        half = s.lanes // 2
        odd = range(s.lanes + 1, 2 * s.lanes, 2)
        return b.shuffle(first, second, [*range(0, 2 * half, 2), *odd])

    # -- k are neighbours ---------------------------------------------------------------------------

    def _from_inner(self, first: V, start: V, depth: V, out: V) -> None:
        b, s = self.b, self.shape
        with b.loop(0, s.vectors) as (v,):
            column = first + v * s.lanes
            place = b.at(out, v * self._vector_bytes)
            full = (column + s.lanes).le(self.count) if self.exact else b.const("i1", 1)
            with b.if_(full):
                self._inner_one_vector(column, start, depth, place)
            if self.exact:
                with b.if_(~full):
                    self._single_elements(column, start, depth, place)

    def _inner_one_vector(self, column: V, start: V, depth: V, out: V) -> None:
        """Blocks of lanes×lanes transposed in registers; what remains of k, lane by lane."""
        b, s = self.b, self.shape
        whole = depth & -s.lanes
        rows = self._addresses(column)
        with b.loop(0, whole, s.lanes) as (k,):
            if self.inner.mode == "t":
                here = self.inner.at(start + k)
                there = self.inner.at(start + k + (s.lanes - 1))
                joined = (there - here).eq((s.lanes - 1) * self.dtype.itemsize)
                with b.if_(joined):
                    self._block(rows, here, k, out)
                with b.if_(~joined):
                    self._lane_by_lane(rows, start, k, k + s.lanes, out)
            else:
                self._block(rows, self.inner.at(start + k), k, out)
        self._lane_by_lane(rows, start, whole, depth, out)

    def _addresses(self, column: V) -> list[V]:
        """Where the columns of a vector start; beyond the last one, it again."""
        b, s = self.b, self.shape
        columns = [column + i if i else column for i in range(s.lanes)]
        if not self.exact:
            columns = [self._clamped(c) for c in columns]
        return [b.at(self.base, self.cols.at(c)) for c in columns]

    def _lane_by_lane(self, rows: list[V], start: V, low: V, high: V, out: V) -> None:
        """Whole vectors, gathered."""
        b, s = self.b, self.shape
        with b.loop(low, high) as (k,):
            offset = self.inner.at(start + k)
            scalars = [load(b, self.dtype, b.at(row, offset), 1, s.scalar) for row in rows]
            b.store(of_scalars(b, scalars), b.at(out, k * self.row_bytes))

    def _block(self, rows: list[V], offset: V, k: V, out: V) -> None:
        b, s = self.b, self.shape

        def piece(row: int, column: int) -> V:
            address = b.at(rows[row], offset + column * self.dtype.itemsize)
            return load(b, self.dtype, address, s.piece, s.scalar)

        columns = transposed(b, s.lanes, compute_bits(s.scalar), piece)
        for j, value in enumerate(columns):
            b.store(value, b.at(out, (k + j) * self.row_bytes))

    # -- anything ---------------------------------------------------------------

    def _elements(self, first: V, start: V, depth: V, out: V) -> None:
        """One vector of columns that lie anywhere; where `exact`, no more than there are."""
        b, s = self.b, self.shape
        full = (first + s.lanes).le(self.count) if self.exact else b.const("i1", 1)
        with b.if_(full):
            self._lane_by_lane(self._addresses(first), start, b.i64(0), depth, out)
        if self.exact:
            with b.if_(~full):
                self._single_elements(first, start, depth, out)

    def _single_elements(self, first: V, start: V, depth: V, out: V) -> None:
        b, s = self.b, self.shape
        with b.loop(0, self.count - first) as (j,):
            column = b.at(self.base, self.cols.at(first + j))
            place = b.at(out, j * s.itemsize)
            with b.loop(0, depth) as (k,):
                value = load(b, self.dtype, b.at(column, self.inner.at(start + k)), 1, s.scalar)
                b.store(value, b.at(place, k * self.row_bytes))

    # -- helpers ------------------------------------------------------------------------------------

    @property
    def _vector_bytes(self) -> int:
        return self.shape.lanes * self.shape.itemsize

    def _run(self, first: V) -> LaneRun:
        s = self.shape
        size = self.dtype.itemsize
        return LaneRun(self.b, self.cols, first, self.count, s.lanes, size, self.spread)

    @property
    def spread(self) -> int:
        """Elements from one column to the next, where `how` is by lanes."""
        return 2 if self.how == "lanes2" else 1

    def _clamped(self, column: V) -> V:
        return self.b.select(column.lt(self.count), column, self.count - 1)
