"""What a loop kernel computes at one point: trees of operations over affine loads.

An expression has a dtype and a shape and stands for a value that need not exist in memory. Its
leaves are affine in the index (`Load`, `Ramp`) or constant, so a view of an expression (permute,
expand, slice, flip, most reshapes) is the same expression over other strides: views cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fanal.backends.native.loops.views import View
from fanal.backends.native.program import DIVISIONS, Access
from fanal.core.dtypes import DType

if TYPE_CHECKING:
    from fanal.graph.ir import Node

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Expression:
    dtype: DType
    shape: Shape
    # Remembered by the functions below, which are asked for the same again and again.
    _leaves: tuple[Expression, ...] | None = field(default=None, init=False, repr=False)
    _buffers: frozenset[int] | None = field(default=None, init=False, repr=False)
    _fails: bool | None = field(default=None, init=False, repr=False)


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
        result = Const(e.dtype, shape, e.value)
    elif isinstance(e, Load):
        moved = view(e.shape, e.access.strides)
        if moved is None:
            raise CannotView(e)
        a = e.access
        offset = a.offset + moved[1] * e.dtype.itemsize
        access = Access(a.buffer, a.dtype, shape, moved[0], offset)
        result = Load(e.dtype, shape, access, e.scalar)
    elif isinstance(e, Ramp):
        moved = view(e.shape, e.strides)
        if moved is None:
            raise CannotView(e)
        result = Ramp(e.dtype, shape, moved[0], e.start + moved[1])
    elif isinstance(e, Op):
        args = tuple([viewed(a, shape, view, memo) for a in e.args])
        result = Op(e.dtype, shape, e.name, args, e.operand, e.source)
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


def leaves(e: Expression) -> tuple[Expression, ...]:
    """All leaves, each once, in a fixed order."""
    found = e._leaves
    if found is None:
        if isinstance(e, Op):
            found = leaves(e.args[0]) if len(e.args) == 1 else _each_once(map(leaves, e.args))
        else:
            found = _each_once([(e,), *map(leaves, children(e))])
        _remember(e, "_leaves", found)
    return found


_remember = object.__setattr__


def _each_once(parts: Iterable[tuple[Expression, ...]]) -> tuple[Expression, ...]:
    return tuple({id(leaf): leaf for part in parts for leaf in part}.values())


def buffers_of(e: Expression) -> frozenset[int]:
    """Numbers of the buffers that an expression reads."""
    found = e._buffers
    if found is None:
        if isinstance(e, Op):
            found = buffers_of(e.args[0])
            for x in e.args[1:]:
                more = buffers_of(x)
                found = found if more <= found else found | more
        elif isinstance(e, Load):
            found = frozenset((e.access.buffer,))
        elif isinstance(e, Gather):
            found = frozenset((e.table.buffer,)).union(*map(buffers_of, e.indices))
        else:
            found = frozenset((e.key.buffer,) if isinstance(e, Random) else ())
        _remember(e, "_buffers", found)
    return found


def may_fail(e: Expression) -> bool:
    """Whether computing an expression can end with a status: a wrong index, a division by zero."""
    found = e._fails
    if found is None:
        divides = isinstance(e, Op) and e.name in DIVISIONS and e.dtype.kind != "f"
        found = divides or isinstance(e, Gather) or any(map(may_fail, children(e)))
        _remember(e, "_fails", found)
    return found
