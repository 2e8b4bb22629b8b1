"""Reduction kernels: several passes over a group of rows that share their reduced dimensions.

A *stage kernel* reads rows of its domain (parallel dimensions × reduced dimensions) in passes: the
first reduces, later ones use its results (softmax: maximum; sum of exponentials; quotients). Vectors
run along the reduced dimension where that is contiguous ("along"), else along the parallel one
("across"). The order of accumulation is the same in both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fanal.backends.native.loops.evaluate import arguments, walk_of
from fanal.backends.native.loops.expression import Expression
from fanal.backends.native.loops.operations import OPERATIONS
from fanal.backends.native.loops.reductions import Order, Reduction, order_of
from fanal.backends.native.loops.structure import Program, merged, stride_class
from fanal.backends.native.program import Access, ProgramBuilder
from fanal.core.dtypes import BY_NAME
from fanal.ops.primitive import TABLE

Shape = tuple[int, ...]
TASK_WORK = 16384
# Floating operations that take tens of instructions: those of vecmath.
COSTLY = {
    p.native for p in TABLE.values() if p.kind == "elementwise" and p.native not in OPERATIONS
} - {"sqrt", "cast"}
COSTLY_WORK = 3  # counted low: their chains gain most by standing side by side


@dataclass(slots=True)
class RowReduction:
    """A reduction over the group's reduced dimensions, and the (virtual) buffer of its results."""

    op: str
    expression: Expression
    to: Access

    @property
    def result(self) -> int:
        """The number that its results are known by."""
        return self.to.buffer


@dataclass(slots=True)
class RowStore:
    """A result to keep: per element of the domain, or per row (`per_row`)."""

    expression: Expression
    to: Access
    per_row: bool


class CannotMerge(Exception):
    """A run of reduced dimensions is not walked as one by every operand."""


