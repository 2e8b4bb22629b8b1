"""What is emitted once and met again: the same entry of a schedule over other memory.

The layers of a deep network, and the updates of its parameters, give entries that differ in nothing but
which memory they name. An entry's *form* says all that its phases depend on: expressions, extents and
strides, with buffers by the order in which it names them and offsets from the first that it names in a
buffer (of memory, emission only asks whether two places are the same). Phases of a known form are not
made anew, only written down for other memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fanal.backends.native.loops.expression import (
    Const,
    Expression,
    Gather,
    Load,
    Op,
    Ramp,
    Random,
)
from fanal.backends.native.lower.epilogues import ContractionEntry
from fanal.backends.native.lower.groups import ElementEntry, OpaqueEntry, Scheduled, StageEntry
from fanal.backends.native.program import Access, Kernel, Phase, ProgramBuilder
from fanal.core.cache import BoundedCache
from fanal.graph.ir import Node


@dataclass(frozen=True, slots=True)
class _Repeated:
    """A phase whose buffers are numbers of its entry's form, `offsets` from the first place in each."""

    kernel: Kernel
    buffers: tuple[int, ...]
    offsets: tuple[int, ...]
    words: list[int]
    tasks: int
    writes: tuple[int, ...] | None
    alone: bool
    changes: tuple[int, ...] | None
    nbytes: int


@dataclass(frozen=True, slots=True)
class _Emitted:
    """The phases of a form, and the bytes of the temporaries that they bring along."""

    phases: tuple[_Repeated, ...]
    temps: tuple[int, ...]


_known: BoundedCache = BoundedCache(4096)


class Form:
    """The form of an entry. `buffers` are those that it names, in order, `bases` the first offset in each,
    `nodes` the nodes of the graph that its expressions are made of; `key` is None where phases depend on
    more than is known here."""

    __slots__ = ("_numbers", "_own", "_parts", "_real", "_seen", "bases", "key", "nodes")

    def __init__(self, entry: Scheduled, real: dict[int, Access]):
        self._numbers: dict[int, int] = {}
        self.bases: list[int] = []
        self._real = real
        self._own: set[int] = set()  # virtual buffers that are values of the entry's rows
        self._seen: dict[int, int] = {}
        self._parts: list[Any] = []
        self.nodes: dict[Node, None] = dict.fromkeys(entry.nodes)
        said = self._said(entry)
        self.key: tuple[Any, ...] | None = None if said is None else (*said, *self._parts)

    @property
    def buffers(self) -> list[int]:
        return list(self._numbers)

    def _said(self, entry: Scheduled) -> tuple[Any, ...] | None:
        if isinstance(entry, ElementEntry):
            stores = [(self._value(s.expression), self._place(s.to)) for s in entry.stores]
            return "elements", *stores
        if isinstance(entry, StageEntry):
            self._own = entry.own
            parts: list[Any] = ["rows", entry.shape, entry.dims]
            for r in entry.reductions:
                to = self._real.get(r.result)
                where = None if to is None else self._place(to)
                parts.append((r.op, self._value(r.expression), self._place(r.to), where))
            parts += [(self._value(s.expression), self._place(s.to), s.per_row) for s in entry.stores]
            return tuple(parts)
        assert isinstance(entry, OpaqueEntry)
        if entry.form is None:
            if isinstance(entry, ContractionEntry) and entry.expression is not None:
                self._value(entry.expression)  # for its nodes
            return None
        parts = [entry.form, *map(self._place, entry.accesses)]
        if isinstance(entry, ContractionEntry):
            assert entry.out is not None
            parts.append(self._place(entry.out))
            if entry.expression is not None and entry.result is not None:
                parts += [self._value(entry.expression), self._place(entry.result)]
        return tuple(parts)

    def _place(self, a: Access) -> tuple[Any, ...]:
        buffer, offset = a.buffer, a.offset
        to = self._real.get(buffer)
        if to is not None and buffer not in self._own:
            buffer, offset = to.buffer, offset + to.offset
        number = self._numbers.get(buffer)
        if number is None:
            number = self._numbers[buffer] = len(self.bases)
            self.bases.append(offset)
        return number, a.dtype.name, a.shape, a.strides, offset - self.bases[number]

    def _value(self, e: Expression) -> int:
        """The number of an expression among the parts; what it is made of stands there, too."""
        found = self._seen.get(id(e))
        if found is not None:
            return found
        part: tuple[Any, ...]
        if type(e) is Op:
            args = [self._value(x) for x in e.args]
            part = (e.name, e.dtype.name, e.operand.name, *args)
            if e.source is not None:
                self.nodes[e.source] = None
        elif type(e) is Load:
            part = ("load", e.scalar, *self._place(e.access))
        elif type(e) is Const:
            value = e.value.hex() if isinstance(e.value, float) else e.value
            part = ("const", e.dtype.name, type(e.value), value)
        elif type(e) is Ramp:
            part = ("ramp", e.dtype.name, e.strides, e.start)
        elif type(e) is Random:
            part = ("random", e.dtype.name, e.shape, self._place(e.key), self._value(e.position))
            if e.source is not None:
                self.nodes[e.source] = None
        elif type(e) is Gather:
            indices = tuple([self._value(x) for x in e.indices])
            part = (
                "gather", e.dtype.name, e.shape, self._place(e.table), e.strides, e.offset, indices,
                e.extents, e.steps,
            )  # fmt: skip
            if e.source is not None:
                self.nodes[e.source] = None
        else:
            raise TypeError(type(e))
        number = self._seen[id(e)] = len(self._parts)
        self._parts.append(part)
        return number


