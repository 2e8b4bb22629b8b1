"""How the lane operand reaches the register tile: packed ahead, packed here, or read in place.

Each way offers the same three steps: `panel` when a task turns to a panel of columns, `block` when
it turns to a block of k, `sums` for one tile of rows. In place there is no panel to pack, which
pays where few rows share it: `direct` where columns are neighbours, `turned` where k are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fanal.backends.native.contract.element import load
from fanal.backends.native.contract.pack import Packer
from fanal.backends.native.contract.shape import KC, Shape
from fanal.backends.native.contract.steps import Walk
from fanal.backends.native.contract.tile import STRIP, UNROLL, accumulate, accumulate_turned, zeros
from fanal.backends.native.emit import Builder, V
from fanal.core.dtypes import DType

LINE = 64  # bytes of a cache line
STREAMED = {"stream1": 1, "stream2": 2}


class Right:
    """Packed ahead: [panel][k][width]. Where panels are one cache line wide (`Shape.line`), a tile's vectors
    may lie in several of them, or a tile in a part of one."""

    def __init__(
        self, b: Builder, s: Shape, dtype: DType, cols: Walk, inner: Walk, extents: tuple[V, V]
    ):
        self.b, self.s, self.dtype, self.cols, self.inner = b, s, dtype, cols, inner
        self.depth, self.count = extents
        self.size = s.lanes * s.itemsize

    def panel(self, base: V, index: V) -> V:
        """Turn to a panel; returns its first column."""
        b, s = self.b, self.s
        if s.line:
            self.starts = self._starts(index)
            self.base = b.at(base, self.starts[0])
            following = self._starts(index + 1)[0] - self.starts[0]
        else:
            self.starts = [index * self.depth * s.row_bytes + v * self.size for v in range(s.vectors)]
            self.base = b.at(base, self.starts[0])
            following = self.depth * s.row_bytes
        self.following = following
        self.apart = self._apart()
        return index * s.width

    def _starts(self, index: V) -> list[V]:
        """How far from the first panel the vectors of a tile begin."""
        b, s = self.b, self.s
        row = self.count * s.itemsize
        last = (row + (s.line - 1)).lshr(s.line.bit_length() - 1) - 1
        first = index * s.row_bytes
        found = []
        for v in range(s.vectors):
            at = first + v * self.size
            panel = at.lshr(s.line.bit_length() - 1)
            panel = b.select(panel.lt(last), panel, last)  # beyond the last one, where nothing is stored
            found.append(panel * (self.depth * s.line) + (at & (s.line - 1)))
        return found

    def _apart(self) -> list[Any]:
        """How far from its first vector a tile's vectors lie."""
        s = self.s
        if not s.line or s.line % s.row_bytes == 0:
            return [v * self.size for v in range(s.vectors)]
        return [0, *(start - self.starts[0] for start in self.starts[1:])]

    @property
    def step(self) -> int:
        """Bytes from one k to the next."""
        return self.s.line or self.s.row_bytes

    def block(self, start: V, depth: V) -> None:
        self.place = self.b.at(self.base, start * self.step)
        # What comes next: the same block of the next panel.
        self.next = self.b.at(self.place, self.following)
        self.line, self.lines = self.b.i64(self.step), depth

    def sums(
        self, rows: Sequence[V], inner: Walk, start: V, depth: V, at: V
    ) -> list[V]:
        """Block sums of a tile; `rows` are addresses of A at k = 0, `at` the tile's first row."""
        b, s = self.b, self.s

        def columns(place: V, k: V) -> list[V]:
            return [b.load(s.vector, b.at(place, move), self.size) for move in self.apart]

        return accumulate(
            b, s, rows, inner, start, depth, columns, self.place, self.step, aside=self.aside(at)
        )

    fetches = True

    @property
    def streams(self) -> list[Any]:
        """How far from its first vector the panels lie that a tile reads side by side."""
        s = self.s
        return self.apart[:: s.line // self.size] if self.size <= s.line < s.row_bytes else [0]

    def aside(self, at: V) -> Callable[[V], None] | None:
        """What the tile at row `at` does beside its work, every `UNROLL` k's: fetch a line of what
        comes next, each tile its share. (Rows far apart are beyond the processor's own fetching,
        and a panel is over before it starts.)
        """
        if not self.fetches:
            return None
        b = self.b
        share = KC // UNROLL // self.s.rows * self.s.rows
        first = at.udiv(self.s.rows) * share

        def fetch(k: V) -> None:
            line = first + k.lshr(UNROLL.bit_length() - 1)
            line = b.select(line.lt(self.lines), line, 0)
            for move in self.streams:
                b.prefetch(b.at(self.next, line * self.line + move))

        return fetch


class Streamed(Right):
    """Packed ahead, and so much that it comes from memory for a few rows: panel by panel it is one
    stream, and `tiles` of rows share the fetching of the block of k that follows."""

    def __init__(self, b: Builder, s: Shape, tiles: int, *rest: Any):
        super().__init__(b, s, *rest)
        self.tiles = tiles
        # Lines every `UNROLL` k's, of each stream.
        self.each = max(1, UNROLL * self.step // LINE // tiles)

    def block(self, start: V, depth: V) -> None:
        self.place = self.b.at(self.base, start * self.step)
        self.next = self.b.at(self.place, depth * self.step)

    def aside(self, at: V) -> Callable[[V], None] | None:
        b = self.b
        share = KC // UNROLL * self.each * LINE
        first = b.at(self.next, b.select(at.gt(0), b.i64(share), 0)) if self.tiles > 1 else self.next

        def fetch(k: V) -> None:
            place = b.at(first, k.lshr(UNROLL.bit_length() - 1) * (self.each * LINE))
            for move in self.streams:
                for line in range(self.each):
                    b.prefetch(b.at(b.at(place, line * LINE), move))

        return fetch


class Packing(Right):
    """Packed block by block into a buffer on the stack, just before its tiles run."""

    def __init__(self, b: Builder, s: Shape, how: str, *rest: Any):
        super().__init__(b, s, *rest)
        self.how = how
        self.fetches = how == "lanes" and self.inner.mode == "s"
        self.place = b.alloca("i8", KC * s.row_bytes)

    @property
    def step(self) -> int:
        return self.s.row_bytes

    @property
    def streams(self) -> list[Any]:
        return [0]

    def panel(self, base: V, index: V) -> V:
        self.base = base
        self.apart = [v * self.size for v in range(self.s.vectors)]
        self.packer = Packer(
            self.b, self.s, self.how, self.dtype, base, self.cols, self.inner, self.count
        )
        self.first = index * self.s.width
        return self.first

    def block(self, start: V, depth: V) -> None:
        b = self.b
        self.packer.panel(self.first, start, depth, self.place)
        if self.fetches:
            # What will be packed next: the same block of the next panel.
            column, last = self.first + self.s.width, self.count - 1
            column = b.select(column.lt(last), column, last)
            self.next = b.at(self.base, self.cols.at(column) + self.inner.at(start))
            self.line, self.lines = self.inner.step, self.depth - start


class Direct(Right):
    """Read where it lies, columns being neighbours; the last panel is moved back to stay inside."""

    across = False

    def panel(self, base: V, index: V) -> V:
        b, s = self.b, self.s
        first, last = index * s.width, self.count - s.width
        first = b.select(first.lt(last), first, last)
        self.base = b.at(base, self.cols.at(first))
        return first

    def block(self, start: V, depth: V) -> None:
        self.place = self.base

    def sums(
        self, rows: Sequence[V], inner: Walk, start: V, depth: V, at: V
    ) -> list[V]:
        b, s = self.b, self.s
        size = s.lanes * self.dtype.itemsize

        def columns(place: V, k: V) -> list[V]:
            row = b.at(place, self.inner.at(start + k))
            vectors = range(s.vectors)
            return [load(b, self.dtype, b.at(row, v * size), s.lanes, s.scalar) for v in vectors]

        return accumulate(
            b, s, rows, inner, start, depth, columns, self.base, 0, across=self.across
        )


class Empty(Right):
    """No k at all: sums of nothing."""

    def panel(self, base: V, index: V) -> V:
        return index * self.s.width

    def block(self, start: V, depth: V) -> None:
        pass

    def sums(
        self, rows: Sequence[V], inner: Walk, start: V, depth: V, at: V
    ) -> list[V]:
        return zeros(self.b, self.s, len(rows))


class Across(Direct):
    """`Direct`, where A has a value of its own for every column (depthwise sums)."""

    across = True


class Turned(Right):
    """Read where it lies, k being neighbours: blocks are transposed between registers."""

    def __init__(self, b: Builder, s: Shape, *rest: Any):
        super().__init__(b, s, *rest)
        self.rest = b.alloca("i8", STRIP * s.lanes * s.row_bytes)

    def panel(self, base: V, index: V) -> V:
        b, s = self.b, self.s
        first = index * s.width
        last = self.count - 1
        self.lanes = []
        for j in range(s.width):
            column = first + j
            column = b.select(column.lt(last), column, last)
            self.lanes.append(b.at(base, self.cols.at(column)))
        self.packer = Packer(b, s, "any", self.dtype, base, self.cols, self.inner, self.count)
        self.first = first
        return first

    def block(self, start: V, depth: V) -> None:
        pass

    def sums(
        self, rows: Sequence[V], inner: Walk, start: V, depth: V, at: V
    ) -> list[V]:
        b, s = self.b, self.s
        strips = depth.udiv(STRIP * s.lanes)
        whole = strips * (STRIP * s.lanes)

        def column(v: int, lane: int, k: V) -> V:
            address = b.at(self.lanes[v * s.lanes + lane], self.inner.at(start + k))
            return load(b, self.dtype, address, s.lanes, s.scalar)

        sums = accumulate_turned(b, s, rows, inner, start, strips, column)
        left = depth - whole
        with b.if_(left.gt(0)):
            self.packer.panel(self.first, start + whole, left, self.rest)

        def columns(place: V, k: V) -> list[V]:
            return [b.load(s.vector, b.at(place, v * self.size), self.size) for v in range(s.vectors)]

        return accumulate(
            b, s, rows, inner, start + whole, left, columns, self.rest, s.row_bytes, sums
        )


def right_side(b: Builder, s: Shape, how: str, *rest: Any) -> Right:
    """The way named `how`: ready, empty, direct, across, turned, or one of `Packer`'s."""
    in_place = {
        "ready": Right,
        "empty": Empty,
        "direct": Direct,
        "across": Across,
        "turned": Turned,
    }
    if how in in_place:
        return in_place[how](b, s, *rest)
    if how in STREAMED:
        return Streamed(b, s, STREAMED[how], *rest)
    return Packing(b, s, how, *rest)