class StageKernel:
    """A canonical reduction kernel and its numbers."""

    def __init__(
        self,
        p: ProgramBuilder,
        shape: Shape,
        dims: Shape,
        reductions: list[RowReduction],
        stores: list[RowStore],
    ):
        self.target = p.target
        self.program = Program()
        self._collect(reductions, stores)
        self._collapse(shape, dims)
        self._level()

    def _collect(self, reductions: list[RowReduction], stores: list[RowStore]) -> None:
        outside: dict[int, int] = {}
        memo: dict[int, int] = {}
        program = self.program
        self.reductions: list[Reduction] = []
        for r in reductions:
            value = program.add(r.expression, outside, memo)
            self.reductions.append(Reduction(r.op, value, r.expression.dtype.name))
            outside[r.result] = len(self.reductions) - 1
        self.stores: list[tuple[int, int, str, bool]] = []
        for s in stores:
            value = program.add(s.expression, outside, memo)
            walk = program.walk(s.to.shape, s.to.strides, s.to)
            self.stores.append((value, walk, s.to.dtype.name, s.per_row))

    def _collapse(self, shape: Shape, dims: Shape) -> None:
        """Merge dimensions; reduced runs become one dimension each, or CannotMerge is raised."""
        walks = self.program.walks
        parallel = [d for d in range(len(shape)) if d not in dims]
        # The innermost parallel dimension is the one that the first operand walks in small steps.
        lead = next((w for w in walks if w.access is not None), None)
        if lead is not None:
            parallel.sort(key=lambda d: (-abs(lead.strides[d]), d))
        runs: list[list[int]] = []
        for d in sorted(dims):
            if runs and runs[-1][-1] == d - 1:
                runs[-1].append(d)
            else:
                runs.append([d])
        p_extents, p_rows = merged(
            [shape[d] for d in parallel], [[w.strides[d] for d in parallel] for w in walks]
        )
        r_extents: list[int] = []
        r_rows: list[list[int]] = [[] for _ in walks]
        for run in runs:
            extents, rows = merged([shape[d] for d in run], [[w.strides[d] for d in run] for w in walks])
            if len(extents) > 1:
                raise CannotMerge
            if extents:
                r_extents += extents
                for row, part in zip(r_rows, rows, strict=True):
                    row += part
        if not r_extents:
            r_extents, r_rows = [1], [[0] for _ in walks]
        if not p_extents:
            p_extents, p_rows = [1], [[0] for _ in walks]
        self.p_extents, self.r_extents = p_extents, r_extents
        self.p_rows, self.r_rows = p_rows, r_rows
        self.rows = math.prod(p_extents)
        self.length = math.prod(r_extents)

    def _level(self) -> None:
        """For each instruction: whether it changes inside a row, and the first pass that has it."""
        code = self.program.instructions
        self.full: set[int] = set()
        self.first: list[int] = []
        memo: dict[int, int] = {}

        def first_pass(number: int) -> int:
            if number not in memo:
                instruction = code[number]
                if instruction[0] == "outside":
                    r = self.reductions[instruction[1]]
                    memo[number] = first_pass(r.value) + 1
                else:
                    memo[number] = max((first_pass(a) for a in arguments(instruction)), default=0)
            return memo[number]

        for number, instruction in enumerate(code):
            walk = walk_of(instruction)
            moves = walk is not None and any(self.r_rows[walk])
            if moves or any(a in self.full for a in arguments(instruction)):
                self.full.add(number)
        self.first = [first_pass(i) for i in range(len(code))]
        reduction_pass = [self.first[r.value] for r in self.reductions]
        self.passes = 1 + max(
            reduction_pass + [self.first[v] for v, _, _, per_row in self.stores if not per_row],
            default=0,
        )
        self.reduction_pass = reduction_pass

    # -- which way the vectors run, and the phases -----------------------------------------------

    @property
    def along(self) -> bool:
        """Whether vectors run along the (last) reduced dimension."""
        walks = self.program.walks
        memory = [i for i, w in enumerate(walks) if w.access is not None]
        moving = [i for i in memory if self.r_rows[i][-1] != 0]
        # One value a row (or a column) is cheap either way: the whole operands decide.
        moving = [i for i in moving if self.p_rows[i][-1] != 0] or moving
        unit_r = sum(abs(self.r_rows[i][-1]) == 1 for i in moving)
        unit_p = sum(abs(self.p_rows[i][-1]) == 1 for i in moving)
        return unit_r >= unit_p

    def add_phases(self, p: ProgramBuilder) -> None:
        """Append the phase that computes everything."""
        if self.rows == 0:
            return
        from fanal.backends.native.loops.across import AcrossKernel
        from fanal.backends.native.loops.along import AlongKernel

        (AlongKernel if self.along else AcrossKernel)(self).add_phases(p)

    @property
    def classes(self) -> list[str]:
        rows = self.r_rows if self.along else self.p_rows
        return [stride_class(r[-1]) for r in rows]

    @property
    def key(self) -> str:
        """Everything that the code depends on; no extent."""
        kinds = "".join("r" if w.access is None else "m" for w in self.program.walks)
        outer = (len(self.p_extents), len(self.r_extents))
        moves = "".join("1" if any(r) else "0" for r in self.r_rows)
        return (
            f"{outer} {kinds} {''.join(self.classes)} {moves} {self.program.instructions} "
            f"{[(r.op, r.value, r.dtype) for r in self.reductions]} {self.stores}"
        )

    @property
    def order(self) -> Order:
        """The order of accumulation; all reductions of a kernel have one dtype."""
        names = [r.dtype for r in self.reductions]
        return order_of(self.target, BY_NAME[names[0]] if names else BY_NAME["float32"])



    def values_of_pass(self, number: int) -> list[int]:
        """Full-level instructions that the reductions and stores of a pass need."""
        wanted = [r.value for k, r in enumerate(self.reductions) if self.reduction_pass[k] == number]
        wanted += [v for v, _, _, per_row in self.stores_of_pass(number)]
        return wanted

    def stores_of_pass(self, number: int) -> list[tuple[int, int, str, bool]]:
        """Stores per element that a pass makes."""
        return [s for s in self.stores if not s[3] and self.first[s[0]] == number]

    def work_of_pass(self, number: int, kept: tuple[int, ...] = ()) -> int:
        """About how many instructions one element of a pass takes; `kept` values are just loaded."""
        code = self.program.instructions
        seen = set(self.values_of_pass(number))
        stack = list(seen)
        work = 0
        while stack:
            v = stack.pop()
            if v not in self.full:
                continue
            work += 1
            if v in kept and self.first[v] < number:
                continue
            if code[v][0] == "op" and code[v][1] in COSTLY:
                work += COSTLY_WORK
            new = [a for a in arguments(code[v]) if a not in seen]
            seen.update(new)
            stack += new
        return work

    def row_values(self, wanted: list[int]) -> list[int]:
        """Instructions constant within a row that computing `wanted` uses."""
        code = self.program.instructions
        found: set[int] = set()
        stack, seen = list(wanted), set(wanted)
        while stack:
            number = stack.pop()
            if number not in self.full:
                found.add(number)
                continue
            for a in arguments(code[number]):
                if a not in seen:
                    seen.add(a)
                    stack.append(a)
        return sorted(found)
