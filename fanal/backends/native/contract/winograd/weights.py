"""Kernels transformed and packed in panels (see `products.py`), from weights that lie anyhow.

A program that is applied many times does this once (`early.py`). Outer channels go along the lanes; their
taps are collected one by one.
"""

from __future__ import annotations

from fanal.backends.native.contract.shape import Shape
from fanal.backends.native.contract.winograd.products import Panels
from fanal.backends.native.contract.winograd.transforms import columns_of, weights_line
from fanal.backends.native.emit import Builder
from fanal.backends.native.program import Access, Descriptor, Kernel, ProgramBuilder
from fanal.core.dtypes import float32
from fanal.ops.winograd import TAPS

# Kernels that one task transforms at least.
_TASK = 1 << 10


def add_weights(p: ProgramBuilder, s: Shape, w: Access, tile: int) -> Panels:
    """Append the phase."""
    outer, inner = w.shape[:2]
    panels = -(-outer // s.width)
    out = p.temp_like(float32, ((tile + TAPS - 1) ** 2, panels, inner, s.width))
    units = panels * s.vectors * inner
    per_task = max(1, _TASK // s.lanes)
    words = [units, per_task, inner, outer, *(n * s.itemsize for n in (out.strides[0], *w.strides))]
    kernel = Kernel(f"contract.winograd.weights|{s.key}|{tile}", lambda b: _emit(b, s, tile))
    p.phase(kernel, [w, out], words, -(-units // per_task), [out], alone=True)
    return Panels(out, inner, panels)


def _emit(b: Builder, s: Shape, tile: int) -> None:
    d = Descriptor(b, 2)
    units, per_task, inner, outer, plane = (d.word() for _ in range(5))
    steps = [d.word() for _ in range(4)]
    w, out = d.pointer(0), d.pointer(1)
    line, size = weights_line(tile), s.lanes * s.itemsize
    room = b.alloca(s.scalar, TAPS * TAPS * s.lanes)
    first = b.arg("task") * per_task
    last = first + per_task
    last = b.select(last.lt(units), last, units)
    with b.loop(first, last) as (unit,):
        vector, channel = unit.udiv(inner), unit.urem(inner)
        with b.loop(0, s.lanes) as (lane,):
            # Columns beyond the last one repeat it: their sums are never read.
            number = vector * s.lanes + lane
            number = b.select(number.lt(outer), number, outer - 1)
            kernel = b.at(w, number * steps[0] + channel * steps[1])
            for n in range(TAPS * TAPS):
                i, j = divmod(n, TAPS)
                tap = b.load(s.scalar, b.at(kernel, steps[2] * i + steps[3] * j))
                b.store(tap, b.at(room, lane + n * s.lanes, s.scalar))
        taps = [
            [b.load(s.vector, b.at(room, (i * TAPS + j) * size)) for j in range(TAPS)]
            for i in range(TAPS)
        ]
        panel, within = vector.udiv(s.vectors), vector.urem(s.vectors)
        place = b.at(out, (panel * inner + channel) * s.row_bytes + within * size)
        for i, values in enumerate(columns_of(b, line, taps)):
            for j, value in enumerate(line(b, values)):
                n = i * (tile + TAPS - 1) + j
                b.store(value, b.at(place, plane * n), s.itemsize)
    b.ret()
