"""Elementwise kernels for operands that run across the output: blocks are transposed in registers.

Where an operand's neighbours lie along another dimension than the output's (a transposed copy), a
vector of the output would gather. Here a square block is loaded along the operand's dimension, turned
by shuffles, and everything else of the kernel goes on row by row.
"""

from __future__ import annotations

import math
from typing import Any

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.loops.convert import from_storage, storage_type
from fanal.backends.native.loops.elementwise import (
    TASK_ELEMENTS,
    decode,
    minimum,
    needed,
    read_walks,
    store,
)
from fanal.backends.native.loops.evaluate import (
    Position,
    element_bytes,
    evaluate,
    moving,
    vector_lanes,
)
from fanal.backends.native.loops.structure import Program, stride_class
from fanal.backends.native.program import Descriptor, Kernel, ProgramBuilder, units_of
from fanal.core.dtypes import BY_NAME

HALVES = 2  # blocks side by side along the operand's dimension, to use whole cache lines
LEAST = 16  # extents from which turning blocks pays
# Lanes of blocks where the output's lines are shorter than that, and the shortest for which these pay.
NARROW = 4


def across_dimension(program: Program, extents: list[int]) -> int | None:
    """The dimension along which loaded operands run that the last one would gather; or None."""
    if len(extents) < 2 or extents[-1] < NARROW:
        return None
    loaded = {i[1] for i in program.instructions if i[0] == "load"}
    votes = [0] * len(extents)
    for number, walk in enumerate(program.walks):
        if number in loaded and abs(walk.strides[-1]) > 1:
            for d, stride in enumerate(walk.strides[:-1]):
                if stride == 1 and extents[d] >= LEAST:
                    votes[d] += 1
    best = max(range(len(votes)), key=lambda d: votes[d])
    return best if votes[best] else None


