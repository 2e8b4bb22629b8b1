"""Stage kernels whose vectors run across rows: neighbouring rows are neighbouring columns in memory.

A unit is a strip of columns that fits the first cache; it walks down the reduced dimension reading
whole strips, each lane of the accumulation order being a row of accumulators. The order is that of
`along`, so a sum gives the same bits whichever kernel computes it.

Few columns of many rows are too few units. Then every pass is phases of its own: "split" takes one step
of the outer reduced dimensions as a unit, and "join" adds the states of these in order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from fanal.backends.native.emit import Builder, Loop, V, vector
from fanal.backends.native.emit.value import bits_of
from fanal.backends.native.loops.along import CHAIN, LIGHT
from fanal.backends.native.loops.elementwise import decode, minimum, read_walks, store
from fanal.backends.native.loops.evaluate import Position, element_bytes, evaluate
from fanal.backends.native.loops.reductions import UNROLL, Accumulators, Reduction
from fanal.backends.native.loops.rows import TASK_WORK, StageKernel
from fanal.backends.native.program import Access, Descriptor, Kernel, ProgramBuilder, units_of
from fanal.core.dtypes import int64
from fanal.core.symbols import least

STRIP_BYTES = 8192  # accumulators of one reduction
# Vectors of a row that is walked over whole: memory is faster read on than read in strips, by more than
# accumulators in the second cache cost.
WHOLE_ROW = 16
# Rows of one lane that are added between reading its accumulators and writing them.
GROUPS = (4, 1)
AHEAD = 4  # rows that are asked for before they are needed
# A kernel with fewer units than this is split by outer steps, of which there must not be too many.
FEW_UNITS, MANY_STEPS = 8, 4096


class Arrays:
    """Per-column values of a strip in stack memory: one state or value for each column."""

    def __init__(self, b: Builder, types: list[str], count: int, memory: Sequence[V] = ()):
        """With `memory`: per-column values that lie there instead."""
        self.b, self.types = b, ["i8" if t == "i1" else t for t in types]
        self.bool_ = [t == "i1" for t in types]
        self.memory = memory or [b.alloca(t, count) for t in self.types]

    def read(self, j: V, lanes: int) -> list[V]:
        values = []
        for t, flag, m in zip(self.types, self.bool_, self.memory, strict=True):
            x = self.b.load(vector(t, lanes), self.b.at(m, j, t))
            values.append(x.ne(0) if flag else x)
        return values

    def write(self, j: V, values: list[V]) -> None:
        for t, flag, m, x in zip(self.types, self.bool_, self.memory, values, strict=True):
            self.b.store(x.cast("zext", "i8") if flag else x, self.b.at(m, j, t))


def _dtype(instruction: tuple[Any, ...]) -> str:
    """The dtype of what an instruction gives."""
    kind = instruction[0]
    known = {"random": "uint32", "place": "int64"}.get(kind)
    return known or str(instruction[3] if kind == "op" else instruction[2])


class AcrossKernel:
    """Emits a `StageKernel` with vectors along the last parallel dimension.

    `part` is "whole", or "split" or "join" with the number of the pass that is computed; `vectors` is
    how many a strip has at the most.
    """

    def __init__(
        self, stage: StageKernel, part: str = "whole", number: int = 0, vectors: int | None = None
    ):
        self.stage, self.part, self.number = stage, part, number
        self.order = stage.order
        self.lanes = self.order.width // UNROLL
        self.vectors = vectors or self._few_vectors()

    @property
    def strip(self) -> int:
        """Columns of a strip at the most."""
        return self.vectors * self.lanes

    def _few_vectors(self) -> int:
        """Those whose accumulators fit the first cache."""
        types = [t for r in self.stage.reductions for t in r.types] or ["float"]
        widest = max(bits_of(t) for t in types) // 8
        return max(1, min(8, STRIP_BYTES // (self.order.width * self.lanes * widest)))

    def add_phases(self, p: ProgramBuilder) -> None:
        """Append one phase, or one or two for every pass where columns are few."""
        s = self.stage
        steps = math.prod(s.r_extents[:-1])
        columns = s.p_extents[-1]
        others = s.rows // columns
        large = s.length * s.rows >= 4 * TASK_WORK
        can_split = 1 < steps <= MANY_STEPS and large
        row = 1
        while row * self.lanes < columns and row <= WHOLE_ROW:
            row *= 2
        tall = large and s.r_extents[-1] >= 4 * self.order.width
        if self.vectors < row <= WHOLE_ROW and tall and (can_split or others >= FEW_UNITS):
            self.vectors = row
        if others * -(-columns // self.strip) >= FEW_UNITS or not can_split:
            self.add_phase(p, [])
            return
        results: list[Access] = []  # of the passes before
        for number in range(s.passes):
            mine = [r for k, r in enumerate(s.reductions) if s.reduction_pass[k] == number]
            types = [t for r in mine for t in r.types]
            states = [p.temp_like(int64, (steps, s.rows)) for _ in types]
            if mine or s.stores_of_pass(number):
                AcrossKernel(s, "split", number, self.vectors).add_phase(p, [*results, *states])
            if mine:
                fresh = [p.temp_like(int64, (s.rows,)) for _ in mine]
                join = AcrossKernel(s, "join", number, self.vectors)
                join.add_phase(p, [*results, *states, *fresh])
                results += fresh

    def add_phase(self, p: ProgramBuilder, beside: list[Access]) -> None:
        """Append a phase of this kernel; `beside` is what its parts hand on, 8 bytes each."""
        s = self.stage
        columns = s.p_extents[-1]
        strips = -(-columns // self.strip)
        units = s.rows // columns * strips
        steps = math.prod(s.r_extents[:-1])
        length = {"whole": s.length, "split": s.r_extents[-1], "join": steps}[self.part]
        units *= steps if self.part == "split" else 1
        per_task = units_of(TASK_WORK, length * least(columns, self.strip))
        inner = s.r_extents[-1]
        words = [units, per_task, strips, columns, s.rows, inner, s.length // inner if inner else 0]
        words += s.r_extents[1:-1] + s.p_extents[1:-1]
        for number, (walk, cls) in enumerate(zip(s.program.walks, s.classes, strict=True)):
            words += s.p_rows[number][:-1] + s.r_rows[number]
            if cls == "n":
                words.append(s.p_rows[number][-1])
            if walk.access is None:
                words.append(walk.start)
        words += s.program.words
        operands = [w.access for w in s.program.walks if w.access is not None]
        written = None if beside else s.program.written([walk for _, walk, *_ in s.stores])
        name = f"across {self.part} {self.number} {self.vectors} {s.key}"
        p.phase(
            Kernel(name, self.emit), [*operands, *beside], words, -(-units // per_task), written
        )

    def emit(self, b: Builder) -> None:
        s = self.stage
        own = len(s.program.operands)
        beside = _Beside(s, self.part, self.number)
        d = Descriptor(b, own + beside.count)
        units, per_task, strips, columns, rows, n, outer = (d.word() for _ in range(7))
        r_extents = [d.word() for _ in s.r_extents[1:-1]]
        p_extents = [d.word() for _ in s.p_extents[1:-1]]
        walks = read_walks(d, s.program, s.classes, len(s.p_extents) + len(s.r_extents) - 1)
        beside.pointers = [d.pointer(own + i) for i in range(beside.count)]
        beside.rows = rows
        pieces = {lanes: _Piece(self, b, lanes, n, outer, beside) for lanes in {self.lanes, 1}}
        low = b.arg("task") * per_task
        with b.loop(low, minimum(b, low + per_task, units)) as (unit,):
            step = b.i64(0)
            if self.part == "split":
                unit, step = unit.udiv(outer), unit.urem(outer)
            row = unit.udiv(strips)
            first = (unit - row * strips) * self.strip
            p_index = decode(b, row, p_extents) if len(s.p_extents) > 1 else []

            def place(o: V, e: V, p_index: list[V] = p_index) -> Position:
                r_index = decode(b, o, r_extents) if len(s.r_extents) > 1 else []
                return walks.at(b, [*p_index, *r_index, e])

            count = minimum(b, columns - first, b.i64(self.strip))
            whole = count & -self.lanes
            for lanes, start, size in (
                (self.lanes, first, whole),
                (1, first + whole, count - whole),
            ):
                if lanes == 1 and self.lanes == 1 and start is not first:
                    continue
                with b.if_(size.gt(0)):
                    pieces[lanes].run(place, start, size, row * columns, step)
        b.ret()


class _Beside:
    """What parts of a kernel hand on: results of earlier passes, states of this one by outer steps, its
    results. `rows` is the number of columns in all."""

    rows: V

    def __init__(self, stage: StageKernel, part: str, number: int):
        self.stage = stage
        passes = [] if part == "whole" else list(enumerate(stage.reduction_pass))
        self.early = [k for k, at in passes if at < number]
        self.mine = [k for k, at in passes if at == number]
        self.late = self.mine if part == "join" else []
        self.states: dict[int, int] = {}  # where the states of each reduction begin
        at = len(self.early)
        for k in self.mine:
            self.states[k] = at
            at += len(stage.reductions[k].types)
        self.after = at
        self.count = at + len(self.late)
        self.pointers: list[V] = []

    def result(self, b: Builder, k: int, column: V) -> Arrays:
        """The results of a reduction from a column on."""
        at = self.early.index(k) if k in self.early else self.after + self.late.index(k)
        type_ = _compute(self.stage.reductions[k].result_dtype)
        place = b.at(self.pointers[at], column, "i8" if type_ == "i1" else type_)
        return Arrays(b, [type_], 0, [place])

    def state(self, b: Builder, k: int, step: V, column: V) -> Arrays:
        """The states of a reduction at a step, from a column on."""
        types = self.stage.reductions[k].types
        place = step * self.rows + column
        memory = [b.at(self.pointers[self.states[k] + i], place, t) for i, t in enumerate(types)]
        return Arrays(b, types, 0, memory)


class _Piece:
    """The code for a run of columns in vectors of `lanes`."""

    def __init__(
        self, kernel: AcrossKernel, b: Builder, lanes: int, n: V, outer: V, beside: _Beside
    ):
        self.kernel, self.b, self.lanes, self.n, self.outer = kernel, b, lanes, n, outer
        self.beside = beside
        self.stage, self.order, self.strip = kernel.stage, kernel.order, kernel.strip
        count = self.order.width * self.strip
        reductions = self.stage.reductions
        self.lane_sums = [Accumulators(b, r, count) for r in reductions]
        self.sums = [
            {name: Arrays(b, r.types, self.strip) for name in ("block", "super", "chain", "total")}
            for r in reductions
        ]
        self.results = [Arrays(b, [_compute(r.result_dtype)], self.strip) for r in reductions]
        self.row_values: dict[int, Arrays] = {}

    def run(self, place: Callable[[V, V], Position], start: V, size: V, row: V, step: V) -> None:
        self.place, self.start, self.size = place, start, size
        column = row + start
        if self.kernel.part == "whole":
            for number in range(self.stage.passes):
                self._pass(number)
            self._row_stores()
            return
        for k in self.beside.early:
            self._copy(self.beside.result(self.b, k, column), self.results[k])
        if self.kernel.part == "split":
            self._split(self.kernel.number, column, step)
        else:
            self._joined(self.kernel.number, column)

    def _copy(self, source: Arrays, to: Arrays) -> None:
        with self._columns() as (j,):
            to.write(j, source.read(j, self.lanes))

    def _split(self, number: int, column: V, step: V) -> None:
        """One outer step of a pass: its states, and what it stores."""
        mine = self.beside.mine
        self._compute_row_values(number)
        for k in mine:
            self._initialise(k, "chain")
        self._inner(number, mine, step, "chain")
        for k in mine:
            self._copy(self.sums[k]["super"], self.beside.state(self.b, k, step, column))

    def _joined(self, number: int, column: V) -> None:
        """The states of all steps in order; after the last pass with a reduction, what is one a row."""
        b, s = self.b, self.stage
        for k in self.beside.mine:
            self._initialise(k, "total")
            with b.loop(0, self.outer, CHAIN) as (block,):
                self._initialise(k, "chain")
                with b.loop(block, minimum(b, block + CHAIN, self.outer)) as (step,):
                    self._copy(self.beside.state(b, k, step, column), self.sums[k]["super"])
                    self._join(k, "chain", "super")
                self._join(k, "total", "chain")
            self._finish(k)
            self._copy(self.results[k], self.beside.result(b, k, column))
        if number == max(s.reduction_pass):
            self._row_stores()

    def _columns(self) -> Loop:
        return self.b.loop(0, self.size, self.lanes)

    def _known(self, j: V) -> dict[int, V]:
        """Results of earlier reductions, and row values, at columns j."""
        known = {k: a.read(j, self.lanes)[0] for k, a in self.row_values.items()}
        for i, instruction in enumerate(self.stage.program.instructions):
            if instruction[0] == "outside":
                known[i] = self.results[instruction[1]].read(j, self.lanes)[0]
        return known

    def _pass(self, number: int) -> None:
        b, s = self.b, self.stage
        mine = [k for k in range(len(s.reductions)) if s.reduction_pass[k] == number]
        self._compute_row_values(number)
        for k in mine:
            self._initialise(k, "total")
        if len(s.r_extents) == 1:
            self._inner(number, mine, b.i64(0), "total")
        else:
            with b.loop(0, self.outer, CHAIN) as (block,):
                for k in mine:
                    self._initialise(k, "chain")
                with b.loop(block, minimum(b, block + CHAIN, self.outer)) as (o,):
                    # "super" has been cleared inside; its total over the row joins the chain.
                    self._inner(number, mine, o, "chain")
                for k in mine:
                    self._join(k, "total", "chain")
        for k in mine:
            self._finish(k)

    def _finish(self, k: int) -> None:
        with self._columns() as (j,):
            state = self.sums[k]["total"].read(j, self.lanes)
            self.results[k].write(j, [self.stage.reductions[k].finished(self.b, state)])

    def _initialise(self, k: int, name: str) -> None:
        with self._columns() as (j,):
            initial = self.stage.reductions[k].initial(self.b, self.lanes)
            self.sums[k][name].write(j, initial)

    def _join(self, k: int, into: str, what: str) -> None:
        with self._columns() as (j,):
            a = self.sums[k][into].read(j, self.lanes)
            c = self.sums[k][what].read(j, self.lanes)
            self.sums[k][into].write(j, self.stage.reductions[k].combine(self.b, a, c))

    def _compute_row_values(self, number: int) -> None:
        """Values that are constant along the rows, computed once for each column."""
        s, b = self.stage, self.b
        code = s.program.instructions
        wanted = [
            v
            for v in s.row_values(s.values_of_pass(number))
            if code[v][0] not in ("const", "literal", "outside", "scalar")
            and v not in self.row_values
        ]
        for v in wanted:
            self.row_values[v] = Arrays(b, [_compute(_dtype(code[v]))], self.strip)
        if wanted:
            fresh = {v: self.row_values.pop(v) for v in wanted}
            with self._columns() as (j,):
                position = self.place(b.i64(0), b.i64(0))
                values = evaluate(
                    b, code, wanted, position, self._known(j), self.start + j, self.lanes
                )
                for v in wanted:
                    fresh[v].write(j, [values[v]])
            self.row_values.update(fresh)

    def _inner(self, number: int, mine: list[int], o: V, into: str) -> None:
        """Walk down the last reduced dimension; add its state to `into`."""
        b, order = self.b, self.order
        if not mine:
            with b.loop(0, self.n) as (e,):
                self._step(number, mine, o, [e], b.i64(0))
            return
        chained = into == "chain"
        if chained:
            # The state of this row apart, so that the chain adds finished rows.
            for k in mine:
                self._initialise(k, "super")
        with b.loop(0, self.n, order.superblock) as (first,):
            end = minimum(b, first + order.superblock, self.n)
            target = "super" if chained else "total"
            for k in mine:
                self._initialise(k, "block")
            with b.loop(first, end, order.block) as (start,):
                stop = minimum(b, start + order.block, end)
                self._block(number, mine, o, start, stop)
            for k in mine:
                self._join(k, target, "block")
        if chained:
            for k in mine:
                self._join(k, "chain", "super")

    def _block(self, number: int, mine: list[int], o: V, start: V, stop: V) -> None:
        b, width = self.b, self.order.width
        used = minimum(b, stop - start, b.i64(width))
        for k in mine:
            self.lane_sums[k].clear(used * self.strip, self.lanes)
        rest = start
        light = self.stage.work_of_pass(number) <= LIGHT
        for group in GROUPS if light else ():
            whole = rest + ((stop - rest) & -(group * width))
            with b.loop(rest, whole, group * width) as (e,), b.loop(0, width) as (lane,):
                rows = [e + lane + g * width for g in range(group)]
                self._step(number, mine, o, rows, lane * self.strip)
            rest = whole
        with b.loop(rest, stop) as (e,):
            self._step(number, mine, o, [e], ((e - start) & (width - 1)) * self.strip)
        for k in mine:
            self._fold(k, used)
            with self._columns() as (j,):
                part = self.sums[k]["block"]
                state = self.lane_sums[k].read(j, self.lanes)
                joined = self.stage.reductions[k].combine(b, part.read(j, self.lanes), state)
                part.write(j, joined)

    def _fold(self, k: int, used: V) -> None:
        """Fold the lanes by halves; a lane beyond `used` holds nothing and is skipped."""
        b, sums = self.b, self.lane_sums[k]
        half = self.order.width // 2
        while half >= 1:
            many = minimum(b, used - half, b.i64(half))
            with b.loop(0, many) as (lane,), self._columns() as (j,):
                low, high = lane * self.strip + j, (lane + half) * self.strip + j
                state = sums.reduction.combine(
                    b, sums.read(low, self.lanes), sums.read(high, self.lanes)
                )
                sums.write(low, state)
            half //= 2

    def _step(self, number: int, mine: list[int], o: V, rows: list[V], lane: V) -> None:
        """Rows of the strip that belong to one lane: evaluate, store per element, accumulate."""
        b, s = self.b, self.stage
        positions = [self.place(o, e) for e in rows]
        code = s.program.instructions
        wanted = s.values_of_pass(number)
        if len(rows) > 1:
            self._prefetch(wanted, [self.place(o, e + AHEAD) for e in rows])
        with self._columns() as (j,):
            at = self.start + j
            known = self._known(j)
            states = {k: self.lane_sums[k].read(lane + j, self.lanes) for k in mine}
            for e, position in zip(rows, positions, strict=True):
                values = evaluate(b, code, wanted, position, known, at, self.lanes)
                for value, walk, dtype, _ in s.stores_of_pass(number):
                    store(b, values[value], walk, dtype, position, at, self.lanes, None)
                index = b.splat(e, self.lanes)
                for k in mine:
                    r: Reduction = s.reductions[k]
                    states[k] = r.combine(b, states[k], r.element(b, values[r.value], index))
            for k in mine:
                self.lane_sums[k].write(lane + j, states[k])

    def _prefetch(self, wanted: list[int], positions: list[Position]) -> None:
        """Ask for rows that come soon: each lies on a page of its own, where no processor looks
        ahead by itself."""
        b, code = self.b, self.stage.program.instructions
        for v in wanted:
            if code[v][0] != "load" or positions[0].classes[code[v][1]] != "1":
                continue
            size = element_bytes(str(code[v][2]))
            for position in positions:
                row = b.at(position.pointers[code[v][1]], self.start * size)
                for line in range(0, self.strip * size, 64):
                    b.prefetch(b.at(row, line))

    def _row_stores(self) -> None:
        b, s = self.b, self.stage
        per_row = [x for x in s.stores if x[3]]
        if not per_row:
            return
        code = s.program.instructions
        with self._columns() as (j,):
            position = self.place(b.i64(0), b.i64(0))
            at = self.start + j
            wanted = [v for v, _, _, _ in per_row]
            values = evaluate(b, code, wanted, position, self._known(j), at, self.lanes)
            for value, walk, dtype, _ in per_row:
                store(b, values[value], walk, dtype, position, at, self.lanes, None)


def _compute(dtype: str) -> str:
    from fanal.backends.native.loops.convert import compute_type
    from fanal.core.dtypes import BY_NAME

    return compute_type(BY_NAME[dtype])
