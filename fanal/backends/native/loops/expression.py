"""What a loop kernel computes at one point: trees of operations over affine loads.

An expression has a dtype and a shape and stands for a value that need not exist in memory. Its
leaves are affine in the index (`Load`, `Ramp`) or constant, so a view of an expression (permute,
expand, slice, flip, most reshapes) is the same expression over other strides: views cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fanal.backends.native.loops.views import View
from fanal.backends.native.program import Access
from fanal.core.dtypes import DType

if TYPE_CHECKING:
    from fanal.graph.ir import Node

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Expression:
    dtype: DType
    shape: Shape


@dataclass(frozen=True, eq=False, slots=True)
class Load(Expression):
    """An element of a buffer. `scalar`: the buffer's slot holds the value's 64 bits itself."""

    access: Access
    scalar: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Const(Expression):
    value: bool | int | float


@dataclass(frozen=True, eq=False, slots=True)
class Ramp(Expression):
    """start + Σ stride·index, an integer."""

    strides: Shape
    start: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Op(Expression):
    """An elementwise primitive of expressions of the same shape; `operand` is their dtype. `source`
    here and below: the node that it is, if it is one."""

    name: str
    args: tuple[Expression, ...]
    operand: DType
    source: Node | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Random(Expression):
    """Random bits at a linear position; `key` loads the seed and stream."""

    key: Access
    position: Ramp
    source: Node | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Gather(Expression):
    """table[..., index_k, ...]: `strides` are the table's over this expression's own dimensions
    (the part that isn't indexed); each index comes with the table's extent and stride there."""

    table: Access
    strides: Shape
    offset: int
    indices: tuple[Expression, ...]
    extents: tuple[int, ...]
    steps: tuple[int, ...]
    source: Node | None = None


class CannotView(Exception):
    """A leaf's strides can't express the view; carries the leaf."""

    def __init__(self, leaf: Expression):
        self.leaf = leaf
        super().__init__()


def children(e: Expression) -> tuple[Expression, ...]:
    """The expressions that this one is computed from."""
    if isinstance(e, Op):
        return e.args
    if isinstance(e, Gather):
        return e.indices
    return (e.position,) if isinstance(e, Random) else ()


def viewed(e: Expression, shape: Shape, view: View, memo: dict[int, Expression]) -> Expression:
    """The expression seen through a view; raises CannotView where a leaf forbids it."""
    found = memo.get(id(e))
    if found is not None:
        return found
    result: Expression
    if isinstance(e, Const):
        result = replace(e, shape=shape)
    elif isinstance(e, Load):
        moved = view(e.shape, e.access.strides)
        if moved is None:
            raise CannotView(e)
        offset = e.access.offset + moved[1] * e.dtype.itemsize
        access = replace(e.access, shape=shape, strides=moved[0], offset=offset)
        result = replace(e, shape=shape, access=access)
    elif isinstance(e, Ramp):
        moved = view(e.shape, e.strides)
        if moved is None:
            raise CannotView(e)
        result = replace(e, shape=shape, strides=moved[0], start=e.start + moved[1])
    elif isinstance(e, Op):
        args = tuple(viewed(a, shape, view, memo) for a in e.args)
        result = replace(e, shape=shape, args=args)
    elif isinstance(e, Random):
        position = viewed(e.position, shape, view, memo)
        assert isinstance(position, Ramp)
        result = replace(e, shape=shape, position=position)
    elif isinstance(e, Gather):
        moved = view(e.shape, e.strides)
        if moved is None:
            raise CannotView(e)
        indices = tuple(viewed(i, shape, view, memo) for i in e.indices)
        offset = e.offset + moved[1]
        result = replace(e, shape=shape, strides=moved[0], offset=offset, indices=indices)
    else:
        raise TypeError(type(e))
    memo[id(e)] = result
    return result


def leaves(e: Expression, seen: set[int] | None = None) -> list[Expression]:
    """All leaves, each once, in a fixed order."""
    seen = set() if seen is None else seen
    if id(e) in seen:
        return []
    seen.add(id(e))
    found: list[Expression] = []
    inner = children(e)
    if not inner or isinstance(e, Gather | Random):
        found.append(e)
    for child in inner:
        found += leaves(child, seen)
    return found
