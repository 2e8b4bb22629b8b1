"""Entries of the schedule: what is computed together.

Three kinds: stores over one domain (an elementwise kernel), reductions with what is computed from them
row by row (a stage kernel), and the phases of a structural primitive.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from fanal.backends.native.loops.convert import compute_type
from fanal.backends.native.loops.elementwise import Store, lower_elementwise
from fanal.backends.native.loops.expression import (
    CannotView,
    Expression,
    Gather,
    Load,
    Op,
    Random,
    buffers_of,
    leaves,
    viewed,
)
from fanal.backends.native.loops.rows import CannotMerge, RowReduction, RowStore, StageKernel
from fanal.backends.native.loops.views import reshape_view
from fanal.backends.native.program import Access, ProgramBuilder
from fanal.core.dtypes import DType
from fanal.graph.ir import Node

Shape = tuple[int, ...]


@dataclass(slots=True)
class Entry:
    """One step of the schedule: what it reads and writes, as buffer numbers."""

    reads: set[int] = field(default_factory=set)
    writes: set[int] = field(default_factory=set)
    # Whether it writes to memory that the caller keeps, and nodes that no expression here shows.
    commits: bool = field(default=False, kw_only=True)
    nodes: tuple[Node, ...] = field(default=(), kw_only=True)


@dataclass(slots=True)
class ElementEntry(Entry):
    stores: list[Store] = field(default_factory=list)

    def forwarded(self, e: Expression) -> Expression | None:
        """The expression with what this entry stores in the place of its memory; None where that is
        read at another index than it is written."""
        return forwarded(e, self.writes, [(s.expression, s.to) for s in self.stores])

    def emit(self, p: ProgramBuilder, real: dict[int, Access]) -> None:
        stores = [Store(resolved(s.expression, real), s.to) for s in self.stores]
        lower_elementwise(p, stores)


@dataclass(slots=True)
class OpaqueEntry(Entry):
    """Phases of a structural primitive; its operands are resolved when it is emitted."""

    run: Callable[[ProgramBuilder, dict[int, Access]], None] | None = None
    accesses: tuple[Access, ...] = ()  # its operands
    form: tuple[Any, ...] | None = None  # all that its phases depend on besides these, if that is known

    def emit(self, p: ProgramBuilder, real: dict[int, Access]) -> None:
        assert self.run is not None
        self.run(p, real)


@dataclass(slots=True)
class StageEntry(Entry):
    """Reductions of one domain over the same dimensions, and what follows from them in each row."""

    shape: Shape = ()
    dims: Shape = ()
    width: int = 0
    reductions: list[RowReduction] = field(default_factory=list)
    stores: list[RowStore] = field(default_factory=list)

    @property
    def kept(self) -> Shape:
        return tuple(n for d, n in enumerate(self.shape) if d not in self.dims)

    @property
    def own(self) -> set[int]:
        return {r.result for r in self.reductions}

    def lifted(self, e: Expression) -> Expression:
        """An expression over the rows as one over the whole domain (constant within a row)."""

        def lift(shape: Shape, strides: Shape) -> tuple[Shape, int]:
            left = iter(strides)
            return tuple(0 if d in self.dims else next(left) for d in range(len(self.shape))), 0

        return viewed(e, self.shape, lift, {})

    def lifted_access(self, access: Access) -> Access:
        left = iter(access.strides)
        strides = tuple(0 if d in self.dims else next(left) for d in range(len(self.shape)))
        return replace(access, shape=self.shape, strides=strides)

    def is_local(self, e: Expression) -> bool:
        """Whether an expression over the domain reads this group's results only at its own row."""
        if buffers_of_gathers(e) & self.own:
            return False
        expected = {r.result: self.lifted_access(r.to).strides for r in self.reductions}
        return all(
            n == 1 or s == t
            for leaf in leaves(e)
            if isinstance(leaf, Load) and leaf.access.buffer in self.own
            for n, s, t in zip(
                self.shape, leaf.access.strides, expected[leaf.access.buffer], strict=True
            )
        )

    def forwarded(self, e: Expression) -> Expression | None:
        """The expression (over the domain) with what this entry stores in the place of its memory;
        None where that is read at another index than it is written."""
        return forwarded(e, self.writes - self.own, [(s.expression, s.to) for s in self.stores])

    def admit(self, e: Expression, to: Access) -> RowStore | None:
        """The store as a member of this group, or None where it doesn't fit."""
        if buffers_of(e).isdisjoint(self.writes):
            return None
        size = math.prod(to.shape)
        for shape, per_row in ((self.shape, False), (self.kept, True)):
            if size != math.prod(shape):
                continue
            inner, target = e, to
            if to.shape != shape:
                try:
                    inner = viewed(e, shape, reshape_view(shape), {})
                except CannotView:
                    continue
                strides = reshape_view(shape)(to.shape, to.strides)
                if strides is None:
                    continue
                target = replace(to, shape=shape, strides=strides[0])
            if per_row:
                inner, target = self.lifted(inner), self.lifted_access(target)
            own = self.forwarded(inner)
            if own is not None and self.is_local(own) and self.walks(own, target):
                return RowStore(own, target, per_row)
        return None

    def walks(self, e: Expression, to: Access) -> bool:
        """Whether a store reads and writes each run of reduced dimensions as one."""
        try:
            check_merge(self.shape, self.dims, [e, Load(to.dtype, to.shape, to)])
        except CannotMerge:
            return False
        return True

    def emit(self, p: ProgramBuilder, real: dict[int, Access]) -> None:
        own = self.own
        outside = {n: real[n] for n in self.reads if n in real and n not in own}
        reductions = [
            RowReduction(r.op, resolved(r.expression, outside), r.to) for r in self.reductions
        ]
        stores = [RowStore(resolved(s.expression, outside), s.to, s.per_row) for s in self.stores]
        for r in self.reductions:
            if r.result in real:
                to = real[r.result]
                e = self.lifted(Load(to.dtype, to.shape, r.to))
                stores.append(RowStore(e, self.lifted_access(to), True))
        StageKernel(p, self.shape, self.dims, reductions, stores).add_phases(p)


