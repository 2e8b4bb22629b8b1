"""Stage kernels whose vectors run along the reduced dimension: one row at a time.

A block's elements are added into `UNROLL` vectors in registers; what is left of a block goes
through masks, or one element at a time where the target or a dtype has no masked access. Long rows
of few are split by superblocks into tasks, and a second phase adds the parts in order.
"""

from __future__ import annotations

from collections.abc import Callable

from fanal.backends.native.emit import Builder, V, vector
from fanal.backends.native.loops.convert import compute_type
from fanal.backends.native.loops.elementwise import Walks, decode, minimum, read_walks, store
from fanal.backends.native.loops.evaluate import (
    Position,
    arguments,
    evaluate,
    first_lanes,
    maskable,
)
from fanal.backends.native.loops.reductions import UNROLL, Accumulators, Reduction, fold_lanes
from fanal.backends.native.loops.rows import COSTLY, TASK_WORK, StageKernel
from fanal.backends.native.program import Access, Descriptor, Kernel, ProgramBuilder, units_of
from fanal.core.dtypes import BY_NAME

CACHED_ROW = 8192  # elements of a row up to which heavy values are kept for later passes
LIGHT = 12  # instructions up to which the loop over a block is unrolled
FEW_ROWS = 32  # rows so few that each long one is worth more than one task
SHORT = 2  # vectors of a row that is handled without loops
CHAIN = 256  # rows of the last reduced dimension that are added before the total is


