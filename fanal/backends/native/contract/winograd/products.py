"""The products of all points: [point][tile][inner channel] times [point][inner channel][outer channel].

Kernels lie in panels of columns, as the register tile reads them, one panel after the other. Sums are cut
into shorter blocks than those of other contractions, since transforms magnify what roundings leave: chains of
`BLOCK` keep the error of the result within four times the direct sum's (`docs/compile.md`). The order is one
of k alone, so no bit depends on the batch or on threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fanal.backends.native.contract.gemm import LINE, add_block, tile_counts
from fanal.backends.native.contract.shape import Shape
from fanal.backends.native.contract.steps import Walk
from fanal.backends.native.contract.tile import UNROLL, Rows, accumulate
from fanal.backends.native.contract.winograd.inputs import task_range
from fanal.backends.native.emit import Builder, V
from fanal.backends.native.program import Access, Descriptor, Kernel, ProgramBuilder, units_of
from fanal.core.symbols import chosen, least

# k's of one chain.
BLOCK = 32
# Rows of a unit at most (their values share the second cache with the panels), multiply-adds of a task.
_ROWS, _TASK = 112, 1 << 17
# Lines that a low tile asks for every `UNROLL` k's; a high one has little room for it, and asks for one.
_FETCH = 4


@dataclass(frozen=True, slots=True)
class Panels:
    """Transformed kernels, [point][panel][inner channel][width]."""

    access: Access
    inner: int
    panels: int


def add_products(p: ProgramBuilder, s: Shape, windows: Access, kernels: Panels, out: Access) -> None:
    """Append the phase; `windows` and `out` are (points, tiles, channels), rows of `out` whole panels."""
    points, count = windows.shape[:2]
    height = chosen(_height, s, count)
    blocks = -(-count // height)
    units = points * blocks
    per_task = units_of(_TASK, least(height, count) * kernels.inner * kernels.panels * s.width)

    def emit(b: Builder) -> None:
        d = Descriptor(b, 3)
        first, last = task_range(b, d)
        blocks, height, count = (d.word() for _ in range(3))
        products = Products(b, s, d)
        left, right, to = (d.pointer(n) for n in range(3))
        with b.loop(first, last) as (unit,):
            point, row = unit.udiv(blocks), unit.urem(blocks) * height
            rows = count - row
            rows = b.select(rows.lt(height), rows, height)
            products.run(left, right, to, point, row, rows)
        b.ret()

    words = [units, per_task, blocks, height, count, *product_words(s, windows, kernels, out)]
    kernel = Kernel(f"contract.winograd.products|{s.key}", emit)
    p.phase(kernel, [windows, kernels.access, out], words, -(-units // per_task), [out])


def _height(s: Shape, count: int) -> int:
    """Rows of a unit: whole tiles, in blocks of much the same size."""
    blocks = -(-count // _ROWS)
    return -(-(-(-count // blocks)) // s.rows) * s.rows


def product_words(s: Shape, windows: Access, kernels: Panels, out: Access) -> list[int]:
    """What `Products` reads of a descriptor."""
    steps = [*windows.strides[:2], *out.strides[:2], kernels.access.strides[0]]
    return [kernels.panels, kernels.inner, *(n * s.itemsize for n in steps)]


class Products:
    """Multiplies some rows of one point inside a kernel."""

    def __init__(self, b: Builder, s: Shape, d: Descriptor):
        self.b, self.s = b, s
        self.panels, self.inner = d.word(), d.word()
        self.left_plane, self.left_pitch, self.out_plane, self.out_pitch = (d.word() for _ in range(4))
        self.right_plane = d.word()
        self.walk = Walk(b, "1", s.itemsize, b.i64(0), None)
        self.totals = b.alloca("i8", s.rows * s.row_bytes)

    def run(self, windows: V, kernels: V, products: V, point: V, first: V, rows: V) -> None:
        """Rows from `first` on, by all panels."""
        b, s = self.b, self.s
        left = b.at(windows, point * self.left_plane + first * self.left_pitch)
        out = b.at(products, point * self.out_plane + first * self.out_pitch)
        right = b.at(kernels, point * self.right_plane)
        many, few = tile_counts(b, s, rows, regular=True)
        with b.loop(0, self.panels) as (panel,):
            columns = b.at(right, panel * self.inner * s.row_bytes)
            target = b.at(out, panel * s.row_bytes)
            with b.loop(0, many) as (t,):
                at = t * s.rows
                lines = Rows(b, b.at(left, at * self.left_pitch), self.left_pitch, s.rows)
                targets = [b.at(target, (at + i) * self.out_pitch) for i in range(s.rows)]
                self._tile(lines, columns, targets, t, 1)
            with b.loop(0, few) as (t,):
                # Rows beyond the last are that one again, with the same sums.
                numbers = [many * s.rows + t * s.few_rows + i for i in range(s.few_rows)]
                numbers = [b.select(n.lt(rows), n, rows - 1) for n in numbers]
                near = [b.at(left, n * self.left_pitch) for n in numbers]
                targets = [b.at(target, n * self.out_pitch) for n in numbers]
                self._tile(near, columns, targets, many + t * _FETCH, _FETCH)

    def _tile(
        self, rows: Sequence[V], panel: V, targets: Sequence[V], share: V, lines: int
    ) -> None:
        """A tile of sums, block after block. Beside, it asks for its share of the next panel, from line
        `share` on some `lines` of those of every `UNROLL` k's."""
        b, s = self.b, self.s
        size = s.lanes * s.itemsize
        of_all = UNROLL * s.row_bytes
        following = b.at(panel, self.inner * s.row_bytes + (share * LINE).urem(of_all))

        def columns(place: V, k: V) -> list[V]:
            return [b.load(s.vector, b.at(place, v * size), s.itemsize) for v in range(s.vectors)]

        with b.loop(0, self.inner, BLOCK) as (start,):
            depth = self.inner - start
            last = depth.le(BLOCK)
            depth = b.select(last, depth, BLOCK)
            place = b.at(panel, start * s.row_bytes)
            following_block = b.at(following, start * s.row_bytes)

            def fetch(k: V) -> None:
                for n in range(lines):
                    b.prefetch(b.at(following_block, k * s.row_bytes + n * LINE), level=2)

            sums = accumulate(
                b, s, rows, self.walk, start, depth, columns, place, s.row_bytes, aside=fetch
            )
            totals = [b.at(self.totals, n * size) for n in range(len(sums))]
            places = []
            for i, target in enumerate(targets):
                line = b.select(last, target, b.at(self.totals, i * s.row_bytes))
                places += [b.at(line, v * size) for v in range(s.vectors)]
            add_block(b, sums, totals, places, start.eq(0), s.itemsize)
