"""Kernels transformed: [point][inner channel][outer channel], from weights that lie anyhow.

A program that is applied many times does this once (`early.py`). Outer channels go along the lanes; their
taps are collected one by one.
"""

from __future__ import annotations

from fanal.backends.native.contract.shape import Shape
from fanal.backends.native.contract.winograd.transforms import columns_of, weights_line
from fanal.backends.native.emit import Builder
from fanal.backends.native.program import Access, Descriptor, Kernel, ProgramBuilder
from fanal.core.dtypes import float32
from fanal.ops.winograd import TAPS

# Kernels that one task transforms at least.
_TASK = 1 << 10


def add_weights(p: ProgramBuilder, s: Shape, w: Access, tile: int) -> Access:
    """Append the phase; returns the access (points, inner channels, outer channels)."""
    outer, inner = w.shape[:2]
    points = (tile + TAPS - 1) ** 2
    # Whole vectors are stored.
    pitch = -(-outer // s.lanes) * s.lanes
    out = p.temp_like(float32, (points, inner, pitch))
    vectors = pitch // s.lanes
    units = vectors * inner
    per_task = max(1, _TASK // s.lanes)
    words = [units, per_task, inner, outer, out.strides[0] * 4, pitch * 4, *(n * 4 for n in w.strides)]
    kernel = Kernel(f"contract.winograd.weights|{s.key}|{tile}", lambda b: _emit(b, s, tile))
    p.phase(kernel, [w, out], words, -(-units // per_task), [out], alone=True)
    return Access(out.buffer, out.dtype, (points, inner, outer), out.strides)


def _emit(b: Builder, s: Shape, tile: int) -> None:
    d = Descriptor(b, 2)
    units, per_task, inner, outer, plane, row = (d.word() for _ in range(6))
    steps = [d.word() for _ in range(4)]
    w, out = d.pointer(0), d.pointer(1)
    line, size = weights_line(tile), s.lanes * s.itemsize
    room = b.alloca(s.scalar, TAPS * TAPS * s.lanes)
    first = b.arg("task") * per_task
    last = first + per_task
    last = b.select(last.lt(units), last, units)
    with b.loop(first, last) as (unit,):
        start, channel = unit.udiv(inner) * s.lanes, unit.urem(inner)
        with b.loop(0, s.lanes) as (lane,):
            number = start + lane
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
        place = b.at(out, channel * row + start * s.itemsize)
        for i, values in enumerate(columns_of(b, line, taps)):
            for j, value in enumerate(line(b, values)):
                n = i * (tile + TAPS - 1) + j
                b.store(value, b.at(place, plane * n))
    b.ret()
