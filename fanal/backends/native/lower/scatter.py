"""Scatter on the native backend: updates in order, tasks over strips of what isn't indexed.

Several updates of one place are applied in the order of the updates by one task, so the result is
the same for any number of threads.
"""

from __future__ import annotations

import math
from dataclasses import replace

from fanal.backends.native.emit import Builder, V, vector
from fanal.backends.native.emit.value import bits_of
from fanal.backends.native.loops.convert import (
    compute_type,
    from_storage,
    storage_type,
    to_storage,
)
from fanal.backends.native.loops.elementwise import decode, minimum
from fanal.backends.native.loops.operations import apply, report
from fanal.backends.native.loops.structure import merged
from fanal.backends.native.lower.lowering import Lowering, node_form, rule
from fanal.backends.native.program import STATUS_INDEX, Access, Descriptor, Kernel, ProgramBuilder
from fanal.core.dtypes import BY_NAME
from fanal.graph.ir import Node

STRIP = 256  # elements of the innermost dimension that one task works on


@rule("scatter")
def _scatter(low: Lowering, node: Node) -> None:
    x, updates, *indices = node.inputs
    out = low.destination(node.outputs[0])
    low.schedule.store(low.values[x], out)
    # Updates and indices are read many times; broadcast ones stay broadcast.
    reads = [low.operand(v) for v in (updates, *indices)]
    dims, mode = node.attributes["dims"], node.attributes["mode"]

    def emit(p: ProgramBuilder, *accesses: Access) -> None:
        *inputs, to = accesses
        _Scatter(inputs, to, dims, mode).add_phase(p)

    low.opaque(reads, (out,), emit, node_form(node))


class _Scatter:
    def __init__(self, inputs: list[Access], to: Access, dims: tuple[int, ...], mode: str):
        self.updates, *self.indices = inputs
        self.to, self.dims, self.mode = to, dims, mode
        rank = len(self.indices[0].shape)
        rows = [list(i.strides) for i in self.indices] + [list(self.updates.strides[:rank])]
        self.index_extents, self.index_rows = merged(list(self.indices[0].shape), rows)
        rest = [d for d in range(len(to.shape)) if d not in dims]
        rows = [[to.strides[d] for d in rest], list(self.updates.strides[rank:])]
        self.rest_extents, self.rest_rows = merged([to.shape[d] for d in rest], rows)
        if not self.index_extents:
            self.index_extents = [1]
            self.index_rows = [[0] for _ in self.index_rows]
        if not self.rest_extents:
            self.rest_extents, self.rest_rows = [1], [[0], [0]]
        self.unit = self.rest_rows[0][-1] == 1 and self.rest_rows[1][-1] == 1

    def add_phase(self, p: ProgramBuilder) -> None:
        if math.prod(self.updates.shape) == 0:
            return
        inner = self.rest_extents[-1]
        words = [math.prod(self.index_extents), math.prod(self.rest_extents[:-1]), inner]
        words += self.index_extents[1:] + self.rest_extents[1:-1]
        for row in self.index_rows + self.rest_rows:
            words += row
        for d in self.dims:
            words += [self.to.shape[d], self.to.strides[d]]
        key = (
            f"scatter {self.mode} {self.to.dtype.name} {[i.dtype.name for i in self.indices]} "
            f"{len(self.index_extents)} {len(self.rest_extents)} {self.unit}"
        )
        operands = [replace(self.to), self.updates, *self.indices]
        p.phase(Kernel(key, self.emit), operands, words, -(-inner // STRIP))

    def emit(self, b: Builder) -> None:
        dtype = self.to.dtype
        size = bits_of(storage_type(dtype)) // 8
        d = Descriptor(b, 2 + len(self.indices))
        count, outer, inner = d.word(), d.word(), d.word()
        index_extents = [d.word() for _ in self.index_extents[1:]]
        rest_extents = [d.word() for _ in self.rest_extents[1:-1]]
        index_rows = [[d.word() for _ in row] for row in self.index_rows]
        rest_rows = [[d.word() for _ in row] for row in self.rest_rows]
        limits = [(d.word(), d.word()) for _ in self.dims]
        to, updates = d.pointer(0), d.pointer(1)
        tables = [d.pointer(2 + i) for i in range(len(self.indices))]
        start = b.arg("task") * STRIP
        stop = minimum(b, start + STRIP, inner)
        with b.loop(0, count) as (position,):
            at = decode(b, position, index_extents)
            target = b.i64(0)
            for table, access, row, (extent, step) in zip(
                tables, self.indices, index_rows[:-1], limits, strict=True
            ):
                storage = storage_type(access.dtype)
                place = b.load(storage, b.at(table, _dot(b, at, row), storage))
                place = place.cast("sext", "i64")
                wild = place.uge(extent)
                report(b, wild, STATUS_INDEX, place)
                target = target + b.select(wild, b.i64(0), place) * step
            source = _dot(b, at, index_rows[-1])
            with b.loop(0, outer) as (o,):
                if len(self.rest_extents) > 1:
                    rest = decode(b, o, rest_extents)
                    there = target + _dot(b, rest, rest_rows[0][:-1])
                    here = source + _dot(b, rest, rest_rows[1][:-1])
                else:
                    there, here = target, source
                self._row(
                    b, b.at(to, there * size), b.at(updates, here * size), start, stop,
                    rest_rows[0][-1], rest_rows[1][-1],
                )  # fmt: skip
        b.ret()

    def _row(
        self, b: Builder, to: V, source: V, start: V, stop: V, to_step: V, source_step: V
    ) -> None:
        lanes = b.target.lanes(bits_of(compute_type(self.to.dtype))) if self.unit else 1
        whole = start + ((stop - start) & -lanes)
        for first, last, width in ((start, whole, lanes), (whole, stop, 1)):
            with b.loop(first, last, width) as (i,):
                there = i if self.unit else i * to_step
                here = i if self.unit else i * source_step
                self._one(b, to, there, source, here, width)
            if lanes == 1:
                break

    def _one(self, b: Builder, to: V, there: V, source: V, here: V, lanes: int) -> None:
        dtype = self.to.dtype
        storage = storage_type(dtype)
        type_ = vector(storage, lanes)
        address = b.at(to, there, storage)
        new = b.load(type_, b.at(source, here, storage))
        if self.mode != "set":
            name = {"max": "maximum", "min": "minimum"}.get(self.mode, self.mode)
            if dtype is BY_NAME["bool"]:
                name = {"add": "or", "mul": "and"}.get(name, name)
            old = from_storage(b.load(type_, address), dtype)
            new = to_storage(apply(b, name, [old, from_storage(new, dtype)], dtype, dtype), dtype)
        b.store(new, address)


def _dot(b: Builder, index: list[V], strides: list[V]) -> V:
    total = b.i64(0)
    for i, s in zip(index, strides, strict=True):
        total = total + i * s
    return total
