"""Elementwise work on the result of a contraction, done where its sums are finished.

A bias, an activation, a folded normalisation, a residual: what reads a contraction's result element by
element, and is the only one to read it, is computed while a tile's sums still lie in the first cache. The
result itself then never exists. Every operation is the one that a pass of its own would make, on the
same numbers, so no bit changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fanal.backends.native.contract import Epilogue
from fanal.backends.native.emit import Builder, V
from fanal.backends.native.loops.evaluate import Position, evaluate
from fanal.backends.native.loops.expression import (
    CannotView,
    Const,
    Expression,
    Load,
    Op,
    buffers_of,
    leaves,
    viewed,
)
from fanal.backends.native.loops.structure import Program
from fanal.backends.native.loops.views import reshape_view
from fanal.backends.native.lower.groups import (
    ElementEntry,
    OpaqueEntry,
    Scheduled,
    real_access,
    resolved,
    taken_strides,
)
from fanal.backends.native.program import Access, ProgramBuilder
from fanal.core.dtypes import DType, bool_, float32

# Operands of an epilogue at most: each has an address of its own in the kernel.
MANY_EXTRAS = 6


@dataclass(slots=True)
class ContractionEntry(OpaqueEntry):
    """A contraction that may take an epilogue: `accesses` are its factors, `run` is `lower(program, *operands, out, epilogue)`."""

    out: Access | None = None
    lower: Callable[..., None] | None = None
    expression: Expression | None = None  # of the epilogue, over the shape of `out`
    result: Access | None = None  # where `out` would lie if there were no epilogue

    def emit(self, p: ProgramBuilder, real: dict[int, Access]) -> None:
        assert self.lower is not None and self.out is not None
        operands = [real_access(a, real) for a in self.accesses]
        epilogue = None
        if self.expression is not None and self.result is not None:
            epilogue = _epilogue(resolved(self.expression, real), self.result)
        self.lower(p, *operands, real_access(self.out, real), epilogue)


def take_epilogues(
    entries: Sequence[Scheduled], temporary: Callable[[int], bool]
) -> list[Scheduled]:
    """The schedule with elementwise stores moved into the contractions whose results they read."""
    readers: dict[int, list[int]] = {}
    writers: dict[int, int] = {}
    for i, entry in enumerate(entries):
        for buffer in entry.reads:
            readers.setdefault(buffer, []).append(i)
        for buffer in entry.writes:
            writers[buffer] = writers.get(buffer, 0) + 1
    result: list[Scheduled | None] = list(entries)
    for i, entry in enumerate(entries):
        if not isinstance(entry, ContractionEntry) or entry.out is None:
            continue
        buffer = entry.out.buffer
        found = readers.get(buffer, [])
        if len(found) != 1 or writers[buffer] != 1 or not temporary(buffer):
            continue
        reader = result[found[0]]
        if not isinstance(reader, ElementEntry) or len(reader.stores) > 1:
            continue
        # The contraction moves to where its result is read: its operands must still be there.
        between = entries[i + 1 : found[0]]
        if not any(x.writes & entry.reads for x in between) and _take(entry, reader):
            result[i], result[found[0]] = None, entry
    return [e for e in result if e is not None]


def _take(entry: ContractionEntry, reader: ElementEntry) -> bool:
    """Make the store that reads a contraction's result its epilogue, if that can be."""
    assert entry.out is not None
    buffer = entry.out.buffer
    (store,) = reader.stores
    shape = entry.out.shape
    try:
        e = viewed(store.expression, shape, reshape_view(shape), {})
    except CannotView:
        return False
    strides = reshape_view(shape)(store.to.shape, store.to.strides)
    if strides is None or strides[1]:
        return False
    to = replace(store.to, shape=shape, strides=strides[0])
    reads = buffers_of(e) - {buffer}
    if not _fits(e, entry.out) or not _apart(e, to) or to.buffer in entry.reads:
        return False
    entry.expression, entry.result, entry.out = e, entry.out, to
    entry.reads |= reads
    entry.writes = {to.buffer}
    entry.commits = reader.commits
    return True


def _fits(e: Expression, result: Access) -> bool:
    """Whether an expression can be computed on a vector of finished sums."""
    wanted = taken_strides(result)
    extras = set()
    for leaf in leaves(e):
        if isinstance(leaf, Const):
            continue
        if not isinstance(leaf, Load) or leaf.scalar or leaf.dtype is not float32:
            return False
        if leaf.access.buffer != result.buffer:
            extras.add((leaf.access.buffer, leaf.access.offset, leaf.access.strides))
        elif taken_strides(leaf.access) != wanted or leaf.access.offset != result.offset:
            return False
    return len(extras) <= MANY_EXTRAS and e.dtype is float32 and _are_simple(e)


def _are_simple(e: Expression) -> bool:
    """Whether all operations are on floats or truth values."""
    simple: tuple[DType, ...] = (float32, bool_)
    stack, seen = [e], set()
    while stack:
        x = stack.pop()
        if id(x) in seen:
            continue
        seen.add(id(x))
        if x.dtype not in simple:
            return False
        if isinstance(x, Op):
            if x.operand not in simple:
                return False
            stack += x.args
    return True


def _apart(e: Expression, to: Access) -> bool:
    """Whether what is read of the target's memory is read at the very place that is written."""
    return all(
        leaf.access == to
        for leaf in leaves(e)
        if isinstance(leaf, Load) and leaf.access.buffer == to.buffer
    )


def _epilogue(e: Expression, result: Access) -> Epilogue:
    """An expression as the contraction engine takes it."""
    program = Program()
    value = program.add(e, {}, {})
    sums: list[int] = []
    extras: list[tuple[int, Access]] = []
    for number, instruction in enumerate(program.instructions):
        if instruction[0] != "load":
            continue
        walk = program.walks[instruction[1]]
        assert walk.access is not None
        if walk.access.buffer == result.buffer:
            sums.append(number)
        else:
            extras.append(
                (number, replace(walk.access, shape=e.shape, strides=tuple(walk.strides)))
            )

    def emit(b: Builder, acc: V, loaded: list[V], words: Sequence[V] = ()) -> V:
        known = dict.fromkeys(sums, acc)
        known |= {number: x for (number, _), x in zip(extras, loaded, strict=True)}
        position = Position({}, {}, [], {}, list(words))
        return evaluate(b, program.instructions, [value], position, known, None, acc.lanes)[value]

    key = f"{program.instructions} {sums}"
    return Epilogue(key, tuple(access for _, access in extras), emit, tuple(program.words))
