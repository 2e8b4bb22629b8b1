"""`after`: what is computed from it comes late, though it is only another name of what lies in memory.

In the schedule of a whole program the value has a buffer number of its own, *written* by an entry that has
no phases and that reads what the value waits for. So nothing that reads it can be computed, or join
something that is computed, before that entry, and nothing is taken for what was computed from the operand
itself. When the schedule is complete, its order says all of this; then the names are the operand's.
"""

from __future__ import annotations

from dataclasses import replace

from fanal.backends.native.loops.elementwise import Store
from fanal.backends.native.loops.expression import Load, buffers_of
from fanal.backends.native.loops.rows import RowReduction, RowStore
from fanal.backends.native.lower.groups import (
    ElementEntry,
    OpaqueEntry,
    Scheduled,
    StageEntry,
    real_access,
    resolved,
)
from fanal.backends.native.lower.lowering import Lowering, rule
from fanal.backends.native.program import Access
from fanal.graph.ir import Node


@rule("after")
def _after(low: Lowering, node: Node) -> None:
    x, *others = node.inputs
    out = node.outputs[0]
    e = low.values[x]
    if not low.waits or not isinstance(e, Load) or e.scalar:
        low.values[out] = e
        return
    access = e.access
    number = low.named(access)
    reads = {access.buffer}.union(*(buffers_of(low.values[v]) for v in others))
    low.schedule.append(BarrierEntry(reads, {number}))
    low.values[out] = Load(out.dtype, out.shape, replace(access, buffer=number, offset=0))


class BarrierEntry(OpaqueEntry):
    """Where values that wait for others begin to be there."""


def without_barriers(entries: list[Scheduled], names: dict[int, Access]) -> list[Scheduled]:
    """A complete schedule in which memory has its own name."""
    if not names:
        return entries
    left: list[Scheduled] = []
    for entry in entries:
        if isinstance(entry, BarrierEntry):
            continue
        if not entry.reads.isdisjoint(names):
            entry.reads = {names[b].buffer if b in names else b for b in entry.reads}
            _name_anew(entry, names)
        left.append(entry)
    return left


def _name_anew(entry: Scheduled, names: dict[int, Access]) -> None:
    if isinstance(entry, ElementEntry):
        entry.stores = [Store(resolved(s.expression, names), s.to) for s in entry.stores]
    elif isinstance(entry, StageEntry):
        entry.reductions = [
            RowReduction(r.op, resolved(r.expression, names), r.to) for r in entry.reductions
        ]
        entry.stores = [RowStore(resolved(s.expression, names), s.to, s.per_row) for s in entry.stores]
    else:
        entry.accesses = tuple([real_access(a, names) for a in entry.accesses])