class TiledKernel:
    """A program over (…, i, j): vectors along j, some operands loaded along i. `narrow`: short ones."""

    def __init__(
        self, program: Program, targets: tuple[tuple[int, int, str], ...], rank: int, narrow: bool = False
    ):
        self.program, self.targets, self.rank, self.narrow = program, targets, rank, narrow
        self.classes = [stride_class(w.strides[-1]) for w in program.walks]
        self.turned = {
            n: i[1]
            for n, i in enumerate(program.instructions)
            if i[0] == "load" and self.classes[i[1]] == "n" and program.walks[i[1]].strides[-2] == 1
        }

    @property
    def key(self) -> str:
        kinds = "".join("r" if w.access is None else "m" for w in self.program.walks)
        code = self.program.instructions
        turned = sorted(self.turned)
        form = "tiled narrow" if self.narrow else "tiled"
        return f"{form} {self.rank} {kinds} {''.join(self.classes)} {turned} {code} {self.targets}"

    def add_phase(self, p: ProgramBuilder, extents: list[int], lanes: int) -> None:
        rows = HALVES * lanes
        strips = -(-extents[-2] // rows)
        units = math.prod(extents[:-2]) * strips
        per_task = units_of(TASK_ELEMENTS, rows * extents[-1])
        words = [units, per_task, strips, extents[-2], extents[-1], *extents[1:-2]]
        for walk, cls in zip(self.program.walks, self.classes, strict=True):
            words += walk.strides[:-1]
            if cls == "n":
                words.append(walk.strides[-1])
            if walk.access is None:
                words.append(walk.start)
        words += self.program.words
        operands = [w.access for w in self.program.walks if w.access is not None]
        kernel = Kernel(self.key, self.emit)
        targets = [walk for _, walk, _ in self.targets]
        written, changed = self.program.written(targets), self.program.changed(targets)
        p.phase(kernel, operands, words, -(-units // per_task), written, changes=changed)

    def lanes(self, b: Builder) -> int:
        code = self.program.instructions
        lanes = vector_lanes(b, code, moving(code, self.classes))
        return min(lanes, NARROW) if self.narrow else lanes

    def emit(self, b: Builder) -> None:
        d = Descriptor(b, len(self.program.operands))
        units, per_task, strips, height, width = (d.word() for _ in range(5))
        extents = [d.word() for _ in range(max(0, self.rank - 3))]
        walks = read_walks(d, self.program, self.classes, self.rank - 1)
        lanes = self.lanes(b)
        low = b.arg("task") * per_task
        with b.loop(low, minimum(b, low + per_task, units)) as (unit,):
            if self.rank > 2:
                outer_row = unit.udiv(strips)
                strip = unit - outer_row * strips
                outer = decode(b, outer_row, extents)
            else:
                strip, outer = unit, []
            first = strip * (HALVES * lanes)
            last = minimum(b, first + HALVES * lanes, height)
            full = (last - first).eq(HALVES * lanes)
            whole = width & -lanes
            with b.if_(full):
                with b.loop(0, whole, lanes) as (j,):
                    for half in range(HALVES):
                        self._block(b, walks, [*outer, first + half * lanes], j, lanes)
                self._rest(b, walks, outer, first, last, whole, width)
            with b.if_(~full):
                self._rest(b, walks, outer, first, last, b.i64(0), width)
        b.ret()

    def _block(self, b: Builder, walks: Any, index: list[V], j: V, lanes: int) -> None:
        corner = walks.at(b, index)
        turned = {n: self._turn(b, n, corner, j, lanes) for n in self.turned}
        for row in range(lanes):
            position = walks.at(b, [*index[:-1], index[-1] + row])
            known = {n: vectors[row] for n, vectors in turned.items()}
            self._point(b, position, j, lanes, known)

    def _turn(self, b: Builder, number: int, corner: Position, j: V, lanes: int) -> list[V]:
        """The block of an operand as row vectors."""
        instruction = self.program.instructions[number]
        dtype = BY_NAME[str(instruction[2])]
        storage = storage_type(dtype)
        walk: int = instruction[1]
        size = element_bytes(dtype.name)
        step = corner.strides[walk] * size
        at = b.at(corner.pointers[walk], j * step)
        columns = []
        for _ in range(lanes):
            columns.append(b.load(f"<{lanes} x {storage}>" if lanes > 1 else storage, at))
            at = b.at(at, step)
        return [from_storage(v, dtype) for v in transposed(b, columns)]

    def _point(
        self, b: Builder, position: Position, j: V, lanes: int, known: dict[int, V]
    ) -> None:
        code = self.program.instructions
        wanted = [value for value, _, _ in self.targets]
        values = evaluate(b, code, wanted, position, known, j, lanes)
        for value, walk, dtype in self.targets:
            store(b, values[value], walk, dtype, position, j, lanes, None)

    def _rest(self, b: Builder, walks: Any, outer: Any, first: V, last: V, start: V, stop: V) -> None:
        """What no block covers, element by element."""
        code = self.program.instructions
        with b.loop(first, last) as (i,):
            position = walks.at(b, [*outer, i])
            inside = moving(code, self.classes)
            wanted = [value for value, _, _ in self.targets]
            fixed = sorted(needed(code, wanted, inside))
            known = evaluate(b, code, fixed, position, {}, None, 1)
            position.uniform = known
            with b.loop(start, stop) as (j,):
                self._point(b, position, j, 1, known)


def transposed(b: Builder, rows: list[V]) -> list[V]:
    """A square block turned: log2(n) rounds of interleaving halves."""
    n = len(rows)
    if n == 1:
        return rows
    step = n // 2
    while step >= 1:
        following: list[V] = list(rows)
        for start in range(0, n, 2 * step):
            for k in range(step):
                x, y = rows[start + k], rows[start + k + step]
                low, high = [], []
                for block in range(0, n, 2 * step):
                    low += list(range(block, block + step))
                    low += list(range(n + block, n + block + step))
                    high += list(range(block + step, block + 2 * step))
                    high += list(range(n + block + step, n + block + 2 * step))
                following[start + k] = b.shuffle(x, y, low)
                following[start + k + step] = b.shuffle(x, y, high)
        rows = following
        step //= 2
    return rows