def emit(entry: Scheduled, form: Form, p: ProgramBuilder, real: dict[int, Access]) -> None:
    """Append the phases of an entry."""
    if form.key is None or p.flow is not None:  # what stands in loops depends on what is around it
        entry.emit(p, real)
        return
    buffers = form.buffers
    key = (p.target, form.key, *[b in p.steady for b in buffers])
    known = _known.get(key)
    if known is not None:
        _repeat(known, buffers, form.bases, p)
        return
    phases, temps = len(p.phases), len(p.temps)
    entry.emit(p, real)
    _known[key] = _emitted(p.phases[phases:], buffers, form.bases, p.arguments + temps, p)


def _emitted(
    phases: Sequence[Phase], buffers: Sequence[int], bases: Sequence[int], first: int, p: ProgramBuilder
) -> _Emitted:
    """Phases as those of a form; temporaries from number `first` on are their own."""
    own = range(first, p.arguments + len(p.temps))
    numbers = {b: i for i, b in enumerate((*buffers, *own))}
    bases = [*bases, *[0 for _ in own]]

    def repeated(phase: Phase) -> _Repeated:
        count = 2 * len(phase.buffers)
        named = tuple([numbers[b] for b in phase.buffers])
        offsets = zip(named, phase.descriptor[1:count:2], strict=True)
        return _Repeated(
            phase.kernel, named, tuple([offset - bases[i] for i, offset in offsets]),
            phase.descriptor[count:], phase.tasks,
            None if phase.writes is None else tuple([numbers[b] for b in phase.writes]), phase.alone,
            None if phase.changes is None else tuple([numbers[b] for b in phase.changes]), phase.nbytes,
        )  # fmt: skip

    temps = tuple([p.temps[b - p.arguments].nbytes for b in own])
    return _Emitted(tuple([repeated(phase) for phase in phases]), temps)


def _repeat(
    known: _Emitted, buffers: Sequence[int], bases: Sequence[int], p: ProgramBuilder
) -> None:
    """Append known phases for other memory."""
    buffers = [*buffers, *[p.temp(nbytes) for nbytes in known.temps]]
    bases = [*bases, *[0 for _ in known.temps]]
    for x in known.phases:
        named = [buffers[i] for i in x.buffers]
        descriptor: list[int] = []
        for i, offset in zip(x.buffers, x.offsets, strict=True):
            descriptor += (buffers[i], offset + bases[i])
        descriptor += x.words
        p.append(
            Phase(
                x.kernel, descriptor, x.tasks, tuple(named),
                None if x.writes is None else frozenset([buffers[i] for i in x.writes]), x.alone,
                None if x.changes is None else frozenset([buffers[i] for i in x.changes]), p.unit,
                x.nbytes, p.commits,
            )
        )  # fmt: skip
