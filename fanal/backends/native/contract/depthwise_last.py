"""Depthwise convolution over channels-last images: channels on the lanes, some pixels at a time.

A unit is one row of output pixels. For every vector of channels a few neighbouring pixels have a chain
each, which goes through the taps in order; windows are read where they lie. Where one of them reaches
beyond the image, each of its addresses is that of an element or of a zero. Same order of taps, same bits
as the general contraction in `conv.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fanal.backends.native.contract.element import is_stored_as, load
from fanal.backends.native.contract.finish import Epilogue, words_of
from fanal.backends.native.contract.pad import inside
from fanal.backends.native.contract.shape import Shape
from fanal.backends.native.contract.tile import multiply_add
from fanal.backends.native.contract.windows import Phase, in_three, of_three
from fanal.backends.native.emit import Builder, V
from fanal.backends.native.program import Access, Descriptor, Kernel, ProgramBuilder, units_of
from fanal.core.dtypes import DType

# Pixels side by side, taps of a row (they are written out) and of a window, work of a task.
_PIXELS, _ROW_TAPS, _TAPS, _TASK = 8, 16, 256, 1 << 17


@dataclass(frozen=True, slots=True)
class _Form:
    """What a kernel is made for: pixels of a tile, and how taps and pixels of a row lie."""

    pixels: int
    taps: int
    step: int
    reach: int

    @property
    def places(self) -> list[int]:
        """Elements of a row that the tile's pixels meet, from where pixel 0 meets tap 0."""
        return sorted(
            {i * self.step + q * self.reach for i in range(self.pixels) for q in range(self.taps)}
        )


def fits_channels(s: Shape, x: Access, outs: Sequence[Access], axes: Sequence[Phase]) -> bool:
    """Whether one combination of phases can be computed here; `outs` are `out` and the extras."""
    out, *extras = outs
    taps = math.prod(ph.taps for ph in axes)
    channels = out.shape[1]
    lie = x.strides[1] == out.strides[1] == 1 and all(e.strides[1] in (0, 1) for e in extras)
    stored = is_stored_as(x.dtype, s.scalar) and is_stored_as(out.dtype, s.scalar)
    # The last vector of channels is moved back: what is computed twice must not be read in between.
    again = channels % s.lanes and any(e.buffer == out.buffer for e in extras)
    small = 0 < taps <= _TAPS and axes[-1].taps <= _ROW_TAPS and axes[-1].step <= 4
    return lie and stored and not again and small and channels >= s.lanes


