"""From finished sums to `out`: epilogue, one rounding, and a store along the lanes.

The sums of some rows by one panel lie in a small buffer in the first cache. Where a vector's columns
are neighbours in `out` (and in every extra operand that moves) whole vectors are stored; else the
vector goes through memory element by element. The epilogue is written at most twice.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from fanal.backends.native.contract.element import is_stored_as, load, narrow, stored_type, widen
from fanal.backends.native.contract.lanes import LaneRun, has_masked_loads
from fanal.backends.native.contract.shape import Shape
from fanal.backends.native.contract.steps import Walk
from fanal.backends.native.emit import Builder, V, vector
from fanal.backends.native.program import Access, Descriptor
from fanal.core.dtypes import DType


@dataclass(frozen=True, slots=True)
class Epilogue:
    """What happens to a finished sum before it is stored.

    `extras` are further operands, broadcastable to `out` (a dim of 1 or a stride of 0 repeats).
    `emit(b, acc, extras)` gets the sum and the extras as vectors of compute type and returns what
    to store; equal `key`s must emit equal text. `words` are numbers that travel in the phase's descriptor:
    then `emit` takes them, too (`bound` reads them).
    """

    key: str
    extras: tuple[Access, ...] = ()
    emit: Callable[..., V] = field(default=lambda b, acc, extras: acc)
    words: tuple[int, ...] = ()

    def bound(self, d: Descriptor) -> Epilogue:
        """The same inside of a kernel, with its numbers read from the descriptor."""
        if not self.words:
            return self
        return replace(self, emit=functools.partial(self.emit, words=[d.word() for _ in self.words]))


def words_of(epilogue: Epilogue | None) -> tuple[int, ...]:
    """What an epilogue adds to a descriptor."""
    return () if epilogue is None else epilogue.words


@dataclass(slots=True)
class Place:
    """`out` or an extra operand inside a kernel: address of the task's first element, and walks."""

    dtype: DType
    scalar: str
    base: V
    rows: Walk
    cols: Walk


