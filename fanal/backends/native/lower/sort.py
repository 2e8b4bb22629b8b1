"""Sorting on the native backend: records of key and place, in scratch memory, line by line.

An element becomes an integer key in whose order it is to stand (NaN the largest, both zeros the
same), and with its place in the low half one *record*. No two records are equal, so whatever sorts
them is stable. Three ways to sort:

- runs of 16, by counting for each record how many are less: compares of vectors, no branches;
- longer lines by merging runs, bottom up;
- of a long line only the first few (top-k), by letting each record that is less than the last of
  them find its place among them.
"""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.emit.value import bits_of
from fanal.backends.native.loops.convert import from_storage, storage_type
from fanal.backends.native.loops.elementwise import minimum
from fanal.backends.native.lower.lines import LineWords, lines_of, read
from fanal.backends.native.lower.lowering import Lowering, rule
from fanal.backends.native.program import Access, Descriptor, Kernel, ProgramBuilder
from fanal.core import dtypes
from fanal.core.dtypes import DType
from fanal.core.symbols import chosen
from fanal.graph.ir import Node

TASKS = 16  # lines are dealt to at most so many tasks, each with scratch of its own
RUN = 16  # records that are sorted by counting
FEW = 64  # so many of a longer line are kept in order while the line passes by


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
    words = 1 if record_type(x.dtype) == "i64" else 2
    scratch = low.program.temp_like(dtypes.int64, (tasks, 2, padded(lines.length), words))

    def emit(p: ProgramBuilder, *accesses: Access) -> None:
        _Sort(list(accesses), dim, descending, tasks).add_phase(p)

    low.opaque((x,), (*outs, scratch), emit)


def record_type(dtype: DType) -> str:
    """The integer that holds key and place: 32 bits each, or 64."""
    return "i64" if bits_of(storage_type(dtype)) <= 32 else "i128"


