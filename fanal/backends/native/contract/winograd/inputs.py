"""Windows transformed: [point][tile][channel], from channels-last images.

A unit is one tile of one image, its channels go along the lanes. Where a window reaches beyond the image,
each of its addresses is that of an element or of a zero: padding, and what the last tile of a row has too
much, are written nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from fanal.backends.native.contract.pad import inside
from fanal.backends.native.contract.shape import Shape
from fanal.backends.native.contract.winograd.transforms import columns_of, inputs_line
from fanal.backends.native.emit import Builder, V
from fanal.backends.native.program import Access, Descriptor, Kernel, ProgramBuilder, units_of
from fanal.ops.winograd import TAPS

# Transformed elements that one task writes at least.
_TASK = 1 << 14


@dataclass(frozen=True, slots=True)
class Grid:
    """How tiles cover the results: images, tiles along both axes, their outputs along one; `low` is the
    padding in front of the images."""

    images: int
    high: int
    wide: int
    tile: int
    low: tuple[int, int]

    @property
    def count(self) -> int:
        return self.images * self.high * self.wide

    @property
    def window(self) -> int:
        return self.tile + TAPS - 1

    @property
    def points(self) -> int:
        return self.window * self.window


def add_inputs(p: ProgramBuilder, s: Shape, x: Access, grid: Grid, out: Access) -> None:
    """Append the phase; `out` is (points, tiles, channels), channels side by side."""
    per_task = units_of(_TASK, x.shape[1] * grid.points)

    def emit(b: Builder) -> None:
        d = Descriptor(b, 2)
        first, last = task_range(b, d)
        windows, base, place = Windows(b, s, grid.tile, d), d.pointer(0), d.pointer(1)
        windows.run(base, first, last, b.at(place, first * windows.pitch))
        b.ret()

    words = [grid.count, per_task, *window_words(s, x, grid, out)]
    kernel = Kernel(f"contract.winograd.inputs|{s.scalar}|{grid.tile}", emit)
    p.phase(kernel, [x, out], words, -(-grid.count // per_task), [out])


def task_range(b: Builder, d: Descriptor) -> tuple[V, V]:
    """The units of a task, from how many there are and how many it takes."""
    units, per_task = d.word(), d.word()
    first = b.arg("task") * per_task
    last = first + per_task
    return first, b.select(last.lt(units), last, units)


def window_words(s: Shape, x: Access, grid: Grid, out: Access) -> list[int]:
    """What `Windows` reads of a descriptor."""
    steps = [x.strides[0], x.strides[2], x.strides[3], *out.strides[:2]]
    return [grid.high, grid.wide, *grid.low, *x.shape[1:], *(n * s.itemsize for n in steps)]


class Windows:
    """Transforms some tiles' windows inside a kernel."""

    def __init__(self, b: Builder, s: Shape, tile: int, d: Descriptor):
        self.b, self.s, self.tile, self.window = b, s, tile, tile + TAPS - 1
        self.high, self.wide = d.word(), d.word()
        self.low = d.word(), d.word()
        self.channels, self.height, self.width = (d.word() for _ in range(3))
        self.image, self.row, self.pixel = (d.word() for _ in range(3))
        self.plane, self.pitch = d.word(), d.word()
        self.line = inputs_line(tile)
        self.zero = b.alloca("i8", s.lanes * s.itemsize)
        b.store(b.const(s.vector, 0), self.zero, s.itemsize)

    def run(self, images: V, first: V, last: V, out: V) -> None:
        """Tiles `first` to `last`; the first one's place is `out`."""
        b, window = self.b, self.window
        with b.loop(first, last) as (unit,):
            rest, column = unit.udiv(self.wide), unit.urem(self.wide)
            image, line = rest.udiv(self.high), rest.urem(self.high)
            y, x = line * self.tile - self.low[0], column * self.tile - self.low[1]
            place = b.at(out, (unit - first) * self.pitch)
            base = b.at(images, image * self.image + y * self.row + x * self.pixel)
            whole = y.ge(0) & x.ge(0)
            whole = whole & (y + window).le(self.height) & (x + window).le(self.width)
            with b.if_(whole):
                self._channels(base, place, None)
            with b.if_(~whole):
                rows = [inside(y + i, self.height) for i in range(window)]
                columns = [inside(x + j, self.width) for j in range(window)]
                self._channels(base, place, (rows, columns))

    def _channels(self, base: V, place: V, there: tuple[list[V], list[V]] | None) -> None:
        """All channels of one tile; `there`: which rows and columns of the window exist, if not all."""
        b, s, window = self.b, self.s, self.window
        with b.loop(0, self.channels, s.lanes) as (channel,):
            # The last vector is moved back: what is computed twice is the same.
            last = self.channels - s.lanes
            at = b.select(channel.lt(last), channel, last) * s.itemsize
            corner = b.opaque(b.at(base, at))
            values = []
            for i in range(window):
                row = b.at(corner, self.row * i)
                line = []
                for j in range(window):
                    address = b.at(row, self.pixel * j)
                    if there is not None:
                        address = b.select(there[0][i] & there[1][j], address, self.zero)
                    line.append(b.load(s.vector, address, s.itemsize))
                values.append(line)
            to = b.opaque(b.at(place, at))
            for i, row_values in enumerate(columns_of(b, self.line, values)):
                for j, value in enumerate(self.line(b, row_values)):
                    address = b.at(to, self.plane * (i * window + j))
                    b.store(value, address, s.itemsize)
