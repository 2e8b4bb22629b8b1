"""The forward kernel: for a few panels of queries, one block of keys after another.

Of each block and panel: scores (keys by queries), their maximum so far, exponentials in place, and the products
with the values on top of what there was, scaled down by what the maximum rose. At the end the sums are
divided by the sum of exponentials and turned into rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fanal.backends.native.attention.hiding import Hiding
from fanal.backends.native.attention.setting import (
    GROUP,
    KEYS,
    TASK_MIN,
    TASKS,
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
from fanal.backends.native.emit import Builder, V
from fanal.backends.native.program import Access, Descriptor, Kernel, ProgramBuilder, units_of
from fanal.backends.native.vecmath.exponential import exp_or_zero
from fanal.backends.native.vecmath.logarithm import log
from fanal.core.dtypes import DType
from fanal.core.symbols import chosen, least
from fanal.core.symbols import largest as largest_number

TOGETHER = 4  # rows of scores whose exponentials are computed side by side


@dataclass(frozen=True, slots=True)
class How:
    """What the kernel's code depends on; `units` are those of k, v, out and lse (see `unit_last`)."""

    s: Shape
    room: int
    q_way: str
    units: str
    causal: bool
    masking: Masking | None

    @property
    def key(self) -> str:
        mask = self.masking.key if self.masking else ""
        return f"attention|{self.s.key}|{self.room}|{self.q_way}|{self.units}|{self.causal}|{mask}"


