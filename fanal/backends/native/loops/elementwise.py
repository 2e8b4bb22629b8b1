"""Elementwise kernels: every output element from the elements at its own index.

The domain's innermost dimension is the vector dimension. Work is cut into units: one row of it, or
a piece of a long row; a task takes a run of units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.loops.convert import storage_type, to_storage
from fanal.backends.native.loops.evaluate import (
    Position,
    element_bytes,
    evaluate,
    first_lanes,
    maskable,
    moving,
    vector_lanes,
    waits,
)
from fanal.backends.native.loops.expression import Expression
from fanal.backends.native.loops.operations import OPERATIONS
from fanal.backends.native.loops.structure import Program, memory_order, merged, stride_class
from fanal.backends.native.program import Access, Descriptor, Kernel, ProgramBuilder, units_of
from fanal.core.dtypes import BY_NAME
from fanal.core.symbols import chosen, least

TASK_ELEMENTS = 16384  # about 20 µs of a light kernel: worth another thread, small enough to balance


def step_elements(program: Program) -> int:
    """Elements of one task in a loop: about 3 µs of work."""
    code = program.instructions
    heavy = sum(i[0] == "op" and i[1] not in OPERATIONS for i in code)
    return int(3000 / (0.65 * heavy + 0.02 * len(code) + 0.05 * len(program.walks)))


def _chunk(n: int) -> int:
    """Elements of a row that are one unit."""
    return n if 0 < n < 2 * TASK_ELEMENTS else TASK_ELEMENTS


@dataclass(frozen=True, slots=True)
class Store:
    """An expression and where its elements go."""

    expression: Expression
    to: Access


def lower_elementwise(p: ProgramBuilder, stores: list[Store]) -> None:
    """Append one phase that computes all stores; they have the same shape."""
    from fanal.backends.native.loops.tiled import LEAST, TiledKernel, across_dimension

    shape = stores[0].to.shape
    if math.prod(shape) == 0:
        return
    program = Program()
    memo: dict[int, int] = {}
    targets = []
    for s in stores:
        value = program.add(s.expression, {}, memo)
        targets.append((value, program.walk(s.to.shape, s.to.strides, s.to), s.to.dtype.name))
    order = memory_order(shape, stores[0].to.strides)
    extents = [shape[d] for d in order]
    rows = [[w.strides[d] for d in order] for w in program.walks]
    extents, rows = merged(extents, rows)
    if not extents:
        extents, rows = [1], [[0] for _ in rows]
    for walk, row in zip(program.walks, rows, strict=True):
        walk.strides = row
    turn = across_dimension(program, extents)
    if turn is not None and not program.may_report:
        order = [d for d in range(len(extents)) if d != turn]
        order.insert(len(order) - 1, turn)
        for walk in program.walks:
            walk.strides = [walk.strides[d] for d in order]
        extents = [extents[d] for d in order]
        tiled = TiledKernel(program, tuple(targets), len(extents), bool(extents[-1] < LEAST))
        tiled.add_phase(p, extents, tiled.lanes(Builder(p.target, "")))
        return
    kernel = ElementwiseKernel(program, tuple(targets), len(extents))
    kernel.add_phase(p, extents)


class ElementwiseKernel:
    """The canonical kernel of a program and its stores over `rank` collapsed dimensions."""

    def __init__(self, program: Program, targets: tuple[tuple[int, int, str], ...], rank: int):
        self.program, self.targets, self.rank = program, targets, rank
        self.classes = [stride_class(w.strides[-1]) for w in program.walks]

    @property
    def key(self) -> str:
        kinds = "".join("r" if w.access is None else "m" for w in self.program.walks)
        code = self.program.instructions
        return f"elementwise {self.rank} {kinds} {''.join(self.classes)} {code} {self.targets}"

    def add_phase(self, p: ProgramBuilder, extents: list[int]) -> None:
        n = extents[-1]
        outer = math.prod(extents[:-1])
        chunk = chosen(_chunk, n)
        chunks = -(-n // chunk)
        units = outer * chunks
        per_task = units_of(TASK_ELEMENTS, chunk)
        if p.in_loop:  # other threads are awake there
            per_task = least(per_task, units_of(step_elements(self.program), chunk))
        words = [units, per_task, chunks, chunk, n, *extents[1:-1]]
        program = self.program
        for walk, cls in zip(program.walks, self.classes, strict=True):
            words += walk.strides[:-1]
            if cls == "n":
                words.append(walk.strides[-1])
            if walk.access is None:
                words.append(walk.start)
        words += program.words
        operands = [w.access for w in program.walks if w.access is not None]
        kernel = Kernel(self.key, self.emit)
        targets = [walk for _, walk, _ in self.targets]
        written, changed = self.program.written(targets), self.program.changed(targets)
        p.phase(kernel, operands, words, -(-units // per_task), written, changes=changed)

    def emit(self, b: Builder) -> None:
        d = Descriptor(b, len(self.program.operands))
        units, per_task, chunks, chunk, n = (d.word() for _ in range(5))
        extents = [d.word() for _ in range(max(0, self.rank - 2))]
        walks = read_walks(d, self.program, self.classes, self.rank - 1)
        low = b.arg("task") * per_task
        high = minimum(b, low + per_task, units)
        with b.loop(low, high) as (unit,):
            if self.rank > 1:
                row = unit.udiv(chunks)
                piece = unit - row * chunks
                index = decode(b, row, extents)
            else:
                piece, index = unit, []
            start = piece * chunk
            stop = minimum(b, start + chunk, n)
            self._row(b, walks.at(b, index), start, stop)
        b.ret()

    def _row(self, b: Builder, position: Position, start: V, stop: V) -> None:
        code = self.program.instructions
        inside = moving(code, self.classes)
        wanted = [value for value, _, _ in self.targets]
        fixed = needed(code, wanted, inside)
        known = evaluate(b, code, sorted(fixed), position, {}, None, 1)
        lanes = vector_lanes(b, code, inside)
        spread = {k: b.splat(v, lanes) for k, v in known.items()}
        position.uniform = known
        # Two vectors side by side where each waits long for itself: a processor's window is too
        # small to find the next one on its own.
        wide = 2 * lanes if lanes > 1 and waits(code) else lanes
        whole = start + ((stop - start) & -wide)
        with b.loop(start, whole, wide) as (i,):
            widest = {k: b.splat(v, wide) for k, v in known.items()} if wide > lanes else spread
            self._store(b, position, widest, i, wide, None)
        if lanes == 1:
            return
        stored = [dtype for _, _, dtype in self.targets]
        if maskable(b, code, stored) and not self.program.may_report and self._unit_stores():
            with b.loop(whole, stop, lanes) as (i,):
                mask = first_lanes(b, stop - i, lanes)
                self._store(b, position, spread, i, lanes, mask)
        else:
            with b.loop(whole, stop) as (i,):
                self._store(b, position, known, i, 1, None)

    def _unit_stores(self) -> bool:
        return all(self.classes[walk] == "1" for _, walk, _ in self.targets)

    def _store(
        self, b: Builder, position: Position, known: dict[int, V], i: V, lanes: int, mask: V | None
    ) -> None:
        wanted = [value for value, _, _ in self.targets]
        code = self.program.instructions
        values = evaluate(b, code, wanted, position, known, i, lanes, mask)
        for value, walk, dtype in self.targets:
            store(b, values[value], walk, dtype, position, i, lanes, mask)


def store(
    b: Builder, x: V, walk: int, dtype: str, position: Position, i: V, lanes: int, mask: V | None
) -> None:
    """Store one vector through a walk, in whatever stride class it has."""
    kind = BY_NAME[dtype]
    bits = to_storage(x, kind)
    pointer, cls, storage = position.pointers[walk], position.classes[walk], storage_type(kind)
    if cls == "1" and mask is not None:
        b.masked_store(bits, b.at(pointer, i, storage), mask)
    elif cls == "1" or lanes == 1:
        stride = {"0": b.i64(0), "1": b.i64(1)}.get(cls) or position.strides[walk]
        b.store(bits, b.at(pointer, i * stride if cls == "n" else i if cls == "1" else 0, storage))
    else:
        stride = position.strides[walk] if cls == "n" else b.i64(0)
        for lane in range(lanes):
            b.store(bits[lane], b.at(pointer, (i + lane) * stride, storage))


def needed(code: list[tuple[object, ...]], wanted: list[int], inside: set[int]) -> set[int]:
    """Instructions outside of the loop whose values the loop (or a store) uses."""
    from fanal.backends.native.loops.evaluate import arguments

    found: set[int] = {w for w in wanted if w not in inside}
    stack, seen = list(wanted), set(wanted)
    while stack:
        for a in arguments(code[stack.pop()]):
            if a not in inside:
                found.add(a)
            elif a not in seen:
                seen.add(a)
                stack.append(a)
    return {f for f in found if code[f][0] != "const"} | {w for w in wanted if w not in inside}


@dataclass(slots=True)
class Walks:
    """The walks' numbers as read from the descriptor; `at` gives the position of a row."""

    program: Program
    bases: dict[int, V]
    strides: list[list[V]]
    starts: dict[int, V]
    inner: dict[int, V]
    classes: list[str]
    words: list[V]

    def at(self, b: Builder, index: list[V]) -> Position:
        pointers, ramps = {}, {}
        for number, walk in enumerate(self.program.walks):
            offset: V | None = None
            for i, stride in zip(index, self.strides[number], strict=True):
                term = i * stride
                offset = term if offset is None else offset + term
            if walk.access is None:
                start = self.starts[number]
                ramps[number] = start if offset is None else start + offset
            else:
                base = self.bases[number]
                size = element_bytes(walk.access.dtype.name)
                pointers[number] = base if offset is None else b.at(base, offset * size)
        return Position(pointers, ramps, self.classes, self.inner, self.words)


