"""Running sums, products and extremes: a chain along the dimension, vectors across lines."""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V, vector
from fanal.backends.native.emit.value import bits_of
from fanal.backends.native.loops.convert import (
    compute_type,
    from_storage,
    storage_type,
    to_storage,
)
from fanal.backends.native.loops.elementwise import minimum
from fanal.backends.native.loops.operations import apply
from fanal.backends.native.lower.lines import LineWords, lines_of, read
from fanal.backends.native.lower.lowering import Lowering, rule
from fanal.backends.native.program import Access, Descriptor, Kernel, ProgramBuilder, units_of
from fanal.core import dtypes
from fanal.core.dtypes import DType
from fanal.graph.ir import Node

TASK_ELEMENTS = 16384


def _register(name: str) -> None:
    @rule(name)
    def lower(low: Lowering, node: Node) -> None:
        x = low.operand(node.inputs[0])
        outs = [low.destination(v) for v in node.outputs]
        dim = node.attributes["dim"]

        def emit(p: ProgramBuilder, *accesses: Access) -> None:
            _Cumulative(name, list(accesses), dim).add_phase(p)

        if x.shape == ():  # a single element is its own running sum
            low.schedule.store(low.values[node.inputs[0]], outs[0])
            return
        low.opaque((x,), outs, emit)


for _name in ("cumsum", "cumprod", "cummax", "cummin"):
    _register(_name)


class _Cumulative:
    def __init__(self, name: str, operands: list[Access], dim: int):
        self.name, self.operands = name, operands
        self.dtype: DType = operands[0].dtype
        self.lines = lines_of(operands, dim)
        self.unit = all(r[-1] == 1 for r in self.lines.rows)

    def add_phase(self, p: ProgramBuilder) -> None:
        if self.lines.count * self.lines.length == 0:
            return
        columns = self.lines.extents[-1]
        width = p.target.lanes(bits_of(compute_type(self.dtype))) if self.unit else 1
        strips = -(-columns // width)
        units = self.lines.count // columns * strips
        per_task = units_of(TASK_ELEMENTS, self.lines.length * width)
        words = [units, per_task, strips, *self.lines.words()]
        key = f"{self.name} {self.dtype.name} {self.lines.rank} {self.unit}"
        p.phase(Kernel(key, self.emit), self.operands, words, -(-units // per_task))

    def emit(self, b: Builder) -> None:
        d = Descriptor(b, len(self.operands))
        units, per_task, strips = d.word(), d.word(), d.word()
        words = read(d, len(self.operands), self.lines.rank)
        pointers = [d.pointer(i) for i in range(len(self.operands))]
        lanes = b.target.lanes(bits_of(compute_type(self.dtype))) if self.unit else 1
        columns = words.extents[-1]
        low = b.arg("task") * per_task
        with b.loop(low, minimum(b, low + per_task, units)) as (unit,):
            row = unit.udiv(strips)
            first = (unit - row * strips) * lanes
            line = row * columns + first
            if lanes == 1:
                self._chain(b, words, pointers, line, 1)
            else:
                whole = (first + lanes).le(columns)
                with b.if_(whole):
                    self._chain(b, words, pointers, line, lanes)
                with b.if_(~whole), b.loop(first, columns) as (column,):
                    self._chain(b, words, pointers, row * columns + column, 1)
        b.ret()

    def _chain(self, b: Builder, words: LineWords, pointers: list[V], line: V, lanes: int) -> None:
        offsets = words.offsets(b, line)
        kinds = [a.dtype for a in self.operands]
        storage = [storage_type(k) for k in kinds]

        def place(operand: int, i: V) -> V:
            at = offsets[operand] + i * words.steps[operand]
            return b.at(pointers[operand], at, storage[operand])

        def element(i: V) -> V:
            return from_storage(b.load(vector(storage[0], lanes), place(0, i)), self.dtype)

        start = element(b.i64(0))
        b.store(to_storage(start, self.dtype), place(1, b.i64(0)))
        carry = [start]
        if len(kinds) > 2:
            carry.append(b.const(vector("i64", lanes), 0))
            b.store(carry[1], place(2, b.i64(0)))
        loop = b.loop(1, words.length, 1, carry=carry)
        with loop as (i, *state):
            new = self._advance(b, state, element(i), i, lanes)
            loop.next(*new)
            b.store(to_storage(new[0], self.dtype), place(1, i))
            if len(new) > 1:
                b.store(new[1], place(2, i))

    def _advance(self, b: Builder, state: list[V], x: V, i: V, lanes: int) -> list[V]:
        if self.name in ("cumsum", "cumprod"):
            op = "add" if self.name == "cumsum" else "mul"
            wide = dtypes.float32 if self.dtype.bits == 16 and self.dtype.kind == "f" else self.dtype
            return [apply(b, op, [state[0], x], wide, wide)]
        value, index = state
        compare = apply(b, "ge" if self.name == "cummax" else "le", [x, value], self.dtype, dtypes.bool_)
        if self.dtype.kind == "f":
            compare = b.op(compare.type, f"or {compare.type} {compare.ref}, {x.isnan().ref}")
            kept = b.op(compare.type, f"and {compare.type} {value.isnan().ref}, {(~x.isnan()).ref}")
            compare = b.op(compare.type, f"and {compare.type} {compare.ref}, {(~kept).ref}")
        return [b.select(compare, x, value), b.select(compare, b.splat(i, lanes), index)]
