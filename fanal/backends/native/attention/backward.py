"""The backward kernel: for a block of keys, one panel of queries after another.

Scores are computed again and become weights by the queries' lse; the products of the output's gradient
with the values make them slopes. Both, keys by queries, are left operands of the gradients of values
and keys, whose chains over all queries stay in memory near by; slopes are also the right operand of the
queries' gradient, which is added to memory block after block of keys.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fanal.backends.native.attention.forward import scaled_rows
from fanal.backends.native.attention.hiding import Hiding
from fanal.backends.native.attention.setting import (
    KEYS,
    Extents,
    Masking,
    Operand,
    extent_words,
    number,
    room_for,
    smaller,
    step_words,
    still,
    unit_last,
    way_of,
)
from fanal.backends.native.attention.tiles import (
    Copied,
    Left,
    Panel,
    for_columns,
    over_tiles,
    slack,
    sums_of,
)
from fanal.backends.native.attention.writer import Writer
from fanal.backends.native.contract.element import compute_type
from fanal.backends.native.contract.pack import Packer
from fanal.backends.native.contract.shape import Shape, shape_for
from fanal.backends.native.contract.steps import Walk
from fanal.backends.native.emit import Builder, V
from fanal.backends.native.program import Access, Descriptor, Kernel, ProgramBuilder
from fanal.backends.native.vecmath.exponential import exp_or_zero
from fanal.core.dtypes import DType

# Operands in the order of the descriptor.
Q, K, V_, LSE, DELTA, GRAD, DQ, DK, DV = range(9)


@dataclass(frozen=True, slots=True)
class How:
    """What the kernel's code depends on; `ways` fill panels of q and grad, by queries and by columns;
    `units` are those of all operands (see `unit_last`)."""

    s: Shape
    room: int
    ways: tuple[str, ...]
    units: str
    causal: bool
    masking: Masking | None

    @property
    def key(self) -> str:
        mask = self.masking.key if self.masking else ""
        ways = ".".join(self.ways)
        return f"attention backward|{self.s.key}|{self.room}|{ways}|{self.units}|{self.causal}|{mask}"


def add_backward(
    p: ProgramBuilder, given: tuple[Access, ...], mask: Access | None, outs: tuple[Access, ...], *,
    causal: bool, scale: float,
) -> None:  # fmt: skip
    """Append the phase; `given` are q, k, v, lse, delta and grad. A task is a head of keys."""
    q, k, v, _, _, grad = given
    s = shape_for(p.target, compute_type(q.dtype))
    masking = Masking.of(mask)
    ways = tuple(way_of(x, *axes) for x in (q, grad) for axes in ((2, 3), (3, 2)))
    operands = [*given, *outs]
    room = room_for(q.shape[3], v.shape[3])
    how = How(s, room, ways, unit_last(operands), causal, masking)
    units = k.shape[0] * k.shape[1]
    words = extent_words(q, k, v, scale, s, units, 1, 1)
    if mask is not None:
        operands.append(still(mask))
    for x in operands:
        words += step_words(x)
    kernel = Kernel(how.key, lambda b: _Backward(b, how, q.dtype).emit())
    p.phase(kernel, operands, words, units, writes=outs)


class _Backward:
    def __init__(self, b: Builder, how: How, dtype: DType):
        self.b, self.how, self.s, self.dtype = b, how, how.s, dtype
        s = how.s
        d = Descriptor(b, 9 + (how.masking is not None))
        self.n = Extents(d)
        self.x = [Operand(b, d, i, dtype, 3 if i in (LSE, DELTA) else 4) for i in range(9)]
        self.unit = [u == "1" for u in how.units]
        self.mask = None if how.masking is None else Operand(b, d, 9, how.masking.dtype)
        self.hiding = Hiding(b, s, how.causal, how.masking, self.mask)
        self.size = s.lanes * s.itemsize
        rows, keys = how.room + slack(s), KEYS + slack(s)
        panels = -(-how.room // s.width)
        self.queries = b.alloca("i8", rows * s.row_bytes)  # [E][queries]
        self.grads = b.alloca("i8", rows * s.row_bytes)  # [Ev][queries]
        self.strip = s.width * s.row_bytes  # of a panel of columns: [queries][columns]
        self.query_rows = b.alloca("i8", panels * self.strip)
        self.grad_rows = b.alloca("i8", panels * self.strip)
        self.slopes = b.alloca("i8", keys * s.row_bytes)  # [keys][queries]
        self.weights = b.alloca("i8", keys * s.row_bytes)
        self.sums_bytes = keys * s.row_bytes  # of a panel of columns: [keys][columns]
        self.key_sums = b.alloca("i8", panels * self.sums_bytes)
        self.value_sums = b.alloca("i8", panels * self.sums_bytes)
        self.query_sums = b.alloca("i8", rows * s.row_bytes)  # [E][queries]
        self.key_rows = Copied(b, s, KEYS, how.room, self.unit[K])
        self.value_rows = Copied(b, s, KEYS, how.room, self.unit[V_])
        self.per_query = [b.alloca("i8", s.row_bytes) for _ in range(3)]  # lse, delta, scale
        self.writers = {i: Writer(b, s, self.unit[i]) for i in (DQ, DK, DV)}

    def emit(self) -> None:
        b, n = self.b, self.n
        task, few = b.arg("task"), n.heads.udiv(n.group)
        batch, shared = task.udiv(few), task.urem(few)
        self.at = {i: self.x[i].head(batch, shared) for i in (K, V_, DK, DV)}
        self.scale = number(b, n.scale, self.s.scalar)
        for v in range(self.s.vectors):
            place = b.at(self.per_query[2], v * self.size)
            b.store(b.splat(self.scale, self.s.lanes), place)
        with b.loop(0, n.keys, KEYS) as (start,):
            count = smaller(b, n.keys - start, KEYS)
            self._clear(count)
            for i, rows, width in ((K, self.key_rows, n.width), (V_, self.value_rows, n.values)):
                step, column = self.x[i].steps[2], self.x[i].walk(3, self.unit[i]).step
                rows.block(b.at(self.at[i], start * step), step, count, width, column)
            with b.loop(0, n.group) as (g,):
                head = shared * n.group + g
                for i in (Q, LSE, DELTA, GRAD, DQ):
                    self.at[i] = self.x[i].head(batch, head)
                self.at_mask = None if self.mask is None else self.mask.head(batch, head)
                first = start.udiv(self.s.width) if self.how.causal else b.i64(0)
                with b.loop(first, n.panels) as (panel,):
                    at = panel * self.s.width
                    for_columns(b, self.s, n.rows - at, lambda s: self._panel(s, at, start, count))
            self._write_keys(start, count)
        b.ret()

    def _clear(self, count: V) -> None:
        """Start the sums of a block of keys."""
        b, s, n = self.b, self.s, self.n
        for sums, columns in ((self.key_sums, n.width), (self.value_sums, n.values)):
            with b.loop(0, (columns + (s.width - 1)).udiv(s.width)) as (c,):
                block = b.at(sums, c * self.sums_bytes)
                with b.loop(0, count * s.vectors) as (m,):
                    b.store(b.const(s.vector, 0), b.at(block, m * self.size))

    # -- one panel of queries against one block of keys -------------------------------------------------

    def _panel(self, s: Shape, first: V, start: V, count: V) -> None:
        b, n = self.b, self.n
        if self.how.causal:  # keys that are later than the last query play no part
            count = smaller(b, count, first + s.width - start)
        queries = smaller(b, n.rows - first, s.width)
        self._load_queries(s, first, queries)
        self.hiding.block(s, self.at_mask, first, n.rows, start, count)
        self._products(s, self.key_rows, self.queries, n.width, count, self.weights)
        self._products(s, self.value_rows, self.grads, n.values, count, self.slopes)
        self._slopes(s, count)
        self._add_to_keys(s, self.weights, self.grad_rows, self.value_sums, n.values, count, queries)
        self._add_to_keys(s, self.slopes, self.query_rows, self.key_sums, n.width, count, queries)
        self._query_sums(s, count)
        step = self.x[DQ].steps[2]
        self.writers[DQ].turned(
            self.query_sums, s.row_bytes, s.vectors, n.width, queries, self.per_query[2],
            b.at(self.at[DQ], first * step), step, self.x[DQ].walk(3, self.unit[DQ]).step, start.eq(0),
        )  # fmt: skip

    def _load_queries(self, s: Shape, first: V, queries: V) -> None:
        """Queries (times the scale) and gradients of the output, both ways round; lse and delta."""
        b, n, full = self.b, self.n, self.s
        for i, extent, panel, rows, ways in (
            (Q, n.width, self.queries, self.query_rows, self.how.ways[:2]),
            (GRAD, n.values, self.grads, self.grad_rows, self.how.ways[2:]),
        ):
            x = self.x[i]
            packer = Packer(
                b, s, ways[0], self.dtype, self.at[i], x.walk(2, ways[0] == "lanes"),
                x.walk(3, ways[0] == "inner"), n.rows,
            )  # fmt: skip
            packer.panel(first, b.i64(0), extent, panel)
            packer = Packer(
                b, full, ways[1], self.dtype, self.at[i], x.walk(3, ways[1] == "lanes"),
                x.walk(2, ways[1] == "inner"), extent,
            )  # fmt: skip
            with b.loop(0, extent, full.width) as (c,):
                strip = b.at(rows, c.udiv(full.width) * self.strip)
                packer.panel(c, first, queries, strip)
                if i == Q:
                    scaled_rows(b, full, strip, queries, self.scale)
        scaled_rows(b, s, self.queries, n.width, self.scale)
        for i, room in ((LSE, self.per_query[0]), (DELTA, self.per_query[1])):
            with b.loop(0, s.width) as (j,):
                row = first + j
                row = b.select(row.lt(n.rows), row, n.rows - 1)
                value = b.load(s.scalar, b.at(self.at[i], row * self.x[i].steps[2]))
                if i == LSE:
                    value = b.select(value.eq(-math.inf), 0.0, value)
                b.store(value, b.at(room, j * s.itemsize))

    def _products(
        self, s: Shape, rows: Copied, panel: V, depth: V, count: V, to: V
    ) -> None:
        """Rows of keys (values) times the panel of queries (gradients)."""
        b = self.b
        left = rows.by_rows(count)
        right = Panel(b, s, panel, s.row_bytes)

        def tile(height: int, at: V, whole: bool) -> None:
            sums = sums_of(b, s, left.rows(at, height, whole), left.inner, depth, right)
            for m, x in enumerate(sums):
                b.store(x, b.at(to, at * s.row_bytes + m * self.size))

        over_tiles(b, s, count, tile)

    def _slopes(self, s: Shape, count: V) -> None:
        """From scores and products to weights and slopes, in place."""
        b = self.b
        lse, delta = (
            [b.load(s.vector, b.at(room, v * self.size)) for v in range(s.vectors)]
            for room in self.per_query[:2]
        )
        with b.loop(0, count) as (r,):
            for v in range(s.vectors):
                at = r * s.row_bytes + v * self.size
                weight, slope = b.at(self.weights, at), b.at(self.slopes, at)
                score = self.hiding.applied(b.load(s.vector, weight), r, v)
                w = exp_or_zero(b, score - lse[v])
                b.store(w, weight)
                b.store(w * (b.load(s.vector, slope) - delta[v]), slope)
        # Tiles reach beyond the last key: what they find there must not change other keys' sums.
        for room in (self.weights, self.slopes):
            beyond = b.at(room, count * s.row_bytes)
            for m in range(s.rows * s.vectors):
                b.store(b.const(s.vector, 0), b.at(beyond, m * self.size))

    def _add_to_keys(
        self, s: Shape, left: V, rows: V, sums: V, columns: V, count: V, queries: V
    ) -> None:
        """Go on with the chains over queries: `left` (keys by queries) times rows of queries."""
        b, full = self.b, self.s
        inner = Walk(b, "1", s.itemsize, b.i64(0), None)
        mine = Left(b, left, s.row_bytes, count, inner, padded=True)

        def strip(c: V, width: Shape) -> None:
            number = c.udiv(full.width)
            right = Panel(b, width, b.at(rows, number * self.strip), full.row_bytes)
            block = b.at(sums, number * self.sums_bytes)

            def tile(height: int, at: V, whole: bool) -> None:
                places = [
                    b.at(block, (at + i) * full.row_bytes + v * self.size)
                    for i in range(height)
                    for v in range(width.vectors)
                ]
                before = [b.load(s.vector, x) for x in places]
                tile_rows = mine.rows(at, height, whole)
                after = sums_of(b, width, tile_rows, inner, queries, right, before)
                for x, place in zip(after, places, strict=True):
                    b.store(x, place)

            over_tiles(b, width, count, tile)

        with b.loop(0, columns, full.width) as (c,):
            for_columns(b, full, columns - c, lambda width: strip(c, width))

    def _query_sums(self, s: Shape, count: V) -> None:
        """The queries' gradient by this block of keys, columns by queries."""
        b, n = self.b, self.n
        left = self.key_rows.by_columns(n.width)
        right = Panel(b, s, self.slopes, s.row_bytes)

        def tile(height: int, at: V, whole: bool) -> None:
            sums = sums_of(b, s, left.rows(at, height, whole), left.inner, count, right)
            for m, x in enumerate(sums):
                b.store(x, b.at(self.query_sums, at * s.row_bytes + m * self.size))

        over_tiles(b, s, n.width, tile)

    # -- results ------------------------------------------------------------------------------------------

    def _write_keys(self, start: V, count: V) -> None:
        b, n = self.b, self.n
        for i, sums, columns in ((DK, self.key_sums, n.width), (DV, self.value_sums, n.values)):
            x = self.x[i]
            to = b.at(self.at[i], start * x.steps[2])
            step = x.walk(3, self.unit[i]).step
            self.writers[i].rows(sums, self.sums_bytes, count, columns, to, x.steps[2], step)
