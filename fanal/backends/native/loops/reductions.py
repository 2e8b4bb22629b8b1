"""Reductions as states: what accumulators hold, how an element enters, how two states combine.

The order of accumulation is part of the meaning (see `order_constants`): an extent of n elements is
cut into superblocks, those into blocks; element i of a block belongs to lane i mod W; a lane adds
its elements in order; lanes are folded by halves; blocks are added in order, superblocks likewise.
All kernels follow it, whichever dimension their vectors run along, so the bits agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fanal.backends.native.emit import Builder, V, vector
from fanal.backends.native.emit.value import bits_of
from fanal.backends.native.loops.convert import compute_type
from fanal.backends.native.loops.operations import apply
from fanal.backends.native.target import Target
from fanal.core.dtypes import BY_NAME, DType

UNROLL = 4  # vectors in one lane group
BLOCK_ROWS = 64  # elements of one lane in a block
SUPERBLOCK = 32  # blocks


@dataclass(frozen=True, slots=True)
class Order:
    """The constants of the accumulation order for one dtype on one target, in elements."""

    width: int
    block: int
    superblock: int


def order_of(target: Target, dtype: DType) -> Order:
    """Depends on dtype and target only."""
    # Results of bools, which are kept as bytes, lie on the stack: 512 lanes would overflow it.
    width = UNROLL * target.lanes(max(8, bits_of(compute_type(dtype))))
    return Order(width, width * BLOCK_ROWS, width * BLOCK_ROWS * SUPERBLOCK)


@dataclass(frozen=True, slots=True)
class Reduction:
    """One reduction of a kernel: `op` of instruction `value`, elements of type `dtype`."""

    op: str  # sum, prod, max, min, any, all, argmax, argmin
    value: int
    dtype: str

    @property
    def types(self) -> list[str]:
        """Scalar types of the state's components."""
        kind = BY_NAME[self.dtype]
        first = "i8" if kind.kind == "b" else compute_type(kind)
        return [first, "i64"] if self.op.startswith("arg") else [first]

    @property
    def result_dtype(self) -> str:
        return "int64" if self.op.startswith("arg") else self.dtype

    def initial(self, b: Builder, lanes: int) -> list[V]:
        kind = BY_NAME[self.dtype]
        first = b.const(vector(self.types[0], lanes), _identity(self.op.removeprefix("arg"), kind))
        if not self.op.startswith("arg"):
            return [first]
        # No element yet: an index beyond all others, so that any element wins.
        return [first, b.const(vector("i64", lanes), -1)]

    def element(self, b: Builder, x: V, index: V | None) -> list[V]:
        """A single element as a state."""
        x = x.cast("zext", "i8") if BY_NAME[self.dtype].kind == "b" else x
        if self.op.startswith("arg"):
            assert index is not None
            return [x, index]
        return [x]

    def combine(self, b: Builder, a: list[V], c: list[V]) -> list[V]:
        """The state of everything in `a` followed by everything in `c`."""
        kind = BY_NAME[self.dtype]
        wide = BY_NAME["float32"] if kind.name in ("float16", "bfloat16") else kind
        if self.op in ("sum", "prod"):
            return [a[0] + c[0] if self.op == "sum" else a[0] * c[0]]
        if kind.kind == "b" and self.op in ("max", "min", "any", "all"):
            return [a[0] | c[0] if self.op in ("max", "any") else a[0] & c[0]]
        if self.op in ("max", "min"):
            return [apply(b, self.op + "imum", [a[0], c[0]], wide, wide)]
        return self._first_extreme(b, a, c, kind)

    def _first_extreme(self, b: Builder, a: list[V], c: list[V], kind: DType) -> list[V]:
        """argmax: the larger value wins, NaN above all, the smaller index among equals."""
        (x, i), (y, j) = a, c

        def both(p: V, q: V, op: str) -> V:
            return b.op(p.type, f"{op} {p.type} {p.ref}, {q.ref}")

        unsigned = kind.kind in "ub"
        name = {"argmax": "gt", "argmin": "lt"}[self.op]
        better = getattr(y, "u" + name if unsigned else name)(x)
        equal = y.eq(x)
        if kind.kind == "f":
            better = both(better, both(y.isnan(), ~x.isnan(), "and"), "or")
            better = both(better, ~both(x.isnan(), ~y.isnan(), "and"), "and")
            equal = both(equal, both(x.isnan(), y.isnan(), "and"), "or")
        # An empty state has index -1: as unsigned numbers, the smaller index is the real one.
        wins = both(better, both(equal, j.ult(i), "and"), "or")
        wins = both(both(wins, i.eq(-1), "or"), j.ne(-1), "and")
        return [b.select(wins, y, x), b.select(wins, j, i)]

    def finished(self, b: Builder, state: list[V]) -> V:
        """The result in its compute type (sums of 16-bit floats are rounded when stored)."""
        from fanal.backends.native.loops.convert import rounded

        if self.op.startswith("arg"):
            return state[1]
        kind = BY_NAME[self.dtype]
        if kind.kind == "b":
            return state[0].ne(0)
        return rounded(state[0], kind)


def _identity(op: str, kind: DType) -> bool | int | float:
    if op in ("sum", "any"):
        return 0
    if op in ("prod", "all"):
        return 1
    low = op == "max"
    if kind.kind == "f":
        return -math.inf if low else math.inf
    if kind.kind == "b":
        return 0 if low else 1
    if kind.kind == "u":
        return 0 if low else 2**kind.bits - 1
    return -(2 ** (kind.bits - 1)) if low else 2 ** (kind.bits - 1) - 1


class Accumulators:
    """Lane accumulators of one reduction in stack memory: `width` lanes × `columns` vectors.

    Lane l of column vector j lies at [l][j]. In row kernels (vectors along the reduced dimension)
    `columns` is 1 and a vector covers neighbouring lanes; in column kernels each lane has a whole
    vector of columns.
    """

    def __init__(self, b: Builder, reduction: Reduction, count: int):
        self.b, self.reduction, self.count = b, reduction, count
        self.memory = [b.alloca(t, count) for t in reduction.types]

    def address(self, component: int, at: V) -> V:
        return self.b.at(self.memory[component], at, self.reduction.types[component])

    def read(self, at: V, lanes: int) -> list[V]:
        types = self.reduction.types
        return [
            self.b.load(vector(t, lanes), self.address(c, at)) for c, t in enumerate(types)
        ]

    def write(self, at: V, state: list[V]) -> None:
        for c, x in enumerate(state):
            self.b.store(x, self.address(c, at))

    def clear(self, count: V | int, lanes: int) -> None:
        """Set the first `count` elements (a multiple of lanes) to the initial state."""
        initial = self.reduction.initial(self.b, lanes)
        with self.b.loop(0, count, lanes) as (at,):
            self.write(at, initial)


def fold_lanes(b: Builder, reduction: Reduction, state: list[V], lanes: int) -> list[V]:
    """Fold the lanes of one vector by halves."""
    half = lanes // 2
    while half > 1:
        upper = [b.shuffle(v, None, [half + i for i in range(half)]) for v in state]
        lower = [b.shuffle(v, None, list(range(half))) for v in state]
        state = reduction.combine(b, lower, upper)
        half //= 2
    if half == 1:
        state = reduction.combine(b, [v[0] for v in state], [v[1] for v in state])
    return state
