"""A program's table as plain numbers: all of it but addresses, so that it can be kept on disk.

A kernel is named by its key; the code lies beside it under the kernel's own name. A table that was
read is looked at as a whole before anything is made of it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import chain

from fanal.backends.native.arena import lower_bound, plan_arena
from fanal.backends.native.program import ProgramBuilder
from fanal.backends.native.runtime.layout import CONTROL_TASKS


@dataclass(frozen=True, slots=True)
class Table:
    """What is launched: `kernels` are distinct keys, an entry is a kernel's number and its tasks, and
    `words` holds the entries' descriptors one behind the other, `lengths` words each."""

    arguments: int
    offsets: list[int]
    arena_bytes: int
    arena_bound: int
    flags: int
    kernels: list[str]
    entries: list[int]
    tasks: list[int]
    lengths: list[int]
    words: list[int]

    def text(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()


def table_of(builder: ProgramBuilder, flags: int) -> Table:
    """The table of a finished program, its arena planned."""
    arena = plan_arena(builder.temps)
    phases = builder.phases
    numbers: dict[str, int] = {}
    entries = [numbers.setdefault(p.kernel.key, len(numbers)) for p in phases]
    return Table(
        builder.arguments, arena.offsets, arena.nbytes, lower_bound(builder.temps), flags,
        list(numbers), entries, [p.tasks for p in phases], [len(p.descriptor) for p in phases],
        [_signed(w) for w in chain.from_iterable(p.descriptor for p in phases)],
    )  # fmt: skip


def read_table(data: bytes) -> Table | None:
    """A table from its text; None where it is none."""
    try:
        found = Table(**json.loads(data))
        lists = (found.offsets, found.entries, found.tasks, found.lengths, found.words)
        whole = all(type(n) is int for n in chain(*lists)) and all(
            type(key) is str for key in found.kernels
        )
        count = len(found.entries)
        same = len(found.tasks) == len(found.lengths) == count
        inside = all(0 <= n < len(found.kernels) for n in found.entries)
        lies = all(0 <= at <= found.arena_bytes for at in found.offsets)
        real = all(n >= CONTROL_TASKS for n in found.tasks) and min(found.lengths, default=0) >= 0
        fits = sum(found.lengths) == len(found.words) and found.arguments >= 0
    except (ValueError, TypeError):
        return None
    return found if whole and same and inside and lies and real and fits else None


def _signed(word: int) -> int:
    word &= (1 << 64) - 1
    return word - (1 << 64) if word >> 63 else word
