"""From buffers near by to memory: rows of heads, stored or added."""

from __future__ import annotations

from fanal.backends.native.attention.setting import smaller
from fanal.backends.native.contract.shape import Shape
from fanal.backends.native.contract.transpose import transposed_rows
from fanal.backends.native.emit import Builder, V


class Writer:
    """Writes vectors of a row into memory whose elements are neighbours (`unit`) or not."""

    def __init__(self, b: Builder, s: Shape, unit: bool):
        self.b, self.s, self.unit = b, s, unit
        self.size = s.lanes * s.itemsize
        self.room = b.alloca("i8", s.lanes * self.size)  # a square of lanes

    def put(self, source: V, to: V, step: V, count: V, stores: V | None = None) -> None:
        """`count` elements from `source`, at most a vector, to `to`; added unless `stores`."""
        b, s = self.b, self.s
        full = count.ge(s.lanes)
        if self.unit:
            with b.if_(full):
                x = b.load(s.vector, source)
                if stores is not None:
                    x = b.select(stores, x, b.load(s.vector, to) + x)
                b.store(x, to)
            full = ~full
        else:
            full = b.const("i1", 1)
        with b.if_(full), b.loop(0, smaller(b, count, s.lanes)) as (j,):
            x = b.load(s.scalar, b.at(source, j * s.itemsize))
            place = b.at(to, j * (b.i64(s.itemsize) if self.unit else step))
            if stores is not None:
                x = b.select(stores, x, b.load(s.scalar, place) + x)
            b.store(x, place)

    def turned(
        self, panel: V, row_bytes: int, vectors: int, height: V, count: V, factors: V,
        to: V, row_step: V, column_step: V, stores: V | None = None,
    ) -> None:  # fmt: skip
        """A panel [column][rows on the lanes], times a factor a lane, as `count` rows of memory."""
        b, s = self.b, self.s
        with b.loop(0, vectors) as (v,), b.loop(0, height, s.lanes) as (e,):
            first = v * s.lanes
            factor = b.load(s.vector, b.at(factors, v * self.size))
            place = b.at(panel, e * row_bytes + v * self.size)
            lines = [b.load(s.vector, b.at(place, i * row_bytes)) * factor for i in range(s.lanes)]
            for j, line in enumerate(transposed_rows(b, lines, 8 * s.itemsize)):
                b.store(line, b.at(self.room, j * self.size))
            start = b.at(to, first * row_step + e * column_step)
            with b.loop(0, smaller(b, count - first, s.lanes)) as (i,):
                self.put(
                    b.at(self.room, i * self.size), b.at(start, i * row_step), column_step,
                    height - e, stores,
                )  # fmt: skip

    def rows(
        self, blocks: V, block_bytes: int, rows: V, columns: V, to: V, row_step: V, column_step: V
    ) -> None:
        """Blocks of columns [block][row][width] as rows of memory."""
        b, s = self.b, self.s
        with b.loop(0, columns, s.lanes) as (c,):
            block = b.at(blocks, c.udiv(s.width) * block_bytes + c.urem(s.width) * s.itemsize)
            start = b.at(to, c * column_step)
            with b.loop(0, rows) as (r,):
                source, place = b.at(block, r * s.row_bytes), b.at(start, r * row_step)
                self.put(source, place, column_step, columns - c)