def add_depthwise_channels(
    p: ProgramBuilder,
    s: Shape,
    x: Access,
    w: Access,
    outs: Sequence[Access],
    axes: Sequence[Phase],
    epilogue: Epilogue | None,
) -> None:
    """Append the phase of one combination of phases.

    `outs` are `out` and the epilogue's extras, moved to the combination's first output and with its
    period in their strides; `w` has its channels as neighbours, in compute type.
    """
    depth, height, width = in_three(axes)
    form = _Form(_PIXELS if width.count >= _PIXELS else 4, width.taps, width.step, width.reach)
    images, channels = outs[0].shape[:2]
    units = images * depth.count * height.count
    taps = depth.taps * height.taps * width.taps
    per_task = units_of(_TASK, width.count * channels * taps)
    words = [units, per_task, depth.count, height.count, width.count, channels]
    size = x.dtype.itemsize
    extents, steps = of_three(x.shape, 1), [n * size for n in of_three(x.strides, 0)]
    words.append(x.strides[0] * size)
    for i, ph in enumerate((depth, height)):
        words += [ph.start, ph.step, ph.reach, ph.taps, extents[i], steps[i]]
    words += [width.start, extents[2], steps[2]]
    wsteps = of_three(w.strides, 0)
    own = zip((depth, height, width), wsteps, strict=True)
    words += [ph.tap_step * step * w.dtype.itemsize for ph, step in own]
    first = sum(ph.tap * step for ph, step in zip((depth, height, width), wsteps, strict=True))
    w = replace(w, offset=w.offset + first * w.dtype.itemsize)
    modes = []
    for v in outs:
        along = of_three(v.strides, 0)
        words += [v.strides[0] * v.dtype.itemsize, *(n * v.dtype.itemsize for n in along)]
        moving = v is outs[0] or along[2] != 0
        modes.append(("s" if moving else "0") + ("0" if v.strides[1] == 0 else "1"))
    words += words_of(epilogue)
    dtypes = [v.dtype for v in (x, w, *outs)]
    key = f"contract.depthwise.channels|{s.key}|{form}|{','.join(modes)}"
    key += f"|{','.join(d.name for d in dtypes)}|{epilogue.key if epilogue else ''}"

    def emit(b: Builder) -> None:
        _Rows(b, s, form, dtypes, modes, epilogue).emit()

    p.phase(Kernel(key, emit), [x, w, *outs], words, -(-units // per_task), outs[:1])


@dataclass(slots=True)
class _Outer:
    """An axis whose taps are a loop: depth or height."""

    start: V
    step: V
    reach: V
    taps: V
    extent: V
    bytes: V

    def all_there(self, b: Builder, index: V) -> V:
        """Whether all taps of an output lie in the image."""
        first = self.start + index * self.step
        last = first + (self.taps - 1) * self.reach
        return inside(first, self.extent) & inside(last, self.extent)


class _Rows:
    def __init__(
        self,
        b: Builder,
        s: Shape,
        form: _Form,
        dtypes: Sequence[DType],
        modes: Sequence[str],
        epilogue: Epilogue | None,
    ):
        self.b, self.s, self.form, self.dtypes, self.modes = b, s, form, dtypes, modes
        d = Descriptor(b, len(dtypes))
        self.units, self.per_task, self.depth, self.height, self.width, self.channels = (
            d.word() for _ in range(6)
        )
        self.image_step = d.word()
        self.outer = [_Outer(*(d.word() for _ in range(6))) for _ in range(2)]
        self.start, self.extent, self.pixel = (d.word() for _ in range(3))
        self.tap_steps = [d.word() for _ in range(3)]
        self.steps = [[d.word() for _ in range(4)] for _ in dtypes[2:]]
        self.epilogue = None if epilogue is None else epilogue.bound(d)
        self.bases = [d.pointer(n) for n in range(len(dtypes))]
        self.zero = b.alloca("i8", s.lanes * s.itemsize)
        b.store(b.const(s.vector, 0), self.zero, s.itemsize)

    def emit(self) -> None:
        b, form = self.b, self.form
        first = b.arg("task") * self.per_task
        last = first + self.per_task
        last = b.select(last.lt(self.units), last, self.units)
        with b.loop(first, last) as (unit,):
            rest, y = unit.udiv(self.height), unit.urem(self.height)
            image, z = rest.udiv(self.depth), rest.urem(self.depth)
            self.places = [
                axis.start + i * axis.step for axis, i in zip(self.outer, (z, y), strict=True)
            ]
            self.image = b.at(self.bases[0], image * self.image_step)
            self.targets = [
                b.at(base, image * n[0] + z * n[1] + y * n[2])
                for base, n in zip(self.bases[2:], self.steps, strict=True)
            ]
            whole = self.outer[0].all_there(b, z) & self.outer[1].all_there(b, y)
            with b.loop(0, self.width, form.pixels) as (x,):
                low = self.start + x * form.step
                there = inside(low + form.places[0], self.extent)
                there = there & inside(low + form.places[-1], self.extent)
                there = there & (x + form.pixels).le(self.width) & whole
                with b.if_(there):
                    self._tile(x, low, inner=True)
                with b.if_(~there):
                    self._tile(x, low, inner=False)
        b.ret()

    def _tile(self, x: V, low: V, inner: bool) -> None:
        """Some pixels of the row, vector by vector of channels. `inner`: all windows lie in the image,
        and all pixels in the row."""
        b, s = self.b, self.s
        with b.loop(0, self.channels, s.lanes) as (channel,):
            last = self.channels - s.lanes
            at = b.select(channel.lt(last), channel, last) * s.itemsize
            self._store(x, at, self._sums(low, at, inner), inner)

    def _sums(self, low: V, at: V, inner: bool) -> list[V]:
        b, s = self.b, self.s
        depth, height = self.outer
        acc = [b.const(s.vector, 0)] * self.form.pixels
        over_depth = b.loop(0, depth.taps, 1, acc)
        with over_depth as (q, *acc):
            z = self.places[0] + q * depth.reach
            over_height = b.loop(0, height.taps, 1, acc)
            with over_height as (r, *acc):
                y = self.places[1] + r * height.reach
                row = b.at(self.image, z * depth.bytes + y * height.bytes + at)
                exists = inside(z, depth.extent) & inside(y, height.extent)
                weights = b.at(self.bases[1], q * self.tap_steps[0] + r * self.tap_steps[1] + at)
                over_height.next(*self._row(acc, row, weights, low, None if inner else exists))
            over_depth.next(*over_height.results)
        return over_depth.results

    def _row(self, acc: list[V], row: V, weights: V, low: V, exists: V | None) -> list[V]:
        """The taps of one row of the window."""
        b, s, form = self.b, self.s, self.form
        addresses = {}
        for place in form.places:
            address = b.at(row, (low + place) * self.pixel)
            if exists is not None:
                there = exists & inside(low + place, self.extent)
                address = b.select(there, address, self.zero)
            addresses[place] = address
        for q in range(form.taps):
            weight = b.load(s.vector, b.at(weights, self.tap_steps[2] * q), s.itemsize)
            for i in range(form.pixels):
                value = b.load(s.vector, addresses[i * form.step + q * form.reach], s.itemsize)
                acc[i] = multiply_add(b, value, weight, acc[i])
        return acc

    def _store(self, x: V, at: V, sums: list[V], inner: bool) -> None:
        """Finish the pixels' sums and store those that are there."""
        b = self.b
        still = {
            n: self._extra(n, x, at) for n in range(1, len(self.modes)) if self.modes[n][0] == "0"
        }
        for i, value in enumerate(sums):
            pixel = x + i
            if inner:
                self._store_pixel(pixel, at, value, still)
            else:
                with b.if_(pixel.lt(self.width)):
                    self._store_pixel(pixel, at, value, still)

    def _store_pixel(self, pixel: V, at: V, value: V, still: dict[int, V]) -> None:
        b, s = self.b, self.s
        if self.epilogue is not None:
            count = range(1, len(self.modes))
            extras = [still[n] if n in still else self._extra(n, pixel, at) for n in count]
            value = self.epilogue.emit(b, value, extras)
        b.store(value, b.at(self.targets[0], pixel * self.steps[0][3] + at), s.itemsize)

    def _extra(self, n: int, pixel: V, at: V) -> V:
        """A vector of an extra operand (in compute type)."""
        b, s, dtype = self.b, self.s, self.dtypes[2 + n]
        place = b.at(self.targets[n], pixel * self.steps[n][3])
        if self.modes[n][1] == "0":
            return b.splat(load(b, dtype, place, 1, s.scalar), s.lanes)
        offset = at if dtype.itemsize == s.itemsize else at.udiv(s.itemsize) * dtype.itemsize
        return load(b, dtype, b.at(place, offset), s.lanes, s.scalar)
