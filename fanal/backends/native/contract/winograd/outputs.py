"""Products transformed back to pixels, with the epilogue done to them on the way.

A unit is one tile. A vector of channels of its outputs lies in a small buffer, and from there goes line
by line to where the result lies (`finish.py`), as much of the tile as there is.
"""

from __future__ import annotations

from collections.abc import Sequence

from fanal.backends.native.contract.element import compute_type
from fanal.backends.native.contract.finish import Epilogue, Finisher, Place
from fanal.backends.native.contract.shape import Shape
from fanal.backends.native.contract.steps import Walk
from fanal.backends.native.contract.winograd.inputs import Grid
from fanal.backends.native.contract.winograd.transforms import columns_of, outputs_line
from fanal.backends.native.emit import Builder, V
from fanal.backends.native.program import Access, Descriptor, Kernel, ProgramBuilder
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
    channels, height, width = outs[0].shape[1:]
    per_task = max(1, _TASK // (channels * grid.tile * grid.tile))
    words = [grid.count, per_task, grid.high, grid.wide, channels, height, width]
    words += [products.strides[0] * 4, products.strides[1] * 4]
    modes = []
    for v in outs:
        words += [n * v.dtype.itemsize for n in v.strides]
        still = v is not outs[0] and v.strides[1] == 0
        pixel = "0" if v is not outs[0] and v.strides[3] == 0 else "s"
        modes.append(pixel + ("0" if still else "1" if v.strides[1] == 1 else "s"))
    dtypes = [v.dtype for v in outs]
    kinds = ",".join(f"{d.name}:{m}" for d, m in zip(dtypes, modes, strict=True))
    key = f"contract.winograd.outputs|{s.key}|{grid.tile}|{kinds}|{epilogue.key if epilogue else ''}"

    def emit(b: Builder) -> None:
        _Tiles(b, s, grid.tile, dtypes, modes, epilogue).emit()

    p.phase(Kernel(key, emit), [products, *outs], words, -(-grid.count // per_task), outs[:1])


class _Tiles:
    def __init__(
        self, b: Builder, s: Shape, tile: int, dtypes: Sequence[DType], modes: Sequence[str],
        epilogue: Epilogue | None,
    ):  # fmt: skip
        self.b, self.s, self.tile, self.window = b, s, tile, tile + TAPS - 1
        self.dtypes, self.modes, self.epilogue = dtypes, modes, epilogue
        d = Descriptor(b, 1 + len(dtypes))
        self.units, self.per_task, self.high, self.wide = (d.word() for _ in range(4))
        self.channels, self.height, self.width = (d.word() for _ in range(3))
        self.plane, self.pitch = d.word(), d.word()
        self.steps = [[d.word() for _ in range(4)] for _ in dtypes]
        self.products, *self.outs = (d.pointer(n) for n in range(1 + len(dtypes)))
        self.line = outputs_line(tile)
        self.room = b.alloca("i8", tile * tile * s.row_bytes)

    def emit(self) -> None:
        b, s = self.b, self.s
        first = b.arg("task") * self.per_task
        last = first + self.per_task
        last = b.select(last.lt(self.units), last, self.units)
        with b.loop(first, last) as (unit,):
            rest, column = unit.udiv(self.wide), unit.urem(self.wide)
            image, line = rest.udiv(self.high), rest.urem(self.high)
            y, x = line * self.tile, column * self.tile
            rows, columns = self.height - y, self.width - x
            rows = b.select(rows.lt(self.tile), rows, self.tile)
            columns = b.select(columns.lt(self.tile), columns, self.tile)
            place = b.at(self.products, unit * self.pitch)
            corners = [
                b.at(base, image * n[0] + y * n[2] + x * n[3])
                for base, n in zip(self.outs, self.steps, strict=True)
            ]
            with b.loop(0, self.channels, s.lanes) as (channel,):
                self._back(b.at(place, channel * s.itemsize))
                with b.loop(0, rows) as (i,):
                    self._finish(corners, i, columns, channel)
        b.ret()

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
        places = []
        for dtype, mode, corner, n in zip(self.dtypes, self.modes, corners, self.steps, strict=True):
            size = dtype.itemsize
            along, across = Walk(b, mode[0], size, n[3], None), Walk(b, mode[1], size, n[1], None)
            places.append(Place(dtype, compute_type(dtype), b.at(corner, i * n[2]), along, across))
        finisher = Finisher(b, s, places[0], places[1:], self.epilogue)
        sums = b.at(self.room, i * (self.tile * s.row_bytes))
        finisher.rows(sums, b.i64(0), columns, channel, self.channels)
