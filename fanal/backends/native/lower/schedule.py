"""The schedule: what is computed together, in which order.

A new piece joins the latest entry that it may join without overtaking something that it depends on. The
entries that come into question are found by what they touch and by their shapes, not by looking at all:
a deep network has thousands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fanal.backends.native.emit.value import bits_of
from fanal.backends.native.loops.convert import compute_type
from fanal.backends.native.loops.elementwise import Store
from fanal.backends.native.loops.expression import Expression, buffers_of
from fanal.backends.native.loops.rows import CannotMerge, RowReduction
from fanal.backends.native.lower.groups import (
    ElementEntry,
    Scheduled,
    Shape,
    StageEntry,
    are_apart,
    check_merge,
)
from fanal.backends.native.program import Access

# Parts of one memory that are computed together at most.
MANY_PARTS = 8


class Schedule:
    """Collects entries, in order."""

    def __init__(self, related: bool = False) -> None:
        self.entries: list[Scheduled] = []
        # Whether only what has memory in common is computed together (in large programs, where
        # kernels that depend on what happens to stand beside them would be many).
        self.related = related
        self._readers: dict[int, int] = {}  # by buffer, the number of the last entry that reads it
        self._writers: dict[int, int] = {}
        self._alike: dict[Any, list[int]] = {}  # by shape (and reduced dimensions), in order

    def append(self, entry: Scheduled) -> None:
        """One more entry at the end."""
        number = len(self.entries)
        self.entries.append(entry)
        self._touched(number, entry.reads, entry.writes)
        if isinstance(entry, ElementEntry):
            self._alike.setdefault(entry.stores[0].to.shape, []).append(number)
        elif isinstance(entry, StageEntry):
            self._alike.setdefault((entry.shape, entry.dims), []).append(number)

    def _touched(self, number: int, reads: set[int] | frozenset[int], writes: set[int]) -> None:
        for buffer in reads:
            self._readers[buffer] = max(self._readers.get(buffer, -1), number)
        for buffer in writes:
            self._writers[buffer] = max(self._writers.get(buffer, -1), number)

    def _last_conflict(self, reads: frozenset[int], writes: set[int]) -> int:
        """The number of the last entry that something with these accesses must stay after; or -1."""
        before = [self._writers.get(b, -1) for b in (*reads, *writes)]
        return max(before + [self._readers.get(b, -1) for b in writes], default=-1)

    def _since(self, first: int, key: Any) -> Iterator[tuple[int, Scheduled]]:
        """Entries of a shape from number `first` on, the latest first."""
        for number in reversed(self._alike.get(key, ())):
            if number < first:
                return
            yield number, self.entries[number]

    def store(self, e: Expression, to: Access) -> None:
        """Compute an expression into memory."""
        reads, writes = buffers_of(e), {to.buffer}
        last = self._last_conflict(reads, writes)
        for number, like in self._since(last, to.shape):
            if isinstance(like, ElementEntry) and self._joins(like, e, to):
                self._touched(number, like.reads, writes)
                return
        entry = self.entries[last] if last >= 0 else None
        if isinstance(entry, StageEntry) and not reads.isdisjoint(entry.writes):
            member = entry.admit(e, to)
            if member is not None:
                entry.stores.append(member)
                entry.reads |= buffers_of(member.expression) - entry.own
                entry.writes |= writes
                self._touched(last, entry.reads, writes)
                return
        self.append(ElementEntry(set(reads), writes, [Store(e, to)]))

    def _joins(self, entry: ElementEntry, e: Expression, to: Access) -> bool:
        """Add a store to an elementwise entry, if it fits."""
        if entry.stores[0].to.shape != to.shape or to.buffer in entry.reads:
            return False
        beside = to.buffer in entry.writes  # another part of the same memory
        own = entry.forwarded(e)
        if own is None:
            return False
        reads = buffers_of(own)
        if (self.related or beside) and own is e and not reads & entry.reads:
            return False
        same = [s.to for s in entry.stores if s.to.buffer == to.buffer]
        if len(same) >= MANY_PARTS or not all(are_apart(s, to) for s in same):
            return False
        entry.stores.append(Store(own, to))
        entry.reads |= reads
        entry.writes.add(to.buffer)
        return True

    def reduce(self, op: str, e: Expression, dims: Shape, to: Access) -> None:
        """Reduce an expression into a virtual buffer."""
        reads, writes = buffers_of(e), {to.buffer}
        width = bits_of(compute_type(e.dtype))
        for number, entry in self._since(self._last_conflict(reads, writes), (e.shape, dims)):
            assert isinstance(entry, StageEntry)
            own = entry.forwarded(e)
            if own is not None and self._fits(entry, own, dims, width, buffers_of(own)):
                entry.reductions.append(RowReduction(op, own, to))
                entry.reads |= buffers_of(own) - entry.own
                entry.writes |= writes
                self._touched(number, entry.reads, writes)
                return
        member = RowReduction(op, e, to)
        self.append(StageEntry(set(reads), writes, e.shape, dims, width, [member]))

    def _fits(
        self, entry: StageEntry, e: Expression, dims: Shape, width: int, reads: frozenset[int]
    ) -> bool:
        same = (entry.shape, entry.dims, entry.width) == (e.shape, dims, width)
        if not same or not entry.is_local(e):
            return False
        try:
            check_merge(e.shape, dims, [r.expression for r in entry.reductions] + [e])
        except CannotMerge:
            return False
        return bool(reads & (entry.own | entry.reads))

    def drop_unread(self, wanted: set[int]) -> None:
        """Leave out what is stored and never read, as its readers compute it themselves. `wanted` are
        the buffers that are read from outside. Nothing is added to the schedule after that."""
        left: list[Scheduled] = []
        read = set(wanted)
        for entry in reversed(self.entries):
            if isinstance(entry, ElementEntry | StageEntry):
                _leave_out(entry, read)
                empty = not entry.stores and not (isinstance(entry, StageEntry) and entry.reductions)
                if empty:
                    continue
            read |= entry.reads
            left.append(entry)
        self.entries = left[::-1]

    def needed(self, virtual: set[int]) -> set[int]:
        """Virtual buffers that some other entry than their own group reads."""
        return {
            n
            for entry in self.entries
            for n in entry.reads & virtual
            if not (isinstance(entry, StageEntry) and n in entry.own)
        }


def _leave_out(entry: ElementEntry | StageEntry, read: set[int]) -> None:
    """Forget an entry's stores to memory that nobody reads."""
    kept: list[Any] = [s for s in entry.stores if s.to.buffer in read]
    if len(kept) == len(entry.stores):
        return
    gone = {s.to.buffer for s in entry.stores} - {s.to.buffer for s in kept}
    entry.writes -= gone
    entry.stores = kept
    if isinstance(entry, ElementEntry):
        entry.reads = set().union(*(buffers_of(s.expression) for s in entry.stores))
