"""Products transformed back to pixels, with the epilogue done to them on the way.

A unit is one tile. A vector of channels of its outputs lies in a small buffer, and from there goes line
by line to where the result lies (`finish.py`), as much of the tile as there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fanal.backends.native.contract.element import compute_type
from fanal.backends.native.contract.finish import Epilogue, Finisher, Place, words_of
from fanal.backends.native.contract.shape import Shape
from fanal.backends.native.contract.steps import Walk
from fanal.backends.native.contract.winograd.inputs import Grid, task_range
from fanal.backends.native.contract.winograd.transforms import columns_of, outputs_line
from fanal.backends.native.emit import Builder, V
from fanal.backends.native.program import Access, Descriptor, Kernel, ProgramBuilder, units_of
from fanal.core.dtypes import DType
from fanal.ops.winograd import TAPS

# Outputs that one task writes at least.
_TASK = 1 << 13


def add_outputs(
    p: ProgramBuilder, s: Shape, products: Access, grid: Grid, outs: Sequence[Access],
    epilogue: Epilogue | None,
) -> None:  # fmt: skip
    """Append the phase. `products` is (points, tiles, channels), `outs` are the result and the epilogue's
    extras, seen with its shape."""
    per_task = units_of(_TASK, outs[0].shape[1] * grid.tile * grid.tile)
    form = Form.of(outs, epilogue)

    def emit(b: Builder) -> None:
        d = Descriptor(b, 1 + len(outs))
        first, last = task_range(b, d)
        tiles = Tiles(b, s, grid.tile, form, d)
        place, *targets = (d.pointer(n) for n in range(1 + len(outs)))
        tiles.run(b.at(place, first * tiles.pitch), first, last, targets)
        b.ret()

    words = [grid.count, per_task, *tile_words(s, products, grid, outs, epilogue)]
    kernel = Kernel(f"contract.winograd.outputs|{s.key}|{grid.tile}|{form.key}", emit)
    p.phase(kernel, [products, *outs], words, -(-grid.count // per_task), outs[:1])


def tile_words(
    s: Shape, products: Access, grid: Grid, outs: Sequence[Access], epilogue: Epilogue | None
) -> list[int]:
    """What `Tiles` reads of a descriptor."""
    words = [grid.high, grid.wide, *outs[0].shape[1:], *(n * s.itemsize for n in products.strides[:2])]
    for v in outs:
        words += [n * v.dtype.itemsize for n in v.strides]
    return [*words, *words_of(epilogue)]


@dataclass(frozen=True, slots=True)
class Form:
    """What a kernel is made for: dtypes of the result and of the extras, how they walk along pixels and
    channels, what is done."""

    dtypes: tuple[DType, ...]
    modes: tuple[str, ...]
    epilogue: Epilogue | None

    @classmethod
    def of(cls, outs: Sequence[Access], epilogue: Epilogue | None) -> Form:
        modes = []
        for v in outs:
            still = v is not outs[0] and v.strides[1] == 0
            pixel = "0" if v is not outs[0] and v.strides[3] == 0 else "s"
            modes.append(pixel + ("0" if still else "1" if v.strides[1] == 1 else "s"))
        return cls(tuple(v.dtype for v in outs), tuple(modes), epilogue)

    @property
    def key(self) -> str:
        kinds = (f"{d.name}:{m}" for d, m in zip(self.dtypes, self.modes, strict=True))
        return f"{','.join(kinds)}|{self.epilogue.key if self.epilogue else ''}"


class Tiles:
    """Transforms some tiles' products back inside a kernel."""

    def __init__(self, b: Builder, s: Shape, tile: int, form: Form, d: Descriptor):
        self.b, self.s, self.tile, self.window, self.form = b, s, tile, tile + TAPS - 1, form
        self.high, self.wide, self.channels, self.height, self.width = (d.word() for _ in range(5))
        self.plane, self.pitch = d.word(), d.word()
        self.steps = [[d.word() for _ in range(4)] for _ in form.dtypes]
        self.epilogue = None if form.epilogue is None else form.epilogue.bound(d)
        self.line = outputs_line(tile)
        self.room = b.alloca("i8", tile * tile * s.row_bytes)

    def run(self, products: V, first: V, last: V, outs: Sequence[V]) -> None:
        """Tiles `first` to `last`; the first one's products lie at `products`."""
        b, s = self.b, self.s
        with b.loop(first, last) as (unit,):
            rest, column = unit.udiv(self.wide), unit.urem(self.wide)
            image, line = rest.udiv(self.high), rest.urem(self.high)
            y, x = line * self.tile, column * self.tile
            rows, columns = self.height - y, self.width - x
            rows = b.select(rows.lt(self.tile), rows, self.tile)
            columns = b.select(columns.lt(self.tile), columns, self.tile)
            place = b.at(products, (unit - first) * self.pitch)
            corners = [
                b.at(base, image * n[0] + y * n[2] + x * n[3])
                for base, n in zip(outs, self.steps, strict=True)
            ]
            with b.loop(0, self.channels, s.lanes) as (channel,):
                self._back(b.at(place, channel * s.itemsize))
                with b.loop(0, rows) as (i,):
                    self._finish(corners, i, columns, channel)

    def _back(self, products: V) -> None:
        """One vector of channels of a tile, to the buffer."""
        b, s, window = self.b, self.s, self.window
        base = b.opaque(products)
        values = [
            [b.load(s.vector, b.at(base, self.plane * (i * window + j)), s.itemsize) for j in range(window)]
            for i in range(window)
        ]
        for i, row in enumerate(columns_of(b, self.line, values)):
            for j, value in enumerate(self.line(b, row)):
                b.store(value, b.at(self.room, (i * self.tile + j) * s.row_bytes))

    def _finish(self, corners: Sequence[V], i: V, columns: V, channel: V) -> None:
        """One line of the tile's outputs, to where they belong."""
        b, s = self.b, self.s
        places, form = [], self.form
        for dtype, mode, corner, n in zip(form.dtypes, form.modes, corners, self.steps, strict=True):
            size = dtype.itemsize
            along, across = Walk(b, mode[0], size, n[3], None), Walk(b, mode[1], size, n[1], None)
            places.append(Place(dtype, compute_type(dtype), b.at(corner, i * n[2]), along, across))
        finisher = Finisher(b, s, places[0], places[1:], self.epilogue)
        sums = b.at(self.room, i * (self.tile * s.row_bytes))
        finisher.rows(sums, b.i64(0), columns, channel, self.channels)