class AlongKernel:
    """Emits a `StageKernel` with vectors along the last reduced dimension.

    `part`: "whole" does everything; of a few long rows, "split" computes the state of each
    superblock as a task of its own, and "join" combines them in order and finishes the rows.
    """

    def __init__(self, stage: StageKernel, part: str = "whole"):
        self.stage, self.part = stage, part
        self.order = stage.order
        self.lanes = self.order.width // UNROLL
        self.kept = self._worth_keeping()
        self.scratch: dict[int, V] = {}

    def _worth_keeping(self) -> list[int]:
        """Costly values of a pass that a later pass uses again (softmax's exponentials)."""
        s = self.stage
        if len(s.r_extents) > 1 or s.r_extents[-1] > CACHED_ROW:
            return []
        code = s.program.instructions
        found: set[int] = set()
        for number in range(s.passes):
            stack = list(s.values_of_pass(number))
            seen = set(stack)
            while stack:
                v = stack.pop()
                instruction = code[v]
                costly = instruction[0] == "op" and instruction[1] in COSTLY
                if costly and s.first[v] < number and v in s.full:
                    found.add(v)
                    continue
                for a in arguments(instruction):
                    if a not in seen:
                        seen.add(a)
                        stack.append(a)
        return sorted(found)

    def _kept_type(self, v: int) -> str:
        return compute_type(BY_NAME[str(self.stage.program.instructions[v][3])])

    def add_phases(self, p: ProgramBuilder) -> None:
        """Append one phase, or two for a few long rows."""
        s = self.stage
        supers = -(-s.length // self.order.superblock)
        simple = s.passes == 1 and len(s.r_extents) == 1 and not s.stores_of_pass(0)
        if not (simple and supers > 1 and s.rows < FEW_ROWS):
            self.add_phase(p, units_of(TASK_WORK, s.length), s.rows, [])
            return
        count = s.rows * supers
        types = [t for r in s.reductions for t in r.types]
        partial = [p.temp_like(BY_NAME["int64"], (count,)) for _ in types]
        AlongKernel(s, "split").add_phase(p, 1, count, partial)
        AlongKernel(s, "join").add_phase(p, 1, s.rows, partial)

    def add_phase(
        self, p: ProgramBuilder, per_task: int, units: int, partial: list[Access]
    ) -> None:
        """Append a phase of this kernel: `partial` are the states of superblocks, 8 bytes each."""
        s = self.stage
        inner = s.r_extents[-1]
        words = [units, per_task, inner, s.length // inner if inner else 0]
        words += s.r_extents[1:-1] + s.p_extents[1:]
        for number, (walk, cls) in enumerate(zip(s.program.walks, s.classes, strict=True)):
            words += s.p_rows[number] + s.r_rows[number][:-1]
            if cls == "n":
                words.append(s.r_rows[number][-1])
            if walk.access is None:
                words.append(walk.start)
        words += s.program.words
        operands = [w.access for w in s.program.walks if w.access is not None]
        tasks = -(-units // per_task)
        for v in self.kept:
            dtype = BY_NAME["float64" if self._kept_type(v) == "double" else "float32"]
            operands.append(p.temp_like(dtype, (tasks, inner)))
        operands += partial
        kernel = Kernel(f"along {self.part} {self.kept} {s.key}", self.emit)
        written = s.program.written([walk for _, walk, *_ in s.stores]) if not partial else None
        if written is not None:
            written += operands[len(operands) - len(self.kept) :]
        p.phase(kernel, operands, words, tasks, written)

    def emit(self, b: Builder) -> None:
        s = self.stage
        count = len(s.program.operands)
        states = sum(len(r.types) for r in s.reductions) if self.part != "whole" else 0
        d = Descriptor(b, count + len(self.kept) + states)
        rows, per_task, n, outer = (d.word() for _ in range(4))
        r_extents = [d.word() for _ in s.r_extents[1:-1]]
        p_extents = [d.word() for _ in s.p_extents[1:]]
        walks = read_walks(d, s.program, s.classes, len(s.p_extents) + len(s.r_extents) - 1)
        accumulators = [Accumulators(b, r, self.order.width) for r in s.reductions]
        for i, v in enumerate(self.kept):
            start = b.arg("task") * n
            self.scratch[v] = b.at(d.pointer(count + i), start, self._kept_type(v))
        self.partial = [d.pointer(count + len(self.kept) + i) for i in range(states)]
        low = b.arg("task") * per_task
        high = minimum(b, low + per_task, rows)
        if self._has_short_rows(b):
            short = n.le(SHORT * self.lanes)
            with b.if_(short):
                self._short_rows(b, low, high, n, p_extents, walks, accumulators)
            low = b.select(short, high, low)
        with b.loop(low, high) as (unit,):
            row = unit
            if self.part != "whole":
                self.supers = (n + (self.order.superblock - 1)).udiv(self.order.superblock)
                row = unit.udiv(self.supers) if self.part == "split" else unit
            self.unit, self.row = unit, row
            p_index = decode(b, row, p_extents)

            def place(o: V, p_index: list[V] = p_index) -> Position:
                if len(s.r_extents) == 1:
                    return walks.at(b, p_index)
                return walks.at(b, p_index + decode(b, o, r_extents))

            known: dict[int, V] = {}
            if self.part == "split":
                self._split(b, place(b.i64(0)), n, known, accumulators)
            else:
                for number in range(s.passes):
                    self._pass(b, number, place, outer, n, known, accumulators)
                self._row_stores(b, place(b.i64(0)), known)
        b.ret()

    def _pass(
        self, b: Builder, number: int, place: Callable[[V], Position], outer: V, n: V,
        known: dict[int, V], accumulators: list[Accumulators],
    ) -> None:  # fmt: skip
        s = self.stage
        mine = [k for k in range(len(s.reductions)) if s.reduction_pass[k] == number]
        self._know_rows(b, place(b.i64(0)), s.values_of_pass(number), known)
        states = self._outer(b, number, place, outer, n, known, [accumulators[k] for k in mine])
        self._finish(b, mine, states, known)

    def _finish(self, b: Builder, mine: list[int], states: list[list[V]], known: dict[int, V]) -> None:
        """Make the results of a pass's reductions known to the passes that follow."""
        s = self.stage
        for k, state in zip(mine, states, strict=True):
            result = s.reductions[k].finished(b, state)
            for i, instruction in enumerate(s.program.instructions):
                if instruction == ("outside", k):
                    known[i] = result

    # -- rows of a few lanes -----------------------------------------------------------------------

    def _has_short_rows(self, b: Builder) -> bool:
        """Whether short rows have code of their own: all passes in registers, without loops."""
        s = self.stage
        whole = self.part == "whole" and len(s.r_extents) == 1 and self.lanes > 1
        return whole and all(self._masks(b, number) for number in range(s.passes))

    def _masks(self, b: Builder, number: int) -> bool:
        """Whether what is left of a row can go through masks in this pass."""
        s = self.stage
        stores = s.stores_of_pass(number)
        names = [dtype for _, _, dtype, _ in stores]
        names += [r.dtype for k, r in enumerate(s.reductions) if s.reduction_pass[k] == number]
        unit = all(s.classes[w] == "1" for _, w, _, _ in stores)
        return maskable(b, s.program.instructions, names) and unit and not s.program.may_report

    def _short_rows(
        self, b: Builder, low: V, high: V, n: V, p_extents: list[V], walks: Walks,
        accumulators: list[Accumulators],
    ) -> None:  # fmt: skip
        """Rows of at most SHORT vectors, in the order of accumulation of longer ones."""
        s = self.stage
        lanes = self.lanes
        wide = SHORT * lanes
        mask, index = first_lanes(b, n, wide), b.iota("i64", wide)
        with b.loop(low, high) as (row,):
            position = walks.at(b, decode(b, row, p_extents))
            known: dict[int, V] = {}
            full: dict[int, V] = {}  # what earlier passes had in each lane
            for number in range(s.passes):
                mine = [k for k in range(len(s.reductions)) if s.reduction_pass[k] == number]
                wanted = s.values_of_pass(number)
                self._know_rows(b, position, wanted, known)
                values = evaluate(
                    b, s.program.instructions, wanted, position, {**known, **full}, b.i64(0), wide, mask
                )
                full.update({v: x for v, x in values.items() if v in s.full})
                for value, walk, dtype, _ in s.stores_of_pass(number):
                    store(b, values[value], walk, dtype, position, b.i64(0), wide, mask)
                states = [
                    self._short_state(b, accumulators[k], values, index, mask) for k in mine
                ]
                self._finish(b, mine, states, known)
            self._row_stores(b, position, known)

    def _short_state(
        self, b: Builder, a: Accumulators, values: dict[int, V], index: V, mask: V
    ) -> list[V]:
        """One reduction's state over a short row: as a longer row's, its other vectors untouched."""
        lanes, r = self.lanes, a.reduction
        parts = r.element(b, values[r.value], index)
        initial = r.initial(b, lanes)
        vectors = []
        for u in range(SHORT):
            window = range(u * lanes, (u + 1) * lanes)
            joined = r.combine(b, initial, [b.shuffle(x, None, window) for x in parts])
            here = b.shuffle(mask, None, window)
            vectors.append([[b.select(here, x, y) for x, y in zip(joined, initial, strict=True)]])
        vectors += [[initial]] * (UNROLL - SHORT)
        (state,) = self._folded_states(b, [a], vectors)
        for _ in ("block", "superblock"):
            state = r.combine(b, r.initial(b, 1), state)
        return state

    # -- rows of any length ---------------------------------------------------------------------------

    def _know_rows(
        self, b: Builder, position: Position, wanted: list[int], known: dict[int, V]
    ) -> None:
        """Compute what is constant in the row, once."""
        s = self.stage
        values = s.row_values(wanted)
        known.update(evaluate(b, s.program.instructions, values, position, known, None, 1))

    def _row_stores(self, b: Builder, position: Position, known: dict[int, V]) -> None:
        s = self.stage
        per_row = [x for x in s.stores if x[3]]
        if per_row:
            self._know_rows(b, position, [v for v, _, _, _ in per_row], known)
        for value, walk, dtype, _ in per_row:
            plain = Position(position.pointers, position.ramps, ["0"] * len(s.classes), {}, position.words)
            store(b, known[value], walk, dtype, plain, b.i64(0), 1, None)

    def _outer(
        self, b: Builder, number: int, place: Callable[[V], Position], outer: V, n: V,
        known: dict[int, V], accumulators: list[Accumulators],
    ) -> list[list[V]]:  # fmt: skip
        """The states over all reduced dimensions: the inner ones chained, with a break every CHAIN."""
        if len(self.stage.r_extents) == 1:
            return self._inner(b, number, place(b.i64(0)), n, known, accumulators)
        reductions = [a.reduction for a in accumulators]
        initial = _flat([r.initial(b, 1) for r in reductions])
        blocks = b.loop(0, outer, CHAIN, carry=initial)
        with blocks as (block, *totals):
            chain = b.loop(block, minimum(b, block + CHAIN, outer), 1, carry=initial)
            with chain as (o, *parts):
                inner = self._inner(b, number, place(o), n, known, accumulators)
                chain.next(*_joined(b, reductions, parts, _flat(inner)))
            blocks.next(*_joined(b, reductions, totals, chain.results))
        return _nested(reductions, blocks.results)

    def _inner(
        self, b: Builder, number: int, position: Position, n: V, known: dict[int, V],
        accumulators: list[Accumulators],
    ) -> list[list[V]]:  # fmt: skip
        """The states over the last reduced dimension, in the order of accumulation."""
        o = self.order
        reductions = [a.reduction for a in accumulators]
        if not reductions:
            self._stores_only(b, number, position, n, known)
            return []
        initial = _flat([r.initial(b, 1) for r in reductions])
        supers = b.loop(0, n, o.superblock, carry=initial)
        with supers as (first, *totals):
            if self.part == "join":
                state = self._partial_state(b, first)
            else:
                state = self._superblock(b, number, position, first, n, known, accumulators)
            supers.next(*_joined(b, reductions, totals, state))
        return _nested(reductions, supers.results)

    def _superblock(
        self, b: Builder, number: int, position: Position, first: V, n: V,
        known: dict[int, V], accumulators: list[Accumulators],
    ) -> list[V]:  # fmt: skip
        """The states over one superblock, flat: its blocks in order."""
        o = self.order
        reductions = [a.reduction for a in accumulators]
        end = minimum(b, first + o.superblock, n)
        initial = _flat([r.initial(b, 1) for r in reductions])
        blocks = b.loop(first, end, o.block, carry=initial)
        with blocks as (start, *parts):
            stop = minimum(b, start + o.block, end)
            states = self._block(b, number, position, start, stop, known, accumulators)
            blocks.next(*_joined(b, reductions, parts, _flat(states)))
        return blocks.results

    def _split(
        self, b: Builder, position: Position, n: V, known: dict[int, V],
        accumulators: list[Accumulators],
    ) -> None:  # fmt: skip
        """One superblock's states, kept for the phase that joins them."""
        self._know_rows(b, position, self.stage.values_of_pass(0), known)
        first = (self.unit - self.row * self.supers) * self.order.superblock
        state = self._superblock(b, 0, position, first, n, known, accumulators)
        for base, x in zip(self.partial, state, strict=True):
            b.store(x, b.at(base, self.unit, "i64"))

    def _partial_state(self, b: Builder, first: V) -> list[V]:
        """The kept states of the superblock that begins at `first`."""
        number = self.row * self.supers + first.udiv(self.order.superblock)
        types = [t for r in self.stage.reductions for t in r.types]
        at = [b.at(base, number, "i64") for base in self.partial]
        return [b.load(t, a) for t, a in zip(types, at, strict=True)]

    def _block(
        self, b: Builder, number: int, position: Position, start: V, stop: V,
        known: dict[int, V], accumulators: list[Accumulators],
    ) -> list[list[V]]:  # fmt: skip
        lanes, width = self.lanes, self.order.width
        spread = {k: b.splat(v, lanes) for k, v in known.items()}
        whole = start + ((stop - start) & -width)
        masked = self._masks(b, number)
        light = self.stage.work_of_pass(number, tuple(self.kept)) <= LIGHT
        if light:
            states = self._unrolled(b, number, position, start, whole, spread, accumulators)
            if masked:
                states = self._masked_rest(b, number, position, whole, stop, spread, accumulators, states)
                return self._folded_states(b, accumulators, states)
            for u, mine in enumerate(states):
                for a, state in zip(accumulators, mine, strict=True):
                    a.write(b.i64(u * lanes), state)
        else:
            for a in accumulators:
                a.clear(width, lanes)
            with b.loop(start, whole, lanes) as (i,):
                self._step(b, number, position, i, (i - start) & (width - 1), spread, accumulators, lanes, None)
        if masked:
            with b.loop(whole, stop, lanes) as (i,):
                mask = first_lanes(b, stop - i, lanes)
                self._step(b, number, position, i, i - whole, spread, accumulators, lanes, mask)
        else:
            with b.loop(whole, stop) as (i,):
                self._step(b, number, position, i, i - whole, known, accumulators, 1, None)
        read = [[a.read(b.i64(u * lanes), lanes) for a in accumulators] for u in range(UNROLL)]
        return self._folded_states(b, accumulators, read)

    def _unrolled(
        self, b: Builder, number: int, position: Position, start: V, whole: V,
        spread: dict[int, V], accumulators: list[Accumulators],
    ) -> list[list[list[V]]]:  # fmt: skip
        """Whole lane groups with the accumulators in registers; states by vector and reduction."""
        lanes = self.lanes
        reductions = [a.reduction for a in accumulators]
        initial = [v for _ in range(UNROLL) for r in reductions for v in r.initial(b, lanes)]
        group = len(initial) // UNROLL
        loop = b.loop(start, whole, self.order.width, carry=initial)
        with loop as (i, *states):
            following: list[V] = []
            for u in range(UNROLL):
                at = i + u * lanes
                new = self._elements(b, number, position, at, spread, reductions, lanes, None)
                mine = states[u * group : (u + 1) * group]
                following += _joined(b, reductions, mine, _flat(new))
            loop.next(*following)
        found = loop.results
        return [_nested(reductions, found[u * group : (u + 1) * group]) for u in range(UNROLL)]

    def _masked_rest(
        self, b: Builder, number: int, position: Position, whole: V, stop: V,
        spread: dict[int, V], accumulators: list[Accumulators], states: list[list[list[V]]],
    ) -> list[list[list[V]]]:  # fmt: skip
        """What is left of a block, less than one lane group, without leaving registers.

        The vectors take turns: each step works on the first and puts it last, so that the code is
        there once and a short row pays for the vectors that it has; what is missing to a full turn
        is made up at the end.
        """
        lanes = self.lanes
        reductions = [a.reduction for a in accumulators]
        initial = [v for mine in states for v in _flat(mine)]
        group = len(initial) // UNROLL
        steps = b.loop(whole, stop, lanes, carry=initial)
        with steps as (i, *before):
            mask = first_lanes(b, stop - i, lanes)
            new = self._elements(b, number, position, i, spread, reductions, lanes, mask)
            mine = before[:group]
            joined = _joined(b, reductions, mine, _flat(new))
            chosen = [b.select(mask, x, y) for x, y in zip(joined, mine, strict=True)]
            steps.next(*before[group:], *chosen)
        taken = (stop - whole + (lanes - 1)).udiv(lanes)
        turns = b.loop(taken, b.select(taken.gt(0), b.i64(UNROLL), taken), 1, carry=steps.results)
        with turns as (_, *before):
            turns.next(*before[group:], *before[:group])
        found = turns.results
        return [_nested(reductions, found[u * group : (u + 1) * group]) for u in range(UNROLL)]

    def _step(
        self, b: Builder, number: int, position: Position, i: V, lane: V, known: dict[int, V],
        accumulators: list[Accumulators], lanes: int, mask: V | None,
    ) -> None:  # fmt: skip
        reductions = [a.reduction for a in accumulators]
        new = self._elements(b, number, position, i, known, reductions, lanes, mask)
        for a, element in zip(accumulators, new, strict=True):
            before = a.read(lane, lanes)
            after = a.reduction.combine(b, before, element)
            if mask is not None:
                after = [b.select(mask, x, y) for x, y in zip(after, before, strict=True)]
            a.write(lane, after)

    def _elements(
        self, b: Builder, number: int, position: Position, i: V, known: dict[int, V],
        reductions: list[Reduction], lanes: int, mask: V | None,
    ) -> list[list[V]]:  # fmt: skip
        """Evaluate one vector of the row: store what is to be stored, return the new elements."""
        s = self.stage
        wanted = list(s.values_of_pass(number))
        made = [v for v in self.kept if s.first[v] == number]
        for v in self.kept:
            if s.first[v] < number:
                known = {**known, v: self._recall(b, v, i, lanes, mask)}
        values = evaluate(b, s.program.instructions, wanted + made, position, known, i, lanes, mask)
        for v in made:
            at = b.at(self.scratch[v], i, self._kept_type(v))
            if mask is None:
                b.store(values[v], at)
            else:
                b.masked_store(values[v], at, mask)
        for value, walk, dtype, _ in s.stores_of_pass(number):
            store(b, values[value], walk, dtype, position, i, lanes, mask)
        index = b.splat(i, lanes) + b.iota("i64", lanes) if lanes > 1 else i
        return [r.element(b, values[r.value], index) for r in reductions]

    def _recall(self, b: Builder, v: int, i: V, lanes: int, mask: V | None) -> V:
        """A value that an earlier pass kept."""
        type_ = vector(self._kept_type(v), lanes)
        at = b.at(self.scratch[v], i, self._kept_type(v))
        return b.load(type_, at) if mask is None else b.masked_load(type_, at, mask)

    def _stores_only(
        self, b: Builder, number: int, position: Position, n: V, known: dict[int, V]
    ) -> None:
        lanes = self.lanes
        masked = self._masks(b, number)
        light = self.stage.work_of_pass(number, tuple(self.kept)) <= LIGHT
        wide = 2 * lanes if masked and light else lanes
        spread = {k: b.splat(v, lanes) for k, v in known.items()}
        spread_wide = {k: b.splat(v, wide) for k, v in known.items()}
        whole = n & -wide
        with b.loop(0, whole, wide) as (i,):
            self._elements(b, number, position, i, spread_wide, [], wide, None)
        if masked:
            with b.loop(whole, n, lanes) as (i,):
                mask = first_lanes(b, n - i, lanes)
                self._elements(b, number, position, i, spread, [], lanes, mask)
        else:
            with b.loop(whole, n) as (i,):
                self._elements(b, number, position, i, known, [], 1, None)

    def _folded_states(
        self, b: Builder, accumulators: list[Accumulators], states: list[list[list[V]]]
    ) -> list[list[V]]:
        """The lanes of each reduction folded by halves: its vectors first, then their lanes."""
        found = []
        for k, a in enumerate(accumulators):
            vectors = [mine[k] for mine in states]
            while len(vectors) > 1:
                half = len(vectors) // 2
                vectors = [
                    a.reduction.combine(b, vectors[u], vectors[u + half]) for u in range(half)
                ]
            found.append(fold_lanes(b, a.reduction, vectors[0], self.lanes))
        return found


def _flat(states: list[list[V]]) -> list[V]:
    return [v for state in states for v in state]


def _nested(reductions: list[Reduction], flat: list[V]) -> list[list[V]]:
    result, at = [], 0
    for r in reductions:
        result.append(list(flat[at : at + len(r.types)]))
        at += len(r.types)
    return result


def _joined(b: Builder, reductions: list[Reduction], x: list[V], y: list[V]) -> list[V]:
    pairs = zip(reductions, _nested(reductions, x), _nested(reductions, y), strict=True)
    return _flat([r.combine(b, p, q) for r, p, q in pairs])

