"""Images copied with their padding: every window of a convolution then lies inside memory.

The copy is [planes][depth][height][width] in compute type, zeros around. "Width" is the axis that
is contiguous in the copy: a row of pixels, or of pixels and their channels. A *turned* copy takes
planes of channels to pixels with their channels, through transposes in registers.
"""

from __future__ import annotations

from dataclasses import dataclass

from fanal.backends.native.contract.element import load
from fanal.backends.native.contract.pack import Packer
from fanal.backends.native.contract.shape import Shape
from fanal.backends.native.contract.steps import Walk
from fanal.backends.native.emit import Builder, V
from fanal.backends.native.program import Access, Descriptor, Kernel, ProgramBuilder, units_of
from fanal.core.dtypes import DType

TASK_ELEMENTS = 1 << 14


@dataclass(frozen=True, slots=True)
class Axis:
    """One padded axis: zeros before, elements (at `step` elements from one another), zeros after."""

    low: int
    extent: int
    high: int
    step: int

    @property
    def padded(self) -> int:
        return self.low + self.extent + self.high


def add_pad(
    p: ProgramBuilder,
    s: Shape,
    source: Access,
    out: Access,
    planes: tuple[tuple[int, int], tuple[int, int]],
    axes: tuple[Axis, Axis, Axis],
    channels: tuple[int, int] = (1, 0),
    deal: int = 1,
) -> None:
    """Append the phase. `planes` are two loops (extent, step in elements of `source`).

    With `channels` (count, step), a pixel of the copy is that many elements, gathered from planes.
    With `deal`, a row of the copy has its elements 0, deal, 2·deal, … first, then 1, deal + 1, …
    (as many of each as of the first).
    """
    size = source.dtype.itemsize
    depth, height, width = axes
    rows = planes[0][0] * planes[1][0] * depth.padded * height.padded
    per_task = units_of(TASK_ELEMENTS, width.padded * channels[0])
    words = [rows, per_task, planes[1][0], planes[0][1] * size, planes[1][1] * size]
    for axis in axes:
        words += [axis.low, axis.extent, axis.padded, axis.step * size]
    words += [channels[0], channels[1] * size, deal, -(-width.padded // deal)]
    unit = width.step == 1 or width.extent <= 1
    form = "turned" if channels[0] > 1 else "dealt" if deal > 1 else "plain"
    key = f"contract.pad|{s.scalar}|{source.dtype.name}|{unit}|{form}"
    kernel = Kernel(key, lambda b: _emit(b, s, source.dtype, unit, form))
    p.phase(kernel, [source, out], words, -(-rows // per_task), [out], alone=True)


def _emit(b: Builder, s: Shape, dtype: DType, unit: bool, form: str) -> None:
    d = Descriptor(b, 2)
    rows, per_task, planes_inner, step_outer, step_inner = (d.word() for _ in range(5))
    axes = [tuple(d.word() for _ in range(4)) for _ in range(3)]
    source, out = d.pointer(0), d.pointer(1)
    (low_d, depth, padded_d, step_d), (low_h, height, padded_h, step_h) = axes[:2]
    channels, channel_step, deal, share = (d.word() for _ in range(4))
    row = PaddedRow(b, s, dtype, unit, axes[2])
    if form == "dealt":
        row = DealtRow(b, s, dtype, unit, axes[2], deal, share)
    elif form == "turned":
        row = TurnedRow(b, s, dtype, unit, axes[2], channels, channel_step)
    first = b.arg("task") * per_task
    last = first + per_task
    last = b.select(last.lt(rows), last, rows)
    with b.loop(first, last) as (r,):
        rest, y = r.udiv(padded_h), r.urem(padded_h) - low_h
        plane, z = rest.udiv(padded_d), rest.urem(padded_d) - low_d
        outer, inner = plane.udiv(planes_inner), plane.urem(planes_inner)
        offset = outer * step_outer + inner * step_inner + z * step_d + y * step_h
        row.copy(b.at(source, offset), b.at(out, r * row.length_bytes), inside(z, depth) & inside(y, height))
    b.ret()


def inside(index: V, extent: V) -> V:
    """Whether 0 <= index < extent."""
    return index.ult(extent)


class PaddedRow:
    """Copies one row with its zeros inside a kernel."""

    def __init__(
        self,
        b: Builder,
        s: Shape,
        dtype: DType,
        unit: bool,
        axis: tuple[V, ...],
    ):
        self.b, self.s, self.dtype, self.unit = b, s, dtype, unit
        self.low, self.extent, self.padded, self.step = axis
        self.length_bytes = self.padded * s.itemsize

    def copy(self, source: V, out: V, exists: V) -> None:
        """Write the row at `out`; `source` is its first element, unless it is all padding."""
        b = self.b
        with b.if_(~exists):
            self._run(self.padded, out, None)
        with b.if_(exists):
            after = self.low + self.extent
            size = self.s.itemsize
            self._run(self.low, out, None)
            self._run(self.extent, b.at(out, self.low * size), source)
            self._run(self.padded - after, b.at(out, after * size), None)

    def _run(self, count: V, out: V, source: V | None) -> None:
        """`count` elements from `source`, or zeros; whole vectors where one fits."""
        b, s = self.b, self.s
        size = self.dtype.itemsize
        if source is not None and not self.unit:
            with b.loop(0, count) as (i,):
                value = load(b, self.dtype, b.at(source, i * self.step), 1, s.scalar)
                b.store(value, b.at(out, i * s.itemsize))
            return

        def move(i: V, lanes: int) -> None:
            if source is None:
                value = b.splat(b.const(s.scalar, 0), lanes)
            else:
                value = load(b, self.dtype, b.at(source, i * size), lanes, s.scalar)
            b.store(value, b.at(out, i * s.itemsize))

        wide = count.ge(s.lanes)
        with b.if_(wide):
            last = count - s.lanes
            with b.loop(0, last, s.lanes) as (i,):
                move(i, s.lanes)
            move(last, s.lanes)  # overlaps the one before: no tail
        with b.if_(~wide), b.loop(0, count) as (i,):
            move(i, 1)


class TurnedRow(PaddedRow):
    """A row of pixels with all their channels, from as many planes."""

    def __init__(
        self,
        b: Builder,
        s: Shape,
        dtype: DType,
        unit: bool,
        axis: tuple[V, ...],
        channels: V,
        channel_step: V,
    ):
        super().__init__(b, s, dtype, unit, axis)
        self.channels, self.channel_step = channels, channel_step
        self.pixel_bytes = channels * s.itemsize
        self.length_bytes = self.padded * self.pixel_bytes

    def copy(self, source: V, out: V, exists: V) -> None:
        b, s = self.b, self.s
        with b.if_(~exists):
            self._run(self.padded * self.channels, out, None)
        with b.if_(exists):
            after = self.low + self.extent
            self._run(self.low * self.channels, out, None)
            tail = b.at(out, after * self.pixel_bytes)
            self._run((self.padded - after) * self.channels, tail, None)
            place = b.at(out, self.low * self.pixel_bytes)
            cols = Walk(b, "s", self.dtype.itemsize, self.channel_step, None)
            inner = Walk(b, "s", self.dtype.itemsize, self.step, None)
            how = "inner" if self.unit else "any"
            packer = Packer(
                b, s, how, self.dtype, source, cols, inner, self.channels, self.pixel_bytes, True
            )
            panels = (self.channels + (s.width - 1)).udiv(s.width)
            with b.loop(0, panels) as (j,):
                packer.panel(j * s.width, b.i64(0), self.extent, b.at(place, j * s.row_bytes))


class DealtRow(PaddedRow):
    """A row whose elements lie a stride apart in the source and side by side in the copy."""

    def __init__(
        self, b: Builder, s: Shape, dtype: DType, unit: bool, axis: tuple[V, ...], deal: V, share: V
    ):
        super().__init__(b, s, dtype, unit, axis)
        self.deal, self.share = deal, share
        self.length_bytes = deal * share * s.itemsize

    def copy(self, source: V, out: V, exists: V) -> None:
        b, s = self.b, self.s
        with b.if_(~exists):
            self._run(self.deal * self.share, out, None)
        with b.if_(exists), b.loop(0, self.deal) as (phase,):
            place = b.at(out, phase * self.share * s.itemsize)
            start = phase - self.low
            # Where both loads of a vector lie inside the row: from `first` on, until `stop`.
            first = b.select(start.lt(0), (self.deal - 1 - start).udiv(self.deal), 0)
            stop = first
            if self.unit and s.lanes > 1:
                usable = self.extent - (start + first * 2)
                whole = b.select(usable.gt(0) & self.deal.eq(2), usable, 0) & -(2 * s.lanes)
                stop = first + whole.lshr(1)
                with b.loop(first, stop, s.lanes) as (i,):
                    b.store(self._every_second(source, start + i * 2), b.at(place, i * s.itemsize))
            self._scalars(source, place, start, b.i64(0), first)
            self._scalars(source, place, start, stop, self.share)

    def _every_second(self, source: V, column: V) -> V:
        b, s = self.b, self.s
        size = self.dtype.itemsize
        at = b.at(source, column * size)
        one = load(b, self.dtype, at, s.lanes, s.scalar)
        two = load(b, self.dtype, b.at(at, s.lanes * size), s.lanes, s.scalar)
        return b.shuffle(one, two, range(0, 2 * s.lanes, 2))

    def _scalars(self, source: V, place: V, start: V, low: V, high: V) -> None:
        b, s = self.b, self.s
        with b.loop(low, high) as (i,):
            column = start + i * self.deal
            good = inside(column, self.extent)
            at = b.at(source, b.select(good, column, 0) * self.step)
            value = load(b, self.dtype, at, 1, s.scalar)
            b.store(b.select(good, value, 0), b.at(place, i * s.itemsize))
