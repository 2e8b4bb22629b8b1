"""Stage kernels whose vectors run across rows: neighbouring rows are neighbouring columns in memory.

A unit is a strip of columns that fits the first cache; it walks down the reduced dimension reading
whole strips, each lane of the accumulation order being a row of accumulators. The order is that of
`along`, so a sum gives the same bits whichever kernel computes it.
"""

from __future__ import annotations

from collections.abc import Callable

from fanal.backends.native.emit import Builder, Loop, V, vector
from fanal.backends.native.emit.value import bits_of
from fanal.backends.native.loops.along import CHAIN, LIGHT
from fanal.backends.native.loops.elementwise import decode, minimum, read_walks, store
from fanal.backends.native.loops.evaluate import Position, element_bytes, evaluate
from fanal.backends.native.loops.reductions import UNROLL, Accumulators, Reduction
from fanal.backends.native.loops.rows import TASK_WORK, StageKernel
from fanal.backends.native.program import Descriptor, Kernel, ProgramBuilder

STRIP_BYTES = 8192  # accumulators of one reduction
# Rows of one lane that are added between reading its accumulators and writing them.
GROUPS = (4, 1)
AHEAD = 4  # rows that are asked for before they are needed


class Arrays:
    """Per-column values of a strip in stack memory: one state or value for each column."""

    def __init__(self, b: Builder, types: list[str], count: int):
        self.b, self.types = b, ["i8" if t == "i1" else t for t in types]
        self.bool_ = [t == "i1" for t in types]
        self.memory = [b.alloca(t, count) for t in self.types]

    def read(self, j: V, lanes: int) -> list[V]:
        values = []
        for t, flag, m in zip(self.types, self.bool_, self.memory, strict=True):
            x = self.b.load(vector(t, lanes), self.b.at(m, j, t))
            values.append(x.ne(0) if flag else x)
        return values

    def write(self, j: V, values: list[V]) -> None:
        for t, flag, m, x in zip(self.types, self.bool_, self.memory, values, strict=True):
            self.b.store(x.cast("zext", "i8") if flag else x, self.b.at(m, j, t))


class AcrossKernel:
    """Emits a `StageKernel` with vectors along the last parallel dimension."""

    def __init__(self, stage: StageKernel):
        self.stage = stage
        self.order = stage.order
        self.lanes = self.order.width // UNROLL
        types = [t for r in stage.reductions for t in r.types] or ["float"]
        widest = max(bits_of(t) for t in types) // 8
        vectors = STRIP_BYTES // (self.order.width * self.lanes * widest)
        self.strip = max(1, min(8, vectors)) * self.lanes

    def add_phases(self, p: ProgramBuilder) -> None:
        s = self.stage
        columns = s.p_extents[-1]
        strips = -(-columns // self.strip)
        units = s.rows // columns * strips
        work = s.length * min(columns, self.strip)
        per_task = max(1, TASK_WORK // max(1, work))
        inner = s.r_extents[-1]
        words = [units, per_task, strips, columns, inner, s.length // inner if inner else 0]
        words += s.r_extents[1:-1] + s.p_extents[1:-1]
        for number, (walk, cls) in enumerate(zip(s.program.walks, s.classes, strict=True)):
            words += s.p_rows[number][:-1] + s.r_rows[number]
            if cls == "n":
                words.append(s.p_rows[number][-1])
            if walk.access is None:
                words.append(walk.start)
        words += s.program.words
        operands = [w.access for w in s.program.walks if w.access is not None]
        written = s.program.written([walk for _, walk, *_ in s.stores])
        p.phase(Kernel(f"across {s.key}", self.emit), operands, words, -(-units // per_task), written)

    def emit(self, b: Builder) -> None:
        s = self.stage
        d = Descriptor(b, len(s.program.operands))
        units, per_task, strips, columns, n, outer = (d.word() for _ in range(6))
        r_extents = [d.word() for _ in s.r_extents[1:-1]]
        p_extents = [d.word() for _ in s.p_extents[1:-1]]
        walks = read_walks(d, s.program, s.classes, len(s.p_extents) + len(s.r_extents) - 1)
        pieces = {lanes: _Piece(self, b, lanes, n, outer) for lanes in {self.lanes, 1}}
        low = b.arg("task") * per_task
        with b.loop(low, minimum(b, low + per_task, units)) as (unit,):
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
                    pieces[lanes].run(place, start, size)
        b.ret()


class _Piece:
    """The code for a run of columns in vectors of `lanes`."""

    def __init__(self, kernel: AcrossKernel, b: Builder, lanes: int, n: V, outer: V):
        self.kernel, self.b, self.lanes, self.n, self.outer = kernel, b, lanes, n, outer
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

    def run(self, place: Callable[[V, V], Position], start: V, size: V) -> None:
        self.place, self.start, self.size = place, start, size
        for number in range(self.stage.passes):
            self._pass(number)
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
            with self._columns() as (j,):
                state = self.sums[k]["total"].read(j, self.lanes)
                self.results[k].write(j, [s.reductions[k].finished(b, state)])

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
            if code[v][0] not in ("const", "literal", "outside", "scalar") and v not in self.row_values
        ]
        for v in wanted:
            instruction = code[v]
            dtype = str(instruction[3] if instruction[0] == "op" else instruction[2])
            if instruction[0] in ("random", "place"):
                dtype = "uint32" if instruction[0] == "random" else "int64"
            self.row_values[v] = Arrays(b, [_compute(dtype)], self.strip)
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
