"""Every offset, size and magic number of the runtime, in one place.

Code that is generated elsewhere reads a `Storage`'s address straight from the object and lays out
programs in memory, so these numbers are an interface: change one only together with its users.
CPython's own offsets below hold for the standard 64-bit builds of 3.11 to 3.14 (`loader.py` checks).
"""

from __future__ import annotations

# fanal.Storage: the object's header is 16 bytes (reference count, type), then our fields.
STORAGE_OFFSETS = {
    "ptr": 16,
    "nbytes": 24,
    "capacity": 32,
    "version": 40,
    "owner": 48,
    "weakrefs": 56,
}
STORAGE_SIZE = 64

# A program is an array of int64: eight header words, then one word a temporary (its byte offset
# in the arena), then four words a phase {kernel address, descriptor address, tasks, reserved}.
PROGRAM_MAGIC = 0x46414E414C505231  # "FANALPR1"
PROGRAM_WORDS = {
    "magic": 0,
    "n_args": 1,
    "n_temps": 2,
    "n_phases": 3,
    "flags": 4,
    "arena_bytes": 5,
}
PROGRAM_HEADER_WORDS = 8
PHASE_WORDS = 4
FLAG_RELEASE_GIL = 1
FLAG_CHECK_SIGNALS = 2

MAX_THREADS = 512

STATS = (
    "allocated_bytes",
    "peak_bytes",
    "cached_bytes",
    "slab_bytes",
    "alloc_count",
    "free_count",
    "system_alloc_count",
    "system_free_count",
)

_SMALL_MAX = 4096
_LARGE_MIN = 1 << 20

CONSTANTS: dict[str, int] = {
    **{f"STORAGE_{name.upper()}": offset for name, offset in STORAGE_OFFSETS.items()},
    "STORAGE_SIZE": STORAGE_SIZE,
    **{f"PROGRAM_{name.upper()}": 8 * word for name, word in PROGRAM_WORDS.items()},
    "PROGRAM_MAGIC_VALUE": PROGRAM_MAGIC,
    "PROGRAM_TEMPS": 8 * PROGRAM_HEADER_WORDS,
    "PHASE_SIZE": 8 * PHASE_WORDS,
    "FLAG_RELEASE_GIL": FLAG_RELEASE_GIL,
    "FLAG_CHECK_SIGNALS": FLAG_CHECK_SIGNALS,
    # CPython.
    "OBJECT_TYPE": 8,
    "TYPE_NAME": 24,
    # Allocator: size classes are 64 bytes wide up to 1024, then eight a doubling.
    "SMALL_MAX": _SMALL_MAX,
    "LARGE_MIN": _LARGE_MIN,
    "SLAB_SIZE": 1 << 20,
    "CLASSES": 16 + (47 - 10) * 8,
    "REQUEST_MAX": (1 << 47) - 1,
    "HUGE_PAGE": 2 << 20,
    "SLACK": 8 << 20,
    **{f"STAT_{name.upper()}": 8 * index for index, name in enumerate(STATS)},
    "STAT_COUNT": len(STATS),
    # Pool.
    "MAX_THREADS": MAX_THREADS,
    "LINE": 64,
    "TICKET_BIAS": 1 << 16,
    "TICKET_LOW": (1 << 48) - 1,
    "TASKS_MAX": 1 << 40,
    "SPIN_NS": 60_000,
    "SIGNAL_POLL_NS": 20_000_000,
    "STACK_SIZE": 8 << 20,
    # Launcher: a result is never negative, whatever a kernel wrote.
    "INFO_MASK": (1 << 55) - 1,
}
