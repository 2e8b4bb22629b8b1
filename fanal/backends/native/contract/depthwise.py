"""Depthwise convolution over planes: pixels on the lanes, one channel at a time.

Where every group has one input channel, a sum has only as many terms as the kernel has taps, and the
work is moving pixels. A unit is a strip of output rows of one plane: the input rows that it meets are
copied with their padding into a buffer on the stack (dealt out by the stride, so that neighbouring
outputs read neighbours), then every tap is a shifted load times a broadcast weight. The twin of this
file is the general contraction in `conv.py`: same order of taps, same bits.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from fanal.backends.native.contract.element import compute_type, load
from fanal.backends.native.contract.finish import Epilogue, Finisher, Place, words_of
from fanal.backends.native.contract.gemm import add_block, tile_counts
from fanal.backends.native.contract.pad import PaddedRow, inside
from fanal.backends.native.contract.shape import KC, Shape, thin_shape
from fanal.backends.native.contract.steps import Walk
from fanal.backends.native.contract.tile import accumulate
from fanal.backends.native.contract.windows import Phase, in_three, of_three
from fanal.backends.native.emit import Builder, V
from fanal.backends.native.program import Access, Descriptor, Kernel, ProgramBuilder, units_of
from fanal.core.dtypes import DType

# Bytes of the strip on the stack, output rows of a strip at most, taps at most, outputs of a task.
_ROOM, _ROWS, _TAPS, _TASK = 20 << 10, 64, 256, 1 << 14


@dataclass(frozen=True, slots=True)
class Strip:
    """How a plane is cut: the shape of the buffer and what it holds, along (depth, height, width)."""

    axes: tuple[Phase, Phase, Phase]
    rows: int

    @property
    def deal(self) -> int:
        return self.axes[2].step

    def low(self, axis: int) -> int:
        """The first input element that output 0 meets."""
        ph = self.axes[axis]
        return ph.start + min(0, (ph.taps - 1) * ph.reach)

    def span(self, axis: int, outputs: int) -> int:
        """Input elements that so many outputs meet."""
        ph = self.axes[axis]
        return (outputs - 1) * ph.step + (ph.taps - 1) * abs(ph.reach) + 1

    @property
    def width(self) -> int:
        return self.span(2, self.axes[2].count)

    @property
    def row_elements(self) -> int:
        """Elements of one row of the buffer."""
        return self.deal * -(-self.width // self.deal)

    @property
    def buffer_rows(self) -> int:
        """Rows of one depth of the buffer."""
        return self.span(1, self.rows)

    def nbytes(self, itemsize: int) -> int:
        return self.axes[0].taps * self.buffer_rows * self.row_elements * itemsize

    def tap_offsets(self) -> list[int]:
        """Where every tap lies from the place of output (0, 0, 0), in elements of the buffer."""
        _, height, width = self.axes
        offsets = []
        for d, h, w in itertools.product(*(range(ph.taps) for ph in self.axes)):
            row = d * self.buffer_rows + h * height.reach - min(0, (height.taps - 1) * height.reach)
            column = w * width.reach - min(0, (width.taps - 1) * width.reach)
            share = self.row_elements // self.deal
            column = column % self.deal * share + column // self.deal
            offsets.append(row * self.row_elements + column)
        return offsets


def strip_for(s: Shape, axes: Sequence[Phase]) -> Strip | None:
    """The tallest strip that fits; None where a row is too long, or nothing is met."""
    padded = in_three(axes)
    taps = math.prod(ph.taps for ph in padded)
    if not 0 < taps <= _TAPS:
        return None
    rows = min(padded[1].count, _ROWS)
    while rows > 0:
        strip = Strip(padded, rows)
        if strip.nbytes(s.itemsize) <= _ROOM:
            return strip
        rows = rows // 2
    return None


def add_depthwise(
    p: ProgramBuilder,
    s: Shape,
    strip: Strip,
    x: Access,
    w: Access,
    outs: Sequence[Access],
    multiplier: int,
    weights: tuple[int, int, list[int]],
    epilogue: Epilogue | None,
) -> None:
    """Append the phase of one combination of phases.

    `outs` are `out` and the epilogue's extras, moved to the combination's first output and with its
    period in their strides. `weights` are the steps from group to group and inside a group, and the
    offset of every tap.
    """
    vectors = 2 if strip.axes[2].count > s.lanes else 1
    s = thin_shape(s, 8 // vectors, vectors)
    images, planes = outs[0].shape[:2]
    depth, height, width = (ph.count for ph in strip.axes)
    strips = -(-height // strip.rows)
    units = images * planes * depth * strips
    per_task = units_of(_TASK, strip.rows * width)
    words = [units, per_task, strips, depth, planes, multiplier, strip.rows, height, width]
    words += _input_words(x, strip)
    words += [weights[0] * w.dtype.itemsize, weights[1] * w.dtype.itemsize, len(weights[2])]
    modes = []
    for v in outs:
        steps = of_three(v.strides, 0)
        size = v.dtype.itemsize
        mode = "1" if steps[2] == 1 else "0" if steps[2] == 0 and v is not outs[0] else "s"
        modes.append(mode)
        words += [step * size for step in (v.strides[0], v.strides[1], *steps)]
    words += words_of(epilogue)
    words += [offset * s.itemsize for offset in strip.tap_offsets()]
    words += [offset * w.dtype.itemsize for offset in weights[2]]
    dtypes = [v.dtype for v in (x, w, *outs)]
    unit = x.strides[-1] == 1
    key = f"contract.depthwise|{s.key}|{unit}|{strip.deal > 1}|{','.join(modes)}"
    key += f"|{','.join(d.name for d in dtypes)}|{epilogue.key if epilogue else ''}"

    def emit(b: Builder) -> None:
        _Depthwise(b, s, dtypes, modes, unit, strip.deal > 1, epilogue).emit()

    p.phase(Kernel(key, emit), [x, w, *outs], words, -(-units // per_task), outs[:1])


def _input_words(x: Access, strip: Strip) -> list[int]:
    """Per axis: where output 0 starts, the step an output, the extent, the step in bytes."""
    size = x.dtype.itemsize
    extents, strides = of_three(x.shape, 1), of_three(x.strides, 0)
    words = [x.strides[0] * size, x.strides[1] * size]
    for axis in (0, 1):
        ph = strip.axes[axis]
        words += [strip.low(axis), ph.step, extents[axis], strides[axis] * size]
    words += [strip.axes[0].taps, strip.axes[0].reach, strip.axes[1].step]
    words += [strip.buffer_rows, strip.span(1, 1)]
    first = strip.low(2)
    zeros = min(max(0, -first), strip.width)
    skip = max(0, first)
    there = max(0, min(extents[2] - skip, strip.width - zeros))
    step = strides[2] * size
    words += [skip * step, zeros, there, strip.width, step, strip.deal, strip.row_elements]
    return words


class _Words(Descriptor):
    """A descriptor that ends in lists."""

    def rest(self) -> V:
        """The address of the next word."""
        return self.b.at(self.b.arg("desc"), self._next, "i64")


class _Depthwise:
    def __init__(
        self,
        b: Builder,
        s: Shape,
        dtypes: Sequence[DType],
        modes: Sequence[str],
        unit: bool,
        dealt: bool,
        epilogue: Epilogue | None,
    ):
        self.b, self.s, self.dtypes, self.dealt = b, s, dtypes, dealt
        d = _Words(b, len(dtypes))
        (
            self.units, self.per_task, self.strips, self.depth, self.planes, self.multiplier,
            self.strip_rows, self.height, self.width,
        ) = (d.word() for _ in range(9))  # fmt: skip
        self.image_step, self.channel_step = d.word(), d.word()
        self.axes = [tuple(d.word() for _ in range(4)) for _ in range(2)]
        self.depth_taps, self.depth_reach, self.row_step, self.buffer_rows, self.span = (
            d.word() for _ in range(5)
        )
        self.skip = d.word()
        axis = tuple(d.word() for _ in range(4))
        self.deal, self.row_elements = d.word(), d.word()
        self.row = PaddedRow(b, s, dtypes[0], unit, axis)
        self.group_step, self.member_step, self.taps = d.word(), d.word(), d.word()
        self.steps = [[d.word() for _ in range(5)] for _ in dtypes[2:]]
        self.epilogue = None if epilogue is None else epilogue.bound(d)
        self.modes = modes
        self.tap_table = d.rest()
        self.weight_table = b.at(self.tap_table, self.taps, "i64")
        self.bases = [d.pointer(n) for n in range(len(dtypes))]
        # Vectors at the end of the last row run a little beyond it; a dealt row is padded first.
        self.buffer = b.alloca("i8", _ROOM + 2 * s.row_bytes)
        self.padded = b.alloca("i8", _ROOM + 2 * s.row_bytes) if dealt else None
        self.weights = b.alloca("i8", _TAPS * s.itemsize)
        self.totals = b.alloca("i8", (_ROWS + s.rows) * s.row_bytes)

    def emit(self) -> None:
        b = self.b
        first = b.arg("task") * self.per_task
        last = first + self.per_task
        last = b.select(last.lt(self.units), last, self.units)
        with b.loop(first, last) as (unit,):
            rest, strip = unit.udiv(self.strips), unit.urem(self.strips)
            rest, z = rest.udiv(self.depth), rest.urem(self.depth)
            image, plane = rest.udiv(self.planes), rest.urem(self.planes)
            first_row = strip * self.strip_rows
            left = self.height - first_row
            rows = b.select(left.lt(self.strip_rows), left, self.strip_rows)
            self._copy_rows(image, plane, z, first_row, rows)
            self._copy_weights(plane)
            self._compute(image, plane, z, first_row, rows)
        b.ret()

    def _copy_rows(self, image: V, plane: V, z: V, first_row: V, rows: V) -> None:
        """The input rows of the strip, with their padding, into the buffer."""
        b = self.b
        channel = plane.udiv(self.multiplier)
        source = b.at(self.bases[0], image * self.image_step + channel * self.channel_step + self.skip)
        (low_z, step_z, extent_z, bytes_z), (low_y, step_y, extent_y, bytes_y) = self.axes
        row_bytes = self.row_elements * self.s.itemsize
        count = (rows - 1) * self.row_step + self.span
        # Depth taps are numbered from the first; a negative reach starts at the far end.
        origin = b.select(self.depth_reach.lt(0), (self.depth_taps - 1) * -self.depth_reach, 0)
        with b.loop(0, self.depth_taps) as (tap,):
            at_z = low_z + z * step_z + origin + tap * self.depth_reach
            with b.loop(0, count) as (r,):
                at_y = low_y + first_row * step_y + r
                exists = inside(at_z, extent_z) & inside(at_y, extent_y)
                place = b.at(self.buffer, (tap * self.buffer_rows + r) * row_bytes)
                row = b.at(source, at_z * bytes_z + at_y * bytes_y)
                if self.padded is None:
                    self.row.copy(row, place, exists)
                else:
                    self.row.copy(row, self.padded, exists)
                    self._deal(place)

    def _deal(self, place: V) -> None:
        """A padded row, every `deal`-th element of it after one another, phase by phase."""
        b, s = self.b, self.s
        assert self.padded is not None
        share = self.row_elements.udiv(self.deal)
        two = self.deal.eq(2)
        with b.if_(two), b.loop(0, share, s.lanes) as (i,):
            # Both halves are written in order, so what runs over the first is written again.
            self._deal_two(place, i, share, 0)
        with b.if_(two), b.loop(0, share, s.lanes) as (i,):
            self._deal_two(place, i, share, 1)
        with b.if_(~two), b.loop(0, self.deal) as (phase,), b.loop(0, share) as (i,):
            value = b.load(s.scalar, b.at(self.padded, (i * self.deal + phase) * s.itemsize))
            b.store(value, b.at(place, (phase * share + i) * s.itemsize))

    def _deal_two(self, place: V, i: V, share: V, phase: int) -> None:
        b, s = self.b, self.s
        assert self.padded is not None
        at = b.at(self.padded, i * (2 * s.itemsize))
        one = b.load(s.vector, at, s.itemsize)
        two = b.load(s.vector, b.at(at, s.lanes * s.itemsize), s.itemsize)
        picked = b.shuffle(one, two, range(phase, 2 * s.lanes, 2))
        start = share if phase else b.i64(0)
        b.store(picked, b.at(place, (start + i) * s.itemsize), s.itemsize)

    def _copy_weights(self, plane: V) -> None:
        b, s = self.b, self.s
        group, member = plane.udiv(self.multiplier), plane.urem(self.multiplier)
        base = b.at(self.bases[1], group * self.group_step + member * self.member_step)
        with b.loop(0, self.taps) as (t,):
            offset = b.load("i64", b.at(self.weight_table, t, "i64"))
            value = load(b, self.dtypes[1], b.at(base, offset), 1, s.scalar)
            b.store(value, b.at(self.weights, t * s.itemsize))

    def _compute(self, image: V, plane: V, z: V, first_row: V, rows: V) -> None:
        b, s = self.b, self.s
        places = []
        for n, (mode, steps) in enumerate(zip(self.modes, self.steps, strict=True)):
            dtype = self.dtypes[2 + n]
            base = b.at(self.bases[2 + n], image * steps[0] + plane * steps[1] + z * steps[2])
            row_walk = Walk(b, "s", dtype.itemsize, steps[3], None)
            col_walk = Walk(b, mode, dtype.itemsize, steps[4], None)
            places.append(Place(dtype, compute_type(dtype), base, row_walk, col_walk))
        finisher = Finisher(b, s, places[0], places[1:], self.epilogue)
        inner = Walk(b, "t", s.itemsize, b.i64(0), self.tap_table)
        with b.loop(0, self.width, s.width) as (col,):
            with b.loop(0, self.taps, KC) as (start,):
                depth = self.taps - start
                depth = b.select(depth.lt(KC), depth, KC)
                many, _ = tile_counts(b, s, rows)
                with b.loop(0, many) as (t,):
                    self._tile(t * s.rows, rows, col, inner, start, depth)
            finisher.rows(self.totals, first_row, rows, col, self.width)

    def _tile(self, at: V, rows: V, col: V, inner: Walk, start: V, depth: V) -> None:
        b, s = self.b, self.s
        size = s.lanes * s.itemsize
        pitch = self.row_step * self.row_elements
        pointers = []
        for i in range(s.rows):
            row = at + i
            row = b.select(row.lt(rows), row, rows - 1)
            pointers.append(b.at(self.buffer, (row * pitch + col) * s.itemsize))

        def columns(place: V, k: V) -> list[V]:
            weight = b.load(s.scalar, b.at(self.weights, (start + k) * s.itemsize))
            return [b.splat(weight, s.lanes)] * s.vectors

        sums = accumulate(
            b, s, pointers, inner, start, depth, columns, self.weights, 0, across=True
        )
        out = b.at(self.totals, at * s.row_bytes)
        places = [b.at(out, n * size) for n in range(len(sums))]
        add_block(b, sums, places, places, start.eq(0), size)
