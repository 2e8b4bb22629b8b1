"""Every offset, size and magic number of the runtime, in one place.

Code that is generated elsewhere reads a `Storage`'s address straight from the object and lays out
programs in memory, so these numbers are an interface: change one only together with its users.
CPython's own offsets below hold for standard 64-bit builds of 3.11 to 3.14 (`loader.py` checks).
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
    "exports": 64,
}
STORAGE_SIZE = 72

# Who else may write to a Storage's memory, without its version telling: the low half counts those who
# hold it now (arrays, addresses that were asked for), the high half those that ever did.
EXPORT = (1 << 32) + 1
EXPORTED = (1 << 32) - 1

# A program is an array of int64: eight header words, then one word a temporary (its byte offset
# in the arena), then four words a phase {kernel address, descriptor address, tasks, light: 1 if
# one thread is to run them all}.
PROGRAM_MAGIC = 0x46414E414C505231  # "FANALPR1"
PROGRAM_WORDS = {
    "magic": 0,
    "n_args": 1,
    "n_temps": 2,
    "n_phases": 3,
    "flags": 4,
    "arena_bytes": 5,
    "commit": 6,  # one more than the number of phases before those that write to state; 0: none do
}
PROGRAM_HEADER_WORDS = 8
PHASE_WORDS = 4
FLAG_RELEASE_GIL = 1
FLAG_CHECK_SIGNALS = 2

# An entry with this number of tasks is no phase. Its descriptor is a list of operations on the table
# of buffers, {how many}, then four words each: {code, a, b, c}.
CONTROL_TASKS = -1
CONTROL_POINT = 0  # slot a = slot b + c bytes
CONTROL_ADVANCE = 1  # slot a moves by c bytes
CONTROL_ROTATE = 2  # slot a = slot b, slot b = slot c, slot c = what b was
CONTROL_COUNT = 3  # slot a = the number c
CONTROL_REPEAT = 4  # slot a counts one down; go c bytes on in the table unless it reached 0
CONTROL_UNLESS = 5  # go c bytes on in the table if the byte at slot a + b bytes is 0
CONTROL_JUMP = 6  # go c bytes on in the table

# Where a profile's records go: {how many were begun, room for so many}, and from byte 64 on the records,
# five words each: {program, phase (-1: all of it), start, end (0: not yet), thread}, times in ns.
RECORDS = 64
RECORD_WORDS = 5

# A plan is what a call that is made again and again checks and does, as an array of words. Of the objects
# that it names (tensors, which the runtime knows nothing of) it says where in their memory each of their
# slots lies. A section is two words, the address of its entries and their number.
PLAN_FIELDS = (
    "program",
    "owner",  # the object that stands for the plan
    "flags",
    "runs",  # how often it was carried out
    "kept",  # address of a word: the block of what the program keeps between calls; 0: it keeps nothing
    "handed",  # from which new memory on the caller gets the Storages too
    "kind",  # the class of tensors, and where their slots lie
    "storage",
    "layout",
    "pointer",
    "node",
    "index",
    "grad",
    "rare",
    "weakrefs",
    "zero",  # the number 0
    "tensors",  # how many of the arguments are tensors
)
PLAN_SECTIONS = {  # words of an entry
    "given": 2,  # arguments: {class, layout}, or {0, the very object}
    "pinned": 2,  # {number of a tensor among them, its Storage}
    "known": 1,  # Storages that no argument may have, in order
    "same": 2,  # {address, the word that stands there}
    "checks": 4,  # {code, a, b, c}, see below
    "words": 1,  # the program's inputs, as far as they are always the same
    "from_given": 3,  # {input, tensor, bytes from its beginning}
    "from_grads": 2,  # {input, tensor whose gradient it is}
    "from_caller": 1,  # inputs that the caller gives
    "fresh": 1,  # bytes of each new memory
    "written": 1,  # Storages
    "written_given": 1,  # numbers of tensors among the arguments
    "gradients": 3,  # {tensor, new memory or -1, layout}
    "results": 5,  # {new memory, layout, bytes from its beginning, node, index}
}
PLAN_SINGLE = 1  # flag: the result is one tensor, and carrying the plan out is all
TENSORS_MAX = 32  # arguments of a call by `replay`

CHECK_ITEM = 0  # the dict a has at key b the object c; 0: none
CHECK_LIST = 1  # the list a consists of the c objects at address b
CHECK_DICT = 2  # the dict a consists of the c pairs of objects at address b
CHECK_ATTRIBUTE = 3  # the object a has as attribute b the object c; 0: none
CHECK_GRADIENT = 4  # the tensor a has a gradient of layout b; 0: none

# What a program keeps between calls: {number of records, Storage}, then records as `note_contents`
# fills them in.
BLOCK_RECORDS = 16

MAX_THREADS = 512

# The symbols that a loader must look up; all others are internal. `fanal_runtime_init` makes the
# Python objects, the rest is for other generated code: see the signatures in the sources.
RUNTIME_SYMBOLS = (
    "fanal_runtime_init",
    "fanal_run",
    "fanal_alloc",
    "fanal_free",
    "fanal_storage_new",
    "fanal_storage_empty",
)

# What memory_stats() tells.
STATS = (
    "allocated_bytes",  # capacities of the blocks in use
    "peak_bytes",  # the most that was, since the last reset
    "cached_bytes",  # free, but kept for the next request
    "held_bytes",  # all that the heap may hold of the machine's memory
    "slab_bytes",  # the part of it that small blocks are carved from
    "reserved_bytes",  # address space, most of it untouched
    "alloc_count",
    "free_count",
    "spread_count",  # how often untouched memory was needed
    "release_count",  # how often pages went back to the system
)

CONSTANTS: dict[str, int] = {
    **{f"STORAGE_{name.upper()}": offset for name, offset in STORAGE_OFFSETS.items()},
    "STORAGE_SIZE": STORAGE_SIZE,
    "EXPORT": EXPORT,
    "EXPORTED": EXPORTED,
    **{f"PROGRAM_{name.upper()}": 8 * word for name, word in PROGRAM_WORDS.items()},
    "PROGRAM_MAGIC_VALUE": PROGRAM_MAGIC,
    "PROGRAM_TEMPS": 8 * PROGRAM_HEADER_WORDS,
    "PHASE_SIZE": 8 * PHASE_WORDS,
    "PHASE_SHIFT": (8 * PHASE_WORDS).bit_length() - 1,
    "RECORDS": RECORDS,
    "RECORD_SIZE": 8 * RECORD_WORDS,
    **{f"PLAN_{name.upper()}": 8 * word for word, name in enumerate(PLAN_FIELDS)},
    **{
        f"PLAN_{name.upper()}": 8 * (len(PLAN_FIELDS) + 2 * number)
        for number, name in enumerate(PLAN_SECTIONS)
    },
    "FLAG_SINGLE": PLAN_SINGLE,
    "TENSORS_MAX": TENSORS_MAX,
    "CHECK_ITEM": CHECK_ITEM,
    "CHECK_LIST": CHECK_LIST,
    "CHECK_DICT": CHECK_DICT,
    "CHECK_ATTRIBUTE": CHECK_ATTRIBUTE,
    "CHECK_GRADIENT": CHECK_GRADIENT,
    "BLOCK_RECORDS": BLOCK_RECORDS,
    "FLAG_RELEASE_GIL": FLAG_RELEASE_GIL,
    "FLAG_CHECK_SIGNALS": FLAG_CHECK_SIGNALS,
    "CONTROL_POINT": CONTROL_POINT,
    "CONTROL_ADVANCE": CONTROL_ADVANCE,
    "CONTROL_ROTATE": CONTROL_ROTATE,
    "CONTROL_COUNT": CONTROL_COUNT,
    "CONTROL_REPEAT": CONTROL_REPEAT,
    "CONTROL_UNLESS": CONTROL_UNLESS,
    # CPython.
    "OBJECT_TYPE": 8,
    "TYPE_NAME": 24,
    # Allocator: classes are 64 bytes wide up to 1024, then eight a doubling.
    "SMALL_MAX": 4096,
    "SMALL_CLASSES": 16 + 2 * 8,
    "SLAB_SIZE": 64 << 10,
    "REQUEST_MAX": 1 << 46,
    # Heap.
    **{
        f"EXTENT_{name}": 8 * word
        for word, name in enumerate(("SIZE", "BEFORE", "NEXT", "PREVIOUS", "CLEAN", "FREE"))
    },
    "EXTENT_HEADER": 64,
    "EXTENT_MIN": 4096 + 64,
    "HEAP_LOG_MIN": 12,
    "HEAP_LEVELS": 48 - 12,
    "HEAP_SLACK": 4 << 20,
    "REGION_MIN": 1 << 30,
    "HUGE_PAGE": 2 << 20,
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