def read_walks(d: Descriptor, program: Program, classes: list[str], outer: int) -> Walks:
    """Read strides (of `outer` dimensions), inner strides and starts, in the order of the words."""
    strides, inner, starts, bases = [], {}, {}, {}
    slot_pointers = {
        i[1] for i in program.instructions if i[0] == "scalar"
    }  # by-value operands: the address of the slot itself
    operand = 0
    for number, walk in enumerate(program.walks):
        strides.append([d.word() for _ in range(outer)])
        if classes[number] == "n":
            inner[number] = d.word()
        if walk.access is None:
            starts[number] = d.word()
        else:
            bases[number] = d.slot(operand) if number in slot_pointers else d.pointer(operand)
            operand += 1
    words = [d.word() for _ in program.words]
    return Walks(program, bases, strides, starts, inner, classes, words)


def decode(b: Builder, linear: V, extents: list[V]) -> list[V]:
    """Row-major indices of a linear number; `extents` are those of all dimensions but the first."""
    index: list[V] = []
    for extent in reversed(extents):
        quotient = linear.udiv(extent)
        index.append(linear - quotient * extent)
        linear = quotient
    return [linear, *reversed(index)]


def minimum(b: Builder, x: V, y: V) -> V:
    return b.select(x.lt(y), x, y)