class Finisher:
    """Stores rows of sums into `out` inside a kernel."""

    def __init__(
        self, b: Builder, s: Shape, out: Place, extras: Sequence[Place], epilogue: Epilogue | None
    ):
        self.b, self.s, self.out, self.extras, self.epilogue = b, s, out, extras, epilogue
        self.vector_bytes = s.lanes * s.itemsize
        # Room for one vector of every operand, to be moved element by element.
        self.room = [b.alloca("i64", s.lanes) for _ in range(1 + len(extras))]

    def rows(self, sums: V, first_row: V, row_count: V, first_col: V, col_count: V) -> None:
        """Finish rows `first_row..` of the panel at `first_col`; `sums` is [row][width]."""
        b, s = self.b, self.s
        with b.loop(0, s.vectors) as (v,):
            col = first_col + v * s.lanes
            with b.if_(col.lt(col_count)):
                self._vector(b.at(sums, v * self.vector_bytes), first_row, row_count, col, col_count)

    def in_place(self, first_col: V, col_count: V) -> tuple[V, list[V]]:
        """Whether tiles may store straight into the panel's columns, and where its vectors start.

        So it is where nothing remains to be done to a sum and the columns are neighbours.
        """
        b, s, out = self.b, self.s, self.out
        if self.epilogue is not None or not is_stored_as(out.dtype, s.scalar) or out.cols.mode in "0s":
            return b.const("i1", 0), []
        runs = [
            LaneRun(b, out.cols, first_col + v * s.lanes, col_count, s.lanes, s.itemsize)
            for v in range(s.vectors)
        ]
        dense = runs[0].dense
        for run in runs[1:]:
            dense = dense & run.dense
        return dense, [run.start for run in runs]

    def _vector(self, sums: V, first_row: V, row_count: V, col: V, col_count: V) -> None:
        b, s = self.b, self.s
        runs = [
            LaneRun(b, t.cols, col, col_count, s.lanes, t.dtype.itemsize)
            for t in (self.out, *self.extras)
        ]
        dense = runs[0].dense
        for run in runs[1:]:
            if run.walk.mode != "0":
                dense = dense & run.dense
        possible = all(r.walk.mode in "1t" or (i and r.walk.mode == "0") for i, r in enumerate(runs))
        if possible:
            with b.if_(dense), b.loop(0, row_count) as (i,):
                self._row(sums, i, first_row + i, runs, self._load_dense, self._store_dense)
        count = runs[0].count
        load: Callable[[int, Place, LaneRun, V], V]
        store: Callable[[V, LaneRun, V], None]
        if self._has_masks(runs):  # all lanes that there are are neighbours
            mask = b.iota("i64", s.lanes).lt(b.splat(count, s.lanes))
            load = functools.partial(self._load_masked, mask)
            store = functools.partial(self._store_masked, mask)
        else:
            load = functools.partial(self._gather, count)
            store = functools.partial(self._scatter, count)
        with b.if_(~dense), b.loop(0, row_count) as (i,):
            self._row(sums, i, first_row + i, runs, load, store)

    def _row(
        self,
        sums: V,
        i: V,
        row: V,
        runs: list[LaneRun],
        load_extra: Callable[[int, Place, LaneRun, V], V],
        store_out: Callable[[V, LaneRun, V], None],
    ) -> None:
        b, s = self.b, self.s
        value = b.load(s.vector, b.at(sums, i * s.row_bytes))
        if self.epilogue is not None:
            loaded = [
                load_extra(n, t, run, b.at(t.base, t.rows.at(row)))
                for n, (t, run) in enumerate(zip(self.extras, runs[1:], strict=True))
            ]
            value = self.epilogue.emit(b, value, loaded)
        store_out(value, runs[0], b.at(self.out.base, self.out.rows.at(row)))

    # -- whole vectors ------------------------------------------------------------------------------

    def _load_dense(self, n: int, t: Place, run: LaneRun, row: V) -> V:
        b, s = self.b, self.s
        if t.cols.mode == "0":
            return b.splat(load(b, t.dtype, row, 1, t.scalar), s.lanes)
        return load(b, t.dtype, b.at(row, run.start), s.lanes, t.scalar)

    def _store_dense(self, value: V, run: LaneRun, row: V) -> None:
        self.b.store(narrow(self.b, value, self.out.dtype), self.b.at(row, run.start))

    # -- the last vector of a row -------------------------------------------------------------------

    def _has_masks(self, runs: list[LaneRun]) -> bool:
        """Whether the lanes that exist can be moved by one instruction, in every operand."""
        b, s = self.b, self.s
        modes = runs[0].walk.mode == "1" and all(r.walk.mode in "01" for r in runs)
        stored = all(is_stored_as(t.dtype, t.scalar) for t in (self.out, *self.extras))
        return modes and stored and self.out.scalar == s.scalar and has_masked_loads(b, 8 * s.itemsize)

    def _load_masked(self, mask: V, n: int, t: Place, run: LaneRun, row: V) -> V:
        if t.cols.mode == "0":
            return self._load_dense(n, t, run, row)
        return self.b.masked_load(vector(t.scalar, self.s.lanes), self.b.at(row, run.start), mask)

    def _store_masked(self, mask: V, value: V, run: LaneRun, row: V) -> None:
        self.b.masked_store(value, self.b.at(row, run.start), mask)

    # -- element by element ---------------------------------------------------------------------------

    def _gather(self, count: V, n: int, t: Place, run: LaneRun, row: V) -> V:
        b, s = self.b, self.s
        if t.cols.mode == "0":
            return self._load_dense(n, t, run, row)
        room = self.room[1 + n]
        scalar = stored_type(t.dtype)
        with b.loop(0, count) as (j,):
            element = b.load(scalar, b.at(row, t.cols.at(run.first + j)))
            b.store(element, b.at(room, j * t.dtype.itemsize))
        return widen(b, b.load(vector(scalar, s.lanes), room), t.dtype, t.scalar)

    def _scatter(self, count: V, value: V, run: LaneRun, row: V) -> None:
        b, dtype = self.b, self.out.dtype
        room = self.room[0]
        b.store(narrow(b, value, dtype), room)
        with b.loop(0, count) as (j,):
            element = b.load(stored_type(dtype), b.at(room, j * dtype.itemsize))
            b.store(element, b.at(row, self.out.cols.at(run.first + j)))
