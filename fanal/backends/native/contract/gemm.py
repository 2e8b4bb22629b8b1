"""The contraction kernel: panels of B in the first cache, tiles of rows over them.

A task takes a few *units*; a unit is a block of rows by a few panels of columns of one batch. For
every block of KC k's and every panel: the panel is packed (or was), all tiles of rows run over it,
and their block sums are added to running totals near by; after the last block the totals are
finished (`finish.py`), or were stored where nothing remains to be done. All numbers are run-time words: the kernel depends on dtypes,
step classes, the way of packing and the epilogue only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fanal.backends.native.contract.element import is_stored_as
from fanal.backends.native.contract.finish import Epilogue, Finisher, Place, words_of
from fanal.backends.native.contract.left import Copied
from fanal.backends.native.contract.right import STREAMED, right_side
from fanal.backends.native.contract.shape import KC, Shape, rows_max
from fanal.backends.native.contract.steps import Step, Walk
from fanal.backends.native.contract.tile import Rows
from fanal.backends.native.emit import Builder, V
from fanal.backends.native.program import Access, Descriptor, Kernel, ProgramBuilder
from fanal.core.dtypes import DType
from fanal.core.symbols import largest

OUT = 2
MANY_ROWS = 8
LINE = 64  # bytes of a cache line
# Ways of reading B that gain by staying with a panel through all of k.
_PANEL_BY_PANEL = ("turned", "across", "direct", *STREAMED)


@dataclass(frozen=True, slots=True)
class Side:
    """An operand as the kernel meets it: its memory, its steps along two axes, and per batch loop.

    The axes are (rows, inner) for A, (inner, cols) for B and (rows, cols) for `out` and the extras.
    """

    access: Access
    first: Step
    second: Step
    batch: tuple[int, int] = (0, 0)

    @property
    def key(self) -> str:
        return f"{self.access.dtype.name}:{self.first.mode}{self.second.mode}"


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a launch tells the kernel: extents, and how the work is cut."""

    batch_inner: int
    units: int
    units_per_task: int
    rows: int
    cols: int
    inner: int
    block_rows: int
    block_panels: int

    def totals_bytes(self, s: Shape, how: str) -> int:
        """Memory for the running totals of all units; 0 where they fit on the stack."""
        if self.inner <= KC or self.block_panels == 1 or how in _PANEL_BY_PANEL:
            return 0
        return self.units * self.block_panels * self.panel_totals(s)

    def panel_totals(self, s: Shape) -> int:
        """Bytes of the totals of one panel: its rows, and those that tiles may run over."""
        return (self.block_rows + s.rows + 1) * s.row_bytes

    def words(self, s: Shape) -> list[int]:
        row_blocks = largest(1, -(-self.rows // self.block_rows))
        col_blocks = largest(1, -(-(-(-self.cols // s.width)) // self.block_panels))
        return [
            self.units, self.units_per_task, col_blocks, row_blocks, self.batch_inner,
            self.rows, self.cols, self.inner, self.block_rows, self.block_panels,
        ]  # fmt: skip

    @property
    def tasks(self) -> int:
        return -(-self.units // self.units_per_task)


def add_phase(
    p: ProgramBuilder,
    s: Shape,
    how: str,
    sides: Sequence[Side],
    numbers: Numbers,
    epilogue: Epilogue | None,
    left: str = "",
) -> None:
    """Append the phase of one contraction; `sides` are A, B, `out` and the epilogue's extras.

    `left`: how blocks of A are copied first ("": they are read where they lie).
    """
    room = numbers.totals_bytes(s, how)
    totals = Access(p.temp(room), sides[0].access.dtype, (), ()) if room else sides[OUT].access
    operands = [*(side.access for side in sides), totals]
    words = [*numbers.words(s), numbers.panel_totals(s) if room else 0]
    for side in sides:
        words += side.batch
        for step in (side.first, side.second):
            words.append(step.bytes)
            if step.table is not None:
                operands.append(step.table)
    words += words_of(epilogue)
    keys = ",".join(side.key for side in sides)
    name = f"contract.gemm|{s.key}|{how}|{left}|{keys}|{epilogue.key if epilogue else ''}"
    dtypes = [side.access.dtype for side in sides]
    modes = [(side.first.mode, side.second.mode) for side in sides]
    scalars = [s.scalar, s.scalar, *_target_scalars(dtypes[2:])]

    def emit(b: Builder) -> None:
        _Gemm(b, s, how, dtypes, scalars, modes, epilogue, left).emit()

    written = [sides[OUT].access, totals]
    p.phase(Kernel(name, emit), operands, words, numbers.tasks, written)


def _target_scalars(dtypes: Sequence[DType]) -> list[str]:
    from fanal.backends.native.contract.element import compute_type

    return [compute_type(d) for d in dtypes]


class _Operand:
    """A side inside the kernel."""

    def __init__(self, base: V, batch: tuple[V, V], first: Walk, second: Walk):
        self.base, self.batch, self.first, self.second = base, batch, first, second


class _Gemm:
    def __init__(
        self,
        b: Builder,
        s: Shape,
        how: str,
        dtypes: Sequence[DType],
        scalars: Sequence[str],
        modes: Sequence[tuple[str, str]],
        epilogue: Epilogue | None,
        left: str,
    ):
        readable = how == "empty" or left or is_stored_as(dtypes[0], s.scalar)
        assert readable, "the row operand is read without conversion"
        self.b, self.s, self.how = b, s, how
        self.dtypes, self.scalars = dtypes, scalars
        tables = sum(mode == "t" for pair in modes for mode in pair)
        d = Descriptor(b, len(dtypes) + 1 + tables)
        (
            self.units, self.per_task, self.col_blocks, self.row_blocks, self.batch_inner,
            self.rows, self.cols, self.inner, self.block_rows, self.block_panels, self.pitch,
        ) = (d.word() for _ in range(11))  # fmt: skip
        self.sides: list[_Operand] = []
        table = len(dtypes) + 1
        for n, (dtype, pair) in enumerate(zip(dtypes, modes, strict=True)):
            batch = d.word(), d.word()
            walks = []
            for mode in pair:
                step = d.word()
                pointer = d.pointer(table) if mode == "t" else None
                table += mode == "t"
                walks.append(Walk(b, mode, dtype.itemsize, step, pointer))
            self.sides.append(_Operand(d.pointer(n), batch, walks[0], walks[1]))
        self.epilogue = None if epilogue is None else epilogue.bound(d)
        right = self.sides[1]
        self.right = right_side(
            b, s, how, dtypes[1], right.second, right.first, (self.inner, self.cols)
        )
        # A row more than tiles can reach: a panel moved back is read beyond its end.
        self.stack = b.alloca("i8", (rows_max(s) + s.rows + 1) * s.row_bytes)
        self.memory = d.pointer(len(dtypes))
        a = self.sides[0]
        self.left = Copied(b, s, left, dtypes[0], a.first, a.second, self.rows) if left else None
        # Rows one step apart, more than there are registers for their addresses.
        many = s.rows > MANY_ROWS and s.rows != s.few_rows
        self.regular = many and self.left is None and a.first.mode == "s"

    def emit(self) -> None:
        b = self.b
        first = b.arg("task") * self.per_task
        last = first + self.per_task
        last = b.select(last.lt(self.units), last, self.units)
        with b.loop(first, last) as (unit,):
            self._unit(unit)
        b.ret()

    def _unit(self, unit: V) -> None:
        """Decode a unit's place, then go through its panels."""
        b = self.b
        rest, col_block = unit.udiv(self.col_blocks), unit.urem(self.col_blocks)
        batch, row_block = rest.udiv(self.row_blocks), rest.urem(self.row_blocks)
        outer, inner = batch.udiv(self.batch_inner), batch.urem(self.batch_inner)
        bases = [
            b.at(x.base, outer * x.batch[0] + inner * x.batch[1]) for x in self.sides
        ]
        first_row = row_block * self.block_rows
        left = self.rows - first_row
        rows = b.select(left.lt(self.block_rows), left, self.block_rows)
        # Blocks of panels differ by one at the most: 18 in four are 4, 5, 4, 5.
        panels = (self.cols + (self.s.width - 1)).udiv(b.i64(self.s.width))
        low = (col_block * panels).udiv(self.col_blocks)
        high = ((col_block + 1) * panels).udiv(self.col_blocks)
        places = [
            Place(dtype, scalar, base, x.first, x.second)
            for dtype, scalar, base, x in zip(
                self.dtypes[2:], self.scalars[2:], bases[2:], self.sides[2:], strict=True
            )
        ]
        self.out, self.places = places[0], places
        finisher = Finisher(b, self.s, places[0], places[1:], self.epilogue)
        far = b.at(self.memory, unit * self.block_panels * self.pitch)
        self.all_totals = b.select(self.pitch.eq(0), self.stack, far)
        if self.how in _PANEL_BY_PANEL:
            with b.loop(low, high) as (panel,), b.loop(0, self.inner, KC) as (start,):
                self._panel(bases, panel, low, start, first_row, rows, finisher)
        else:
            with b.loop(0, self.inner, KC) as (start,):
                if self.left is not None:
                    depth = self.inner - start
                    depth = b.select(depth.lt(KC), depth, KC)
                    self.left.block(bases[0], first_row, rows, start, depth)
                with b.loop(low, high) as (panel,):
                    self._panel(bases, panel, low, start, first_row, rows, finisher)

    def _panel(
        self,
        bases: Sequence[V],
        panel: V,
        low: V,
        start: V,
        first_row: V,
        rows: V,
        finisher: Finisher,
    ) -> None:
        """One block of k of one panel; after the last block its totals are finished."""
        b, s = self.b, self.s
        first_col = self.first_col = panel * s.width
        real_first = self.right.panel(bases[1], panel)
        base = bases[0]
        if self.how == "across":
            base = b.at(base, real_first * s.itemsize)
        depth = self.inner - start
        depth = b.select(depth.lt(KC), depth, KC)
        self.totals = b.at(self.all_totals, (panel - low) * self.pitch)
        self.last = (start + depth).eq(self.inner)
        self.in_place, self.starts = finisher.in_place(first_col, self.cols)
        self.right.block(start, depth)
        self._block(base, start, depth, first_row, rows)
        with b.if_(self.last & ~self.in_place):
            totals = b.at(self.totals, (first_col - real_first) * s.itemsize)
            finisher.rows(totals, first_row, rows, first_col, self.cols)

    def _block(self, base: V, start: V, depth: V, first_row: V, rows: V) -> None:
        """All tiles of rows over one block of k of the current panel."""
        b, s = self.b, self.s
        many, few = tile_counts(b, s, rows, self.regular)
        with b.loop(0, many) as (t,):
            self._tile(s.rows, base, t * s.rows, first_row, rows, start, depth, self.regular)
        if s.rows == s.few_rows:
            return
        with b.loop(0, few) as (t,):
            at = many * s.rows + t * s.few_rows
            self._tile(s.few_rows, base, at, first_row, rows, start, depth)

    def _tile(
        self, height: int, base: V, at: V, first_row: V, rows: V, start: V, depth: V,
        whole: bool = False,
    ) -> None:  # fmt: skip
        """One register tile; rows beyond the last repeat it, their sums are never stored.

        `whole`: all rows are there, one step apart.
        """
        b, s, left = self.b, self.s, self.sides[0]
        indices = []
        for i in range(height):
            row = at + i
            indices.append(first_row + (row if whole else b.select(row.lt(rows), row, rows - 1)))
        pointers: Sequence[V]
        walk: Any = left.second
        if self.left is not None:
            pointers, walk = self.left.pointers(at, height), self.left.walk
        elif whole:
            pointers = Rows(b, b.at(base, left.first.at(indices[0])), left.first.step, height)
        else:
            pointers = [b.at(base, left.first.at(row)) for row in indices]
        size = s.lanes * s.itemsize
        totals = b.at(self.totals, at * s.row_bytes)
        for line in range(0, height * s.row_bytes, LINE):
            # Other panels' totals came in between: ask for these while the sums are computed.
            b.prefetch(b.at(totals, line))
        if self.epilogue is not None:
            with b.if_(self.last):
                self._ask_for(indices)
        sums = self.right.sums(pointers, walk, start, depth, at)
        places = [b.at(totals, n * size) for n in range(len(sums))]
        if not self.starts:
            add_block(b, sums, places, places, start.eq(0), size)
            return
        # The last block's totals go straight to `out` where nothing remains to be done to them.
        done = self.in_place & self.last
        columns = [b.select(done, x, v * size) for v, x in enumerate(self.starts)]
        targets = []
        for i, row in enumerate(indices):
            there = b.at(self.out.base, self.out.rows.at(row))
            apart = b.at(totals, i * s.row_bytes)
            if self.left is None or whole or i == 0:
                there = b.select(done, there, apart)
                targets += [b.at(there, column) for column in columns]
                continue
            # A copied row beyond the last is not that row again: it stays with the totals.
            here = done & (at + i).lt(rows)
            for v, x in enumerate(self.starts):
                targets.append(b.select(here, b.at(there, x), b.at(apart, v * size)))
        add_block(b, sums, places, targets, start.eq(0), s.itemsize)

    def _ask_for(self, rows: Sequence[V]) -> None:
        """Fetch what a tile's epilogue will read and write, while its sums are computed: rows far apart
        are beyond the processor's own fetching."""
        b, s = self.b, self.s
        for place in self.places:
            if place.cols.mode != "1" or place.rows.mode == "0":
                continue
            for row in rows:
                line = b.at(place.base, place.rows.at(row) + place.cols.at(self.first_col))
                for v in range(s.vectors):
                    b.prefetch(b.at(line, v * s.lanes * place.dtype.itemsize))


def add_block(
    b: Builder, sums: Sequence[V], totals: Sequence[V], places: Sequence[V], first: V, align: int
) -> None:
    """Totals after one more block, stored at `places`: the first block's sum, then one addition."""
    values = b.branch(
        first,
        lambda: sums,
        lambda: [b.load(x.type, place) + x for x, place in zip(sums, totals, strict=True)],
    )
    for value, place in zip(values, places, strict=True):
        b.store(value, place, align)


def tile_counts(b: Builder, s: Shape, rows: V, regular: bool = False) -> tuple[V, V]:
    """How many tiles of `s.rows` and of `s.few_rows` cover `rows` with the least waste.

    `regular`: the former must not reach beyond the last row.
    """
    if s.rows == s.few_rows:
        return (rows + (s.rows - 1)).udiv(s.rows), b.i64(0)
    whole, rest = rows.udiv(s.rows), rows.urem(s.rows)
    if regular:
        shared = rest.gt(0) & rest.le(2 * s.few_rows - s.rows) & whole.gt(0)
        few = (rest + (s.few_rows - 1)).udiv(s.few_rows)
        return b.select(shared, whole - 1, whole), b.select(shared, b.const("i64", 2), few)
    # One row too many is better shared: 7 = 4 + 3 rather than 6 + 1.
    shared = rest.gt(0) & rest.le(2 * s.few_rows - s.rows) & whole.gt(0)
    single = rest.gt(0) & ~shared & rest.le(s.few_rows)
    few = b.select(shared, b.const("i64", 2), b.select(single, b.const("i64", 1), 0))
    full = ~shared & rest.gt(s.few_rows)
    many = b.select(shared, whole - 1, b.select(full, whole + 1, whole))
    return many, few