def forwarded(
    e: Expression, written: set[int], stores: list[tuple[Expression, Access]]
) -> Expression | None:
    """An expression that reads what is being stored, as one that computes it.

    None where it reads memory among `written` that no store covers at the same index.
    """
    if not buffers_of(e) & written:
        return e
    if buffers_of_gathers(e) & written:
        return None
    values = {(s.buffer, s.offset, taken_strides(s)): x for x, s in stores if s.shape == e.shape}
    memo: dict[int, Expression | None] = {}

    def visit(x: Expression) -> Expression | None:
        if id(x) not in memo:
            memo[id(x)] = rebuilt(x)
        return memo[id(x)]

    def rebuilt(x: Expression) -> Expression | None:
        if isinstance(x, Load):
            if x.access.buffer not in written:
                return x
            return values.get((x.access.buffer, x.access.offset, taken_strides(x.access)))
        if isinstance(x, Op):
            args = [v for v in map(visit, x.args) if v is not None]
            if len(args) < len(x.args):
                return None
            return Op(x.dtype, x.shape, x.name, tuple(args), x.operand, x.source)
        if isinstance(x, Gather):
            indices = [v for v in map(visit, x.indices) if v is not None]
            return None if len(indices) < len(x.indices) else replace(x, indices=tuple(indices))
        return x

    return visit(e)


def are_apart(a: Access, b: Access) -> bool:
    """Whether two windows of one shape and the same strides have no element in common."""
    if a.shape != b.shape or a.strides != b.strides or a.dtype is not b.dtype:
        return False
    distance, rest = divmod(a.offset - b.offset, a.dtype.itemsize)
    dims = [(n, abs(s)) for n, s in zip(a.shape, a.strides, strict=True) if n > 1]
    return rest == 0 and not _meet(distance, sorted(dims, key=lambda dim: -dim[1]))


def _meet(distance: int, dims: list[tuple[int, int]]) -> bool:
    """Whether a distance is a sum of fewer than n steps either way along each dimension (where that
    is not found out easily: True)."""
    if not dims:
        return distance == 0
    (n, step), *inner = dims
    reach = sum((m - 1) * s for m, s in inner)
    if reach >= step:
        return True
    return any(
        abs(k) < n and _meet(distance - k * step, inner)
        for k in (distance // step, distance // step + 1)
    )


def taken_strides(access: Access) -> Shape:
    """Strides that make a difference: those of extents other than 1."""
    return tuple(0 if n == 1 else s for n, s in zip(access.shape, access.strides, strict=True))


def buffers_of_gathers(e: Expression) -> set[int]:
    """Buffers that are read at computed places."""
    return {
        leaf.table.buffer if isinstance(leaf, Gather) else leaf.key.buffer
        for leaf in leaves(e)
        if isinstance(leaf, Gather | Random)
    }


def real_access(access: Access, real: dict[int, Access]) -> Access:
    """An access in the memory that its virtual buffer was given, if it is of one."""
    to = real.get(access.buffer)
    return access if to is None else replace(access, buffer=to.buffer, offset=access.offset + to.offset)


def resolved(e: Expression, real: dict[int, Access]) -> Expression:
    """The expression with virtual buffers replaced by the memory that they were given."""
    if buffers_of(e).isdisjoint(real):
        return e
    memo: dict[int, Expression] = {}

    def visit(x: Expression) -> Expression:
        if id(x) in memo:
            return memo[id(x)]
        result: Expression = x
        if isinstance(x, Load):
            result = Load(x.dtype, x.shape, real_access(x.access, real), x.scalar)
        elif isinstance(x, Op):
            args = tuple([visit(a) for a in x.args])
            result = Op(x.dtype, x.shape, x.name, args, x.operand, x.source)
        elif isinstance(x, Gather):
            result = replace(
                x, table=real_access(x.table, real), indices=tuple(visit(i) for i in x.indices)
            )
        elif isinstance(x, Random):
            result = replace(x, key=real_access(x.key, real))
        memo[id(x)] = result
        return result

    return visit(e)


Scheduled = ElementEntry | StageEntry | OpaqueEntry


def check_merge(shape: Shape, dims: Shape, expressions: list[Expression]) -> None:
    """Raise CannotMerge unless every operand walks each run of reduced dimensions as one."""
    for e in expressions:
        for leaf in leaves(e):
            strides = getattr(leaf, "strides", None)
            if isinstance(leaf, Load):
                strides = leaf.access.strides
            if strides is None:
                continue
            if not all(strides[a] == strides[b] * shape[b] for a, b in _neighbours(shape, dims)):
                raise CannotMerge


def _neighbours(shape: Shape, dims: Shape) -> list[tuple[int, int]]:
    """Reduced dimensions with only extents of 1, reduced ones too, between them."""
    pairs, last = [], None
    for d in range(len(shape)):
        if d not in dims:
            last = None
        elif shape[d] != 1:
            if last is not None:
                pairs.append((last, d))
            last = d
    return pairs


def accumulates(dtype: DType) -> str:
    return compute_type(dtype)
