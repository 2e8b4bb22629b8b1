"""A program as plain numbers: all of it but addresses, so that it can be kept on disk.

A kernel is named by its key; the code lies beside it under the kernel's own name. What was read is
looked at as a whole before anything is made of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any

from fanal.backends.native.arena import lower_bound, plan_arena
from fanal.backends.native.program import Phase, ProgramBuilder, Temp
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


@dataclass(frozen=True, slots=True)
class Tables:
    """A program, and the one that fills the `kept_bytes` which it keeps between calls, if any."""

    main: Table
    early: Table | None = None
    kept_bytes: int = 0

    def text(self) -> bytes:
        """As JSON."""
        record = {
            "main": _record(self.main), "early": None if self.early is None else _record(self.early),
            "kept_bytes": self.kept_bytes,
        }  # fmt: skip
        return json.dumps(record, separators=(",", ":")).encode()


def _record(table: Table) -> dict[str, Any]:
    return {f.name: getattr(table, f.name) for f in fields(Table)}


def table_of(builder: ProgramBuilder, phases: Sequence[Phase], flags: int) -> Table:
    """The table of some of a finished program's phases, its arena planned."""
    used = {b for phase in phases for b in phase.buffers}
    temps = [
        t if builder.arguments + i in used else Temp(0) for i, t in enumerate(builder.temps)
    ]
    arena = plan_arena(temps)
    numbers: dict[str, int] = {}
    entries = [numbers.setdefault(p.kernel.key, len(numbers)) for p in phases]
    return Table(
        builder.arguments, arena.offsets, arena.nbytes, lower_bound(temps), flags, list(numbers),
        entries, [p.tasks for p in phases], [len(p.descriptor) for p in phases],
        [_signed(w) for w in chain.from_iterable(p.descriptor for p in phases)],
    )  # fmt: skip


def read_tables(data: bytes) -> Tables | None:
    """A program from its text; None where it is none."""
    try:
        found = json.loads(data)
        early = found["early"]
        main, early = _read(found["main"]), early and _read(early)
        kept = found["kept_bytes"]
        if len(found) != 3 or type(kept) is not int or kept < 0:
            return None
    except (ValueError, TypeError, KeyError):
        return None
    return Tables(main, early, kept)


def _read(record: dict[str, Any]) -> Table:
    """One table; raises ValueError or TypeError where it can't be one."""
    found = Table(**record)
    lists = (found.offsets, found.entries, found.tasks, found.lengths, found.words)
    count = len(found.entries)
    good = (
        all(type(n) is int for n in chain(*lists))
        and all(type(key) is str for key in found.kernels)
        and len(found.tasks) == len(found.lengths) == count
        and all(0 <= n < len(found.kernels) for n in found.entries)
        and all(0 <= at <= found.arena_bytes for at in found.offsets)
        and all(n >= CONTROL_TASKS for n in found.tasks)
        and min(found.lengths, default=0) >= 0
        and sum(found.lengths) == len(found.words)
        and found.arguments >= 0
    )
    if not good:
        raise ValueError("no table")
    return found


def _signed(word: int) -> int:
    word &= (1 << 64) - 1
    return word - (1 << 64) if word >> 63 else word
