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
from fanal.backends.native.contract.transpose import transposed
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
            self._scalars(first, self.shape.width, start, self.b.i64(0), depth, out)

    # -- columns are neighbours ---------------------------------------------------------------------

    def _from_lanes(self, first: V, start: V, depth: V, out: V) -> None:
        b, s = self.b, self.shape
        runs = [self._run(first + v * s.lanes) for v in range(s.vectors)]
        dense = runs[0].dense
        for run in runs[1:]:
            dense = dense & run.dense
        with b.if_(dense):
            starts = [b.at(self.base, run.start) for run in runs]
            self._copy(starts, start, depth, out, unroll=4)
        with b.if_(~dense), b.loop(0, s.vectors) as (v,):
            self._lanes_one_vector(first + v * s.lanes, start, depth, b.at(out, v * self._vector_bytes))

    def _lanes_one_vector(self, first: V, start: V, depth: V, out: V) -> None:
        b, s = self.b, self.shape
        some = first.lt(self.count)
        if not self.exact:
            with b.if_(~some), b.loop(0, depth) as (k,):
                b.store(b.const(s.vector, 0), b.at(out, k * self.row_bytes))
        with b.if_(some):
            run = self._run(first)
            with b.if_(run.dense):
                self._copy([b.at(self.base, run.start)], start, depth, out, unroll=1)
            with b.if_(~run.dense):
                self._lanes_in_pieces(run, first, start, depth, out)

    def _lanes_in_pieces(self, run: LaneRun, first: V, start: V, depth: V, out: V) -> None:
        b, s = self.b, self.shape
        bits = compute_bits(s.scalar)
        stored = is_stored_as(self.dtype, s.scalar)
        if self.exact or self.spread > 1 or not stored or not has_masked_loads(b, bits):
            self._scalars(first, s.lanes, start, b.i64(0), depth, out)
            return
        covered, pieces = run.pieces(bits)
        with b.if_(covered), b.loop(0, depth) as (k,):
            row = b.at(self.base, self.inner.at(start + k))
            b.store(load_pieces(b, s.scalar, row, pieces), b.at(out, k * self.row_bytes))
        if self.cols.mode == "t":
            with b.if_(~covered):
                self._scalars(first, s.lanes, start, b.i64(0), depth, out)

    def _copy(self, starts: list[V], start: V, depth: V, out: V, unroll: int) -> None:
        """Rows of whole vectors, each from its own address."""
        main = depth & -unroll if unroll > 1 else self.b.i64(0)
        parts = [(self.b.i64(0), main, unroll)] if unroll > 1 else []
        for low, high, step in (*parts, (main, depth, 1)):
            with self.b.loop(low, high, step) as (k,):
                for u in range(step):
                    self._copy_row(starts, start, k + u if u else k, out)

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
                    self._scalars(column, s.lanes, start, b.i64(0), depth, place)

    def _inner_one_vector(self, column: V, start: V, depth: V, out: V) -> None:
        """Blocks of lanes×lanes transposed in registers; what remains of k, one by one."""
        b, s = self.b, self.shape
        whole = depth & -s.lanes
        rows = [b.at(self.base, self.cols.at(self._clamped(column + i))) for i in range(s.lanes)]
        with b.loop(0, whole, s.lanes) as (k,):
            if self.inner.mode == "t":
                here = self.inner.at(start + k)
                there = self.inner.at(start + k + (s.lanes - 1))
                joined = (there - here).eq((s.lanes - 1) * self.dtype.itemsize)
                with b.if_(joined):
                    self._block(rows, here, k, out)
                with b.if_(~joined):
                    self._scalars(column, s.lanes, start, k, k + s.lanes, out)
            else:
                self._block(rows, self.inner.at(start + k), k, out)
        self._scalars(column, s.lanes, start, whole, depth, out)

    def _block(self, rows: list[V], offset: V, k: V, out: V) -> None:
        b, s = self.b, self.shape

        def piece(row: int, column: int) -> V:
            address = b.at(rows[row], offset + column * self.dtype.itemsize)
            return load(b, self.dtype, address, s.piece, s.scalar)

        columns = transposed(b, s.lanes, compute_bits(s.scalar), piece)
        for j, value in enumerate(columns):
            b.store(value, b.at(out, (k + j) * self.row_bytes))

    # -- anything, element by element ---------------------------------------------------------------

    def _scalars(self, first: V, columns: int, start: V, low: V, high: V, out: V) -> None:
        b, s = self.b, self.shape
        stop = b.i64(columns)
        if self.exact:
            left = self.count - first
            stop = b.select(left.lt(columns), left, columns)
        with b.loop(0, stop) as (j,):
            column = b.at(self.base, self.cols.at(self._clamped(first + j)))
            place = b.at(out, j * s.itemsize)
            with b.loop(low, high) as (k,):
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