def add_forward(
    p: ProgramBuilder, q: Access, k: Access, v: Access, mask: Access | None, out: Access,
    lse: Access, *, causal: bool, scale: float,
) -> None:  # fmt: skip
    """Append the phase; tasks are panels of queries of every head."""
    s = shape_for(p.target, compute_type(q.dtype))
    masking = Masking.of(mask)
    how = How(
        s, room_for(q.shape[3], v.shape[3]), way_of(q, 2, 3), unit_last([k, v, out, lse]), causal,
        masking,
    )
    heads, panels = q.shape[0] * q.shape[1], -(-q.shape[2] // s.width)
    together = chosen(_together, heads, panels)
    units = heads * -(-panels // together)
    work = least(together, panels) * s.width * k.shape[2] * (q.shape[3] + v.shape[3])
    per_task = largest_number(1, least(units_of(TASK_MIN, work), units))
    words = extent_words(q, k, v, scale, s, units, per_task, together)
    operands = [q, k, v, out, lse]
    if mask is not None:
        operands.append(still(mask))
    for x in operands:
        words += step_words(x)
    kernel = Kernel(how.key, lambda b: _Forward(b, how, q.dtype).emit())
    p.phase(kernel, operands, words, -(-units // per_task), writes=[out, lse])


def _together(heads: int, panels: int) -> int:
    """Panels that one unit takes: fewer where there are too few units."""
    together = GROUP
    while together > 1 and heads * -(-panels // together) < TASKS:
        together //= 2
    return together


class _Forward:
    def __init__(self, b: Builder, how: How, dtype: DType):
        self.b, self.how, self.s = b, how, how.s
        s = how.s
        d = Descriptor(b, 5 + (how.masking is not None))
        self.n = Extents(d)
        self.q, self.k, self.v, self.out = (Operand(b, d, i, dtype) for i in range(4))
        self.lse = Operand(b, d, 4, dtype, 3)
        mask = None if how.masking is None else Operand(b, d, 5, how.masking.dtype)
        self.mask = mask
        self.hiding = Hiding(b, s, how.causal, how.masking, mask)
        self.k_unit, self.v_unit, self.out_unit, lse_unit = (u == "1" for u in how.units)
        self.size = s.lanes * s.itemsize
        self.panel_bytes = (how.room + slack(s)) * s.row_bytes
        self.all_queries = b.alloca("i8", GROUP * self.panel_bytes)  # [E][queries], panel by panel
        self.all_totals = b.alloca("i8", GROUP * self.panel_bytes)  # [Ev][queries]
        self.all_peaks = b.alloca("i8", GROUP * s.row_bytes)
        self.all_sums = b.alloca("i8", GROUP * s.row_bytes)
        self.scores = b.alloca("i8", (KEYS + slack(s)) * s.row_bytes)  # [keys][queries]
        self.factor = b.alloca("i8", s.row_bytes)
        self.key_rows = Copied(b, s, KEYS, how.room, self.k_unit)
        self.value_rows = Copied(b, s, KEYS, how.room, self.v_unit)
        self.writer = Writer(b, s, self.out_unit)
        self.lse_writer = Writer(b, s, lse_unit)

    def emit(self) -> None:
        b, n = self.b, self.n
        first = b.arg("task") * n.per_task
        with b.loop(first, smaller(b, first + n.per_task, n.units)) as (unit,):
            groups = (n.panels + (n.together - 1)).udiv(n.together)
            rest, group = unit.udiv(groups), unit.urem(groups)
            batch, head = rest.udiv(n.heads), rest.urem(n.heads)
            shared = head.udiv(n.group)
            self.at_q, self.at_out = self.q.head(batch, head), self.out.head(batch, head)
            self.at_k, self.at_v = self.k.head(batch, shared), self.v.head(batch, shared)
            self.at_lse = self.lse.head(batch, head)
            self.at_mask = None if self.mask is None else self.mask.head(batch, head)
            low = group * n.together
            self._group(low, smaller(b, low + n.together, n.panels))
        b.ret()

    def _group(self, low: V, high: V) -> None:
        """Some panels of queries: each block of keys is copied once for all of them."""
        b, n, width = self.b, self.n, self.s.width
        self._each(low, high, low, self._start)
        stop = smaller(b, high * width, n.keys) if self.how.causal else n.keys
        k, v = self.k.walk(3, self.k_unit).step, self.v.walk(3, self.v_unit).step
        with b.loop(0, stop, KEYS) as (start,):
            count = smaller(b, stop - start, KEYS)
            step = self.k.steps[2]
            self.key_rows.block(b.at(self.at_k, start * step), step, count, n.width, k)
            step = self.v.steps[2]
            self.value_rows.block(b.at(self.at_v, start * step), step, count, n.values, v)
            first = low
            if self.how.causal:  # panels all of whose queries come before these keys are done
                reached = start.udiv(width)
                first = b.select(reached.gt(low), reached, low)

            def block(s: Shape, at: V) -> None:
                seen = smaller(b, count, at + s.width - start) if self.how.causal else count
                self._block(s, at, start, seen)

            self._each(first, high, low, block)
        self._each(low, high, low, self._finish)

    def _each(self, first: V, high: V, low: V, body: Callable[[Shape, V], None]) -> None:
        """`body(tile, first query)` for panels `first .. high`, with the memory of each."""
        b, s = self.b, self.s
        with b.loop(first, high) as (panel,):
            number = panel - low
            self.queries = b.at(self.all_queries, number * self.panel_bytes)
            self.total = b.at(self.all_totals, number * self.panel_bytes)
            self.peak = b.at(self.all_peaks, number * s.row_bytes)
            self.sum = b.at(self.all_sums, number * s.row_bytes)
            at = panel * s.width
            for_columns(b, s, self.n.rows - at, lambda s: body(s, at))

    def _places(self, base: V, s: Shape) -> list[V]:
        return [self.b.at(base, v * self.size) for v in range(s.vectors)]

    def _start(self, s: Shape, first: V) -> None:
        """The queries `first ..` times the scale, as many as `s` has columns; sums of nothing."""
        b, n, how = self.b, self.n, self.how
        packer = Packer(
            b, s, how.q_way, self.q.dtype, self.at_q, self.q.walk(2, how.q_way == "lanes"),
            self.q.walk(3, how.q_way == "inner"), n.rows,
        )  # fmt: skip
        packer.panel(first, b.i64(0), n.width, self.queries)
        scaled_rows(b, s, self.queries, n.width, number(b, n.scale, s.scalar))
        zero = b.const(s.vector, 0)
        for peak, total in zip(self._places(self.peak, s), self._places(self.sum, s), strict=True):
            b.store(b.const(s.vector, -math.inf), peak)
            b.store(zero, total)
        with b.loop(0, n.values) as (e,):
            for place in self._places(b.at(self.total, e * s.row_bytes), s):
                b.store(zero, place)

    def _block(self, s: Shape, first: V, start: V, count: V) -> None:
        b, n = self.b, self.n
        before = [b.load(s.vector, x) for x in self._places(self.peak, s)]
        self.hiding.block(s, self.at_mask, first, n.rows, start, count)
        self._score_tiles(s, first, start, count)
        drops, lifts = [], []
        for old, place in zip(before, self._places(self.peak, s), strict=True):
            new = b.load(s.vector, place)
            drop = b.select(new.eq(-math.inf), 0.0, new)
            drops.append(drop)
            lifts.append(exp_or_zero(b, old - drop))
        self._exponentials(s, count, drops, lifts)
        self._value_tiles(s, count, lifts)

    def _score_tiles(self, s: Shape, first: V, start: V, count: V) -> None:
        """Scores of a block of keys, and their maximum with what there was."""
        b, n, hiding = self.b, self.n, self.hiding
        left = self.key_rows.by_rows(count)
        panel = Panel(b, s, self.queries, s.row_bytes)

        def tile(height: int, at: V, whole: bool) -> None:
            sums = sums_of(b, s, left.rows(at, height, whole), left.inner, n.width, panel)
            if hiding.changes:

                def hidden() -> list[V]:
                    rows = [at + i if whole else left.row(at + i) for i in range(height)]
                    return [hiding.applied(x, rows[m // s.vectors], m % s.vectors) for m, x in enumerate(sums)]

                if hiding.masking is None:  # most tiles lie before all of the panel's queries
                    late = (start + at + (height - 1)).gt(first)
                    sums = b.branch(late, hidden, lambda: sums)
                else:
                    sums = hidden()
            for m, x in enumerate(sums):
                b.store(x, b.at(self.scores, at * s.row_bytes + m * self.size))
            for v, place in enumerate(self._places(self.peak, s)):
                b.store(largest(b, [b.load(s.vector, place), *sums[v :: s.vectors]]), place)

        over_tiles(b, s, count, tile)

    def _exponentials(self, s: Shape, count: V, drops: list[V], lifts: list[V]) -> None:
        """Scores become weights, in place; their sums go on, lifted to the new maximum."""
        b = self.b
        places = self._places(self.sum, s)
        sums = [b.load(s.vector, x) * lift for x, lift in zip(places, lifts, strict=True)]
        main = count & -TOGETHER
        for low, high, step in ((b.i64(0), main, TOGETHER), (main, count, 1)):
            loop = b.loop(low, high, step, sums)
            with loop as (r, *totals):
                row = b.at(self.scores, r * s.row_bytes)
                spots = [b.at(row, m * self.size) for m in range(step * s.vectors)]
                shifted = [b.load(s.vector, x) - drops[m % s.vectors] for m, x in enumerate(spots)]
                for m, (x, spot) in enumerate(zip(shifted, spots, strict=True)):
                    weight = exp_or_zero(b, x)
                    b.store(weight, spot)
                    totals[m % s.vectors] = totals[m % s.vectors] + weight
                loop.next(*totals)
            sums = loop.results
        for x, place in zip(sums, places, strict=True):
            b.store(x, place)

    def _value_tiles(self, s: Shape, count: V, lifts: list[V]) -> None:
        """Weighted sums of values: what there was, lifted, and a block more."""
        b, n = self.b, self.n
        left = self.value_rows.by_columns(n.values)
        panel = Panel(b, s, self.scores, s.row_bytes)

        def tile(height: int, at: V, whole: bool) -> None:
            total = b.at(self.total, at * s.row_bytes)
            places = [b.at(total, m * self.size) for m in range(height * s.vectors)]
            sums = [b.load(s.vector, x) * lifts[m % s.vectors] for m, x in enumerate(places)]
            sums = sums_of(b, s, left.rows(at, height, whole), left.inner, count, panel, sums)
            for x, place in zip(sums, places, strict=True):
                b.store(x, place)

        over_tiles(b, s, n.values, tile)

    def _finish(self, s: Shape, first: V) -> None:
        """Divide, and write rows and the logarithms of sums."""
        b, n = self.b, self.n
        sums, peaks = self._places(self.sum, s), self._places(self.peak, s)
        for total, peak, factor in zip(sums, peaks, self._places(self.factor, s), strict=True):
            x = b.load(s.vector, total)
            one = b.const(s.vector, 1)
            b.store(one / b.select(x.eq(0.0), one, x), factor)
            b.store(b.load(s.vector, peak) + log(b, x), peak)
        count = smaller(b, n.rows - first, s.width)
        step = self.lse.walk(2, self.lse_writer.unit).step
        for v, peak in enumerate(peaks):
            place = b.at(self.at_lse, (first + v * s.lanes) * step)
            self.lse_writer.put(peak, place, step, count - v * s.lanes)
        step = self.out.steps[2]
        self.writer.turned(
            self.total, s.row_bytes, s.vectors, n.values, count, self.factor,
            b.at(self.at_out, first * step), step, self.out.walk(3, self.out_unit).step,
        )  # fmt: skip


def scaled_rows(b: Builder, s: Shape, panel: V, depth: V, factor: V) -> None:
    """Multiply a panel by a number."""
    wide = b.splat(factor, s.lanes)
    with b.loop(0, depth) as (k,):
        for v in range(s.vectors):
            place = b.at(panel, k * s.row_bytes + v * s.lanes * s.itemsize)
            b.store(b.load(s.vector, place) * wide, place)


def largest(b: Builder, values: Sequence[V]) -> V:
    """The largest of some vectors, lane by lane, by halves."""
    while len(values) > 1:
        pairs = [b.fast_max(x, y) for x, y in zip(values[::2], values[1::2], strict=False)]
        values = pairs + list(values[len(values) & -2 :])
    return values[0]
