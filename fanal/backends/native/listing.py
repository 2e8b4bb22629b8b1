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

from fanal.backends.native.arena import Arena, lower_bound
from fanal.backends.native.program import Phase, Temp, signed
from fanal.backends.native.runtime.layout import CONTROL_TASKS


@dataclass(frozen=True, slots=True)
class Listing:
    """What is launched: `kernels` are distinct keys, an entry is a kernel's number, its tasks and
    whether they are light (1: one thread runs them); `words` holds the entries' descriptors one behind
    the other, `lengths` words each."""

    arguments: int
    offsets: list[int]
    arena_bytes: int
    arena_bound: int
    flags: int
    commit: int  # the number of the first entry that writes to memory the caller keeps, from 1 on; or 0
    kernels: list[str]
    entries: list[int]
    tasks: list[int]
    light: list[int]
    lengths: list[int]
    words: list[int]


@dataclass(frozen=True, slots=True)
class Listings:
    """A program, and the one that fills the `kept_bytes` which it keeps between calls, if any."""

    main: Listing
    early: Listing | None = None
    kept_bytes: int = 0

    def text(self) -> bytes:
        """As JSON."""
        record = {
            "main": _record(self.main), "early": None if self.early is None else _record(self.early),
            "kept_bytes": self.kept_bytes,
        }  # fmt: skip
        return json.dumps(record, separators=(",", ":")).encode()


def _record(table: Listing) -> dict[str, Any]:
    return {f.name: getattr(table, f.name) for f in fields(Listing)}


def listing_of(
    arguments: int, phases: Sequence[Phase], temps: Sequence[Temp], arena: Arena, flags: int
) -> Listing:
    """The listing of a program's phases."""
    numbers: dict[str, int] = {}
    entries = [numbers.setdefault(p.kernel.key, len(numbers)) for p in phases]
    commit = next((i + 1 for i, p in enumerate(phases) if p.commits), 0)
    return Listing(
        arguments, arena.offsets, arena.nbytes, lower_bound(temps), flags, commit, list(numbers),
        entries, [p.tasks for p in phases], [int(p.light) for p in phases],
        [len(p.descriptor) for p in phases],
        [signed(w) for w in chain.from_iterable(p.descriptor for p in phases)],
    )  # fmt: skip


def read_listings(data: bytes) -> Listings | None:
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
    return Listings(main, early, kept)


def _read(record: dict[str, Any]) -> Listing:
    """One listing; raises ValueError or TypeError where it can't be one."""
    found = Listing(**record)
    lists = (found.offsets, found.entries, found.tasks, found.light, found.lengths, found.words)
    count = len(found.entries)
    good = (
        all(type(n) is int for n in chain(*lists))
        and all(type(key) is str for key in found.kernels)
        and len(found.tasks) == len(found.light) == len(found.lengths) == count
        and all(0 <= n < len(found.kernels) for n in found.entries)
        and all(0 <= at <= found.arena_bytes for at in found.offsets)
        and all(n >= CONTROL_TASKS for n in found.tasks)
        and all(n in (0, 1) for n in found.light)
        and min(found.lengths, default=0) >= 0
        and sum(found.lengths) == len(found.words)
        and found.arguments >= 0
        and 0 <= found.commit <= count
    )
    if not good:
        raise ValueError("no listing")
    return found
