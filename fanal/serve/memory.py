"""How much memory processes hold, as the kernel counts it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple


class Memory(NamedTuple):
    """Bytes that are in memory, and how many of them are pages of files and of shared memory."""

    resident: int
    mapped: int


def memory_of(pids: Iterable[int]) -> Memory:
    """Of several processes together. A page that n processes share counts as one n-th in each, so those that only these
    share count once; where the kernel does not say (no smaps_rollup), they count in each. Processes that are gone
    hold nothing."""
    resident = mapped = 0
    for pid in pids:
        found = _shares(pid) or _pages(pid)
        resident += found.resident
        mapped += found.mapped
    return Memory(resident, mapped)


def _shares(pid: int) -> Memory | None:
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            lines = dict(line.split(":", 1) for line in file if ":" in line and line.startswith("Pss"))
    except OSError:
        return None

    def size(name: str) -> int:
        return int(lines.get(name, "0 kB").split()[0]) * 1024

    return Memory(size("Pss"), size("Pss_File") + size("Pss_Shmem")) if "Pss" in lines else None


def _pages(pid: int) -> Memory:
    try:
        with open(f"/proc/{pid}/statm") as file:
            _, resident, shared, *_ = map(int, file.read().split())
    except (OSError, ValueError):
        return Memory(0, 0)
    page = os.sysconf("SC_PAGE_SIZE")
    return Memory(resident * page, shared * page)