def padded(n: int) -> int:
    """Records of a line with those that fill its last run."""
    return -(-n // RUN) * RUN


def _more_than_passes(n: int, first: int) -> int:
    """One more than the passes that merge runs of `first` elements to one of n."""
    return max(-(-n // first) - 1, 0).bit_length() + 1


class _Sort:
    def __init__(self, operands: list[Access], dim: int, descending: bool, tasks: int):
        self.operands, self.descending, self.tasks = operands, descending, tasks
        self.dtype = operands[0].dtype
        self.lines = lines_of(operands[:3], dim)
        self.storage, self.record = storage_type(self.dtype), record_type(self.dtype)
        self.half = bits_of(self.record) // 2
        self.last = (1 << (2 * self.half - 1)) - 1  # greater than every record
        self.count = operands[1].shape[dim]  # of elements that are wanted
        self.few = self.count < self.lines.length and RUN < self.lines.length and self.count <= FEW

    def add_phase(self, p: ProgramBuilder) -> None:
        n = self.lines.length
        first = RUN if self.record == "i64" else 1  # the length of the runs that are merged first
        passes = chosen(_more_than_passes, n, first) - 1
        words = [self.lines.count, self.tasks, self.count, passes, padded(n), *self.lines.words()]
        way = "few" if self.few else "all"
        key = f"sort {way} {self.dtype.name} {self.descending} {self.lines.rank}"
        p.phase(Kernel(key, self.emit), self.operands, words, self.tasks)

    def emit(self, b: Builder) -> None:
        d = Descriptor(b, 4)
        count, tasks, wanted, passes, room = (d.word() for _ in range(5))
        words = read(d, 3, self.lines.rank)
        source, values, indices, records = (d.pointer(i) for i in range(4))
        records = b.at(records, b.arg("task") * room * 2, self.record)
        with b.loop(b.arg("task"), count, tasks) as (line,):
            offsets = words.offsets(b, line)
            at = (source, offsets[0], words.steps[0])
            if self.few:
                self._few(b, at, records, words.length, wanted)
                ordered = records
            else:
                ordered = self._all(b, at, records, words.length, room, passes)
            self._write(b, words, offsets, ordered, wanted, source, values, indices)
        b.ret()

    # -- records -----------------------------------------------------------------------------------

    def _at(self, b: Builder, records: V, index: V) -> V:
        return b.at(records, index, self.record)

    def _read(self, b: Builder, at: tuple[V, V, V], index: V) -> V:
        """The record of one element of the line."""
        source, offset, step = at
        x = b.load(self.storage, b.at(source, offset + index * step, self.storage))
        key = self._key(b, x)
        place = index if self.half == 32 else index.cast("zext", self.record)
        return (key.cast("sext", self.record) << self.half) | place

    def _key(self, b: Builder, bits: V) -> V:
        """A signed integer in the order that is wanted."""
        x = from_storage(bits, self.dtype)
        if self.dtype.kind == "f":
            plain = (x + 0.0).bits()  # -0 and 0 are equal
            width = bits_of(plain.type)
            # Of negative numbers the greater magnitude comes first: all bits but the sign turn.
            ordered = plain ^ (plain >> (width - 1)).lshr(1)
            key = b.select(x.isnan(), b.const(plain.type, (1 << (width - 1)) - 1), ordered)
        elif bits_of(self.storage) < self.half:
            key = x.cast("sext" if self.dtype.kind == "i" else "zext", f"i{self.half}")
        elif self.dtype.kind == "u":
            key = x ^ b.const(x.type, -(1 << (self.half - 1)))
        else:
            key = x
        return ~key if self.descending else key

    def _write(
        self, b: Builder, words: LineWords, offsets: list[V], ordered: V, wanted: V, source: V,
        values: V, indices: V,
    ) -> None:  # fmt: skip
        with b.loop(0, wanted) as (i,):
            record = b.load(self.record, self._at(b, ordered, i))
            place = record & ((1 << 32) - 1) if self.half == 32 else record.cast("trunc", "i64")
            x = b.load(self.storage, b.at(source, offsets[0] + place * words.steps[0], self.storage))
            b.store(x, b.at(values, offsets[1] + i * words.steps[1], self.storage))
            b.store(place, b.at(indices, offsets[2] + i * words.steps[2], "i64"))

    # -- the whole line -------------------------------------------------------------------------------

    def _all(self, b: Builder, at: tuple[V, V, V], records: V, n: V, room: V, passes: V) -> V:
        """Sort the line; returns where it is."""
        if self.half == 32:
            with b.loop(0, room, RUN) as (start,):
                self._run(b, at, self._at(b, records, start), start, n)
        else:
            with b.loop(0, n) as (i,):
                b.store(self._read(b, at, i), self._at(b, records, i))
        with b.loop(0, passes) as (turn,):
            self._pass(b, records, n, room, turn)
        return self._at(b, records, (passes & 1) * room)

    def _run(self, b: Builder, at: tuple[V, V, V], run: V, start: V, n: V) -> None:
        """Sort RUN records: the place of each is the number of those that are less."""
        with b.loop(0, RUN) as (i,):
            index = start + i
            record = self._read(b, at, minimum(b, index, n - 1))
            b.store(b.select(index.lt(n), record, self.last), self._at(b, run, i))
        each = b.load(f"<{RUN} x i64>", run, align=8)
        places = b.const(each.type, 0)
        for other in range(RUN):
            less = b.splat(b.load("i64", self._at(b, run, b.i64(other))), RUN).lt(each)
            places = places + less.cast("zext", "i64")
        for lane in range(RUN):
            b.store(each[lane], self._at(b, run, places[lane]))

    def _pass(self, b: Builder, records: V, n: V, room: V, turn: V) -> None:
        """Merge runs, which double with each turn, from one half of the scratch into the other."""
        width = b.op("i64", f"shl i64 {RUN if self.half == 32 else 1}, {turn.ref}")
        here = self._at(b, records, (turn & 1) * room)
        there = self._at(b, records, ((turn + 1) & 1) * room)
        with b.loop(0, n, width + width) as (low,):
            middle, high = minimum(b, low + width, n), minimum(b, low + width + width, n)
            merge = b.loop(low, high, 1, carry=[low, middle])
            with merge as (k, left, right):
                # Reads stay inside of the line also when a run is used up.
                x = b.load(self.record, self._at(b, here, minimum(b, left, n - 1)))
                y = b.load(self.record, self._at(b, here, minimum(b, right, n - 1)))
                x = b.select(left.lt(middle), x, self.last)
                y = b.select(right.lt(high), y, self.last)
                first = x.lt(y)
                b.store(b.select(first, x, y), self._at(b, there, k))
                step = first.cast("zext", "i64")
                merge.next(left + step, right + 1 - step)

    # -- the first few -----------------------------------------------------------------------------------

    def _few(self, b: Builder, at: tuple[V, V, V], records: V, n: V, wanted: V) -> None:
        """Keep the first records of those that passed by, in order."""
        with b.loop(0, wanted) as (i,):
            b.store(b.const(self.record, self.last), self._at(b, records, i))
        worst = self._at(b, records, wanted - 1)
        with b.loop(0, n) as (i,):
            record = self._read(b, at, i)
            with b.if_(record.lt(b.load(self.record, worst))):
                insert = b.loop(0, wanted, 1, carry=[record])
                with insert as (k, moving):
                    slot = self._at(b, records, k)
                    kept = b.load(self.record, slot)
                    less = moving.lt(kept)
                    b.store(b.select(less, moving, kept), slot)
                    insert.next(b.select(less, kept, moving))
