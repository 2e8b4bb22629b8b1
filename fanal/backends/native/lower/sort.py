"""Sorting on the native backend: a stable bottom-up merge sort of each line, in scratch memory."""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.emit.value import bits_of
from fanal.backends.native.loops.convert import from_storage, storage_type
from fanal.backends.native.loops.elementwise import minimum
from fanal.backends.native.loops.operations import apply
from fanal.backends.native.lower.lines import LineWords, lines_of, read
from fanal.backends.native.lower.lowering import Lowering, rule
from fanal.backends.native.program import Access, Descriptor, Kernel, ProgramBuilder
from fanal.core import dtypes
from fanal.graph.ir import Node

TASKS = 16  # lines are dealt to at most so many tasks, each with scratch of its own


@rule("sort")
def _sort(low: Lowering, node: Node) -> None:
    x = low.operand(node.inputs[0])
    outs = [low.destination(v) for v in node.outputs]
    dim, descending = node.attributes["dim"], node.attributes["descending"]
    if x.shape == () or x.size == 0:
        from fanal.backends.native.loops.expression import Const

        low.schedule.store(low.values[node.inputs[0]], outs[0])
        low.schedule.store(Const(dtypes.int64, outs[1].shape, 0), outs[1])
        return
    lines = lines_of([x, *outs], dim)
    tasks = min(TASKS, lines.count)
    scratch = [
        low.program.temp_like(kind, (tasks, 2, lines.length)) for kind in (x.dtype, dtypes.int64)
    ]

    def emit(p: ProgramBuilder, *accesses: Access) -> None:
        _Sort(list(accesses), dim, descending, tasks).add_phase(p)

    low.opaque((x,), (*outs, *scratch), emit)


class _Sort:
    def __init__(self, operands: list[Access], dim: int, descending: bool, tasks: int):
        self.operands, self.descending, self.tasks = operands, descending, tasks
        self.dtype = operands[0].dtype
        self.lines = lines_of(operands[:3], dim)
        self.storage = storage_type(self.dtype)

    def add_phase(self, p: ProgramBuilder) -> None:
        passes = max(self.lines.length - 1, 0).bit_length()
        words = [self.lines.count, self.tasks, passes, *self.lines.words()]
        key = f"sort {self.dtype.name} {self.descending} {self.lines.rank}"
        p.phase(Kernel(key, self.emit), self.operands, words, self.tasks)

    def emit(self, b: Builder) -> None:
        d = Descriptor(b, 5)
        count, tasks, passes = d.word(), d.word(), d.word()
        words = read(d, 3, self.lines.rank)
        source, values, indices, keys, order = (d.pointer(i) for i in range(5))
        n = words.length
        size = bits_of(self.storage) // 8
        keys = b.at(keys, b.arg("task") * n * (2 * size))
        order = b.at(order, b.arg("task") * n * 16)
        with b.loop(b.arg("task"), count, tasks) as (line,):
            offsets = words.offsets(b, line)
            with b.loop(0, n) as (i,):
                x = b.load(self.storage, self._at(b, source, offsets[0] + i * words.steps[0]))
                b.store(x, self._at(b, keys, i))
                b.store(i, b.at(order, i, "i64"))
            with b.loop(0, passes) as (turn,):
                self._pass(b, keys, order, n, turn)
            final = (passes & 1) * n
            self._write(b, words, offsets, keys, order, final, values, indices)
        b.ret()

    def _at(self, b: Builder, base: V, index: V) -> V:
        return b.at(base, index, self.storage)

    def _write(
        self, b: Builder, words: LineWords, offsets: list[V], keys: V, order: V, final: V,
        values: V, indices: V,
    ) -> None:  # fmt: skip
        with b.loop(0, words.length) as (i,):
            x = b.load(self.storage, self._at(b, keys, final + i))
            b.store(x, self._at(b, values, offsets[1] + i * words.steps[1]))
            place = b.load("i64", b.at(order, final + i, "i64"))
            b.store(place, b.at(indices, offsets[2] + i * words.steps[2], "i64"))

    def _pass(self, b: Builder, keys: V, order: V, n: V, turn: V) -> None:
        """Merge runs of 2^turn elements from one half of the scratch into the other."""
        width = b.op("i64", f"shl i64 1, {turn.ref}")
        here, there = (turn & 1) * n, ((turn + 1) & 1) * n
        with b.loop(0, n, width + width) as (low,):
            middle, high = minimum(b, low + width, n), minimum(b, low + width + width, n)
            merge = b.loop(low, high, 1, carry=[low, middle])
            with merge as (k, left, right):
                # Reads stay inside of the line also when a run is used up.
                at_left = minimum(b, left, n - 1) + here
                at_right = minimum(b, right, n - 1) + here
                x = b.load(self.storage, self._at(b, keys, at_left))
                y = b.load(self.storage, self._at(b, keys, at_right))
                first = b.op("i1", f"and i1 {left.lt(middle).ref}, {(~self._before(b, y, x)).ref}")
                first = b.op("i1", f"or i1 {first.ref}, {right.ge(high).ref}")
                first = b.op("i1", f"and i1 {first.ref}, {left.lt(middle).ref}")
                b.store(b.select(first, x, y), self._at(b, keys, there + k))
                place = b.load("i64", b.at(order, b.select(first, at_left, at_right), "i64"))
                b.store(place, b.at(order, there + k, "i64"))
                step = first.cast("zext", "i64")
                merge.next(left + step, right + 1 - step)

    def _before(self, b: Builder, y: V, x: V) -> V:
        """Whether y comes strictly before x; NaN is the largest."""
        y, x = from_storage(y, self.dtype), from_storage(x, self.dtype)
        name = "gt" if self.descending else "lt"
        found = apply(b, name, [y, x], self.dtype, dtypes.bool_)
        if self.dtype.kind != "f":
            return found
        above, below = (y, x) if self.descending else (x, y)
        nan = b.op("i1", f"and i1 {above.isnan().ref}, {(~below.isnan()).ref}")
        return b.op("i1", f"or i1 {found.ref}, {nan.ref}")
