"""What Python sees of the runtime: the builtins, the type `fanal.Storage`, and their tables.

`fanal_runtime_init` does what a C extension's init function does: it makes the type and the
builtins from static tables and returns them in a dict. The tables are raw IR, since CPython keeps
pointers into them for as long as the process lives, as long as the machine code does.
"""

from __future__ import annotations

from fanal.backends.native.runtime.layout import STATS, STORAGE_OFFSETS, STORAGE_SIZE
from fanal.backends.native.runtime.signature import c_string

_NOARGS, _O, _FASTCALL = 0x4, 0x8, 0x80

_BUILTINS = {
    "empty": (_O, "($module, nbytes, /)", "Uninitialised memory of nbytes bytes, 64-byte aligned."),
    "wrap": (
        _FASTCALL,
        "($module, address, nbytes, owner, /)",
        "Memory that belongs to owner, which is kept alive as long as the Storage is.",
    ),
    "launch": (
        _FASTCALL,
        "($module, program, /, *args)",
        "Run the program at an address on ints, floats, bools or Storages: code | info << 8.",
    ),
    "note_contents": (
        _FASTCALL,
        "($module, records, count, /)",
        "Fill in records {address of a Storage, version, exports}.",
    ),
    "same_contents": (
        _FASTCALL,
        "($module, records, count, /)",
        "Whether nobody can have written to the Storages of such records since.",
    ),
    "same_words": (
        _FASTCALL,
        "($module, records, count, /)",
        "Whether memory holds what records {address, word} say.",
    ),
    "replay": (
        _FASTCALL,
        "($module, plans, args, place, /)",
        "Carry out the first of some plans that a call's arguments fit and whose checks hold: the "
        "tensor; where there is more to do (the plan's owner, what `perform` gives); None: there is "
        "none. The address of each plan stands in its object's slot at `place`.",
    ),
    "holds": (
        _FASTCALL,
        "($module, plan, tensors, /)",
        "0 if what the plan at an address checks holds for these arguments, 2 if all but what the "
        "program keeps, else 1.",
    ),
    "perform": (
        _FASTCALL,
        "($module, plan, tensors, inputs, records, /)",
        "Carry out the plan at an address, whatever its checks say, with inputs that only the caller "
        "knows: the tensor, or a list of results and new memories, or the program's code. The times "
        "go to the records at an address, or 0.",
    ),
    "launch_recorded": (
        _FASTCALL,
        "($module, records, program, /, *args)",
        "As launch; the times of the launch and of its phases go to the records at an address.",
    ),
    "record_launches": (
        _O,
        "($module, records, /)",
        "Let all launches leave their times in the records at an address; 0: no longer.",
    ),
    "set_num_threads": (_O, "($module, n, /)", "How many threads a program may run on."),
    "get_num_threads": (_NOARGS, "($module, /)", "How many threads a program may run on."),
    "empty_cache": (_NOARGS, "($module, /)", "Give free blocks above 4 KiB back to the system."),
    "memory_stats": (_NOARGS, "($module, /)", "Bytes and counts of the allocator, as a dict."),
    "reset_peak_memory_stats": (_NOARGS, "($module, /)", "Let the peak start again from now."),
    "after_fork": (_NOARGS, "($module, /)", "For os.register_at_fork: the child has no workers."),
}

SOURCE = '''
def py_set_num_threads(module: ptr, o: ptr) -> ptr:
    word = buffer(8)
    if not int_word(o, word):
        return None
    n = i64[word]
    if n < 1 or n > MAX_THREADS:
        return PyErr_Format(ptr[PyExc_ValueError],
            "[set_num_threads] n: expected 1 to %lld, got %lld.", i64(MAX_THREADS), n)
    i64[pool_threads] = n
    return none()

def py_record_launches(module: ptr, o: ptr) -> ptr:
    word = buffer(8)
    if not int_word(o, word):
        return None
    i64[launch_profile] = i64[word]
    return none()

def py_get_num_threads(module: ptr, unused: ptr) -> ptr:
    return PyLong_FromLongLong(i64[pool_threads])

def py_empty_cache(module: ptr, unused: ptr) -> ptr:
    heap_shrink()
    return none()

def py_memory_stats(module: ptr, unused: ptr) -> ptr:
    update_stats()
    d = PyDict_New()
    index = 0
    while d != None and index < STAT_COUNT:
        if not set_item(d, ptr[stat_names + (index << 3)],
                        PyLong_FromLongLong(i64[stats + (index << 3)])):
            return None
        index += 1
    return d

def set_item(d: ptr, name: ptr, o: ptr) -> i1:
    """Put a new reference into a dict; on failure the dict is given up too."""
    if o != None:
        if PyDict_SetItemString(d, name, o) == 0:
            Py_DecRef(o)
            return True
        Py_DecRef(o)
    Py_DecRef(d)
    return False

def py_reset_peak_memory_stats(module: ptr, unused: ptr) -> ptr:
    i64[stats + STAT_PEAK_BYTES] = i64[stats + STAT_ALLOCATED_BYTES]
    return none()

def py_after_fork(module: ptr, unused: ptr) -> ptr:
    pool_reset()
    i64[launch_main_thread] = PyThread_get_thread_ident()
    return none()

@export
def fanal_runtime_init(main_thread: i64) -> ptr:
    """A dict of the type and the builtins; `main_thread` is the identity of Python's."""
    i64[launch_main_thread] = main_thread
    i64[pool_threads] = 1
    pool_reset()
    d = PyDict_New()
    if not d:
        return None
    kind = PyType_FromSpec(storage_spec)
    if not kind:
        Py_DecRef(d)
        return None
    ptr[storage_type] = kind
    Py_IncRef(kind)     # ours, for good: Storages may outlive every module
    if not set_item(d, "Storage", kind):
        return None
    name = PyUnicode_FromString("fanal.backends.native.runtime")
    definition = ptr(method_table)
    while name != None and ptr[definition] != None:
        if not set_item(d, ptr[definition], PyCMethod_New(definition, None, name, None)):
            return None
        definition = definition + 32
    return d
'''

TABLES = ("stat_names", "storage_spec", "method_table")

_MEMBERS = {  # name: (offset, type, flags); 17 long long, 6 object or None, 19 Py_ssize_t
    "ptr": (STORAGE_OFFSETS["ptr"], 17, 1),
    "nbytes": (STORAGE_OFFSETS["nbytes"], 17, 1),
    "capacity": (STORAGE_OFFSETS["capacity"], 17, 1),
    "version": (STORAGE_OFFSETS["version"], 17, 0),
    "exports": (STORAGE_OFFSETS["exports"], 17, 0),
    "owner": (STORAGE_OFFSETS["owner"], 6, 1),
    "__weaklistoffset__": (STORAGE_OFFSETS["weakrefs"], 19, 1),
}
_STORAGE_DOC = "A block of memory: an address, sizes, a version and who owns it."
# Default (1 << 18: since 3.10 a no-op bit kept for old code), immutable, made only by our builtins.
_STORAGE_FLAGS = (1 << 18) | (1 << 8) | (1 << 7)


def tables_ir() -> str:
    """The static tables: names of statistics, method definitions, and the type's specification."""
    lines: list[str] = []

    def text(symbol: str, value: str) -> str:
        lines.append(f"@{symbol} = private unnamed_addr constant {c_string(value)}")
        return f"ptr @{symbol}"

    def table(symbol: str, row: str, rows: list[str]) -> None:
        body = ", ".join(f"{row} {{ {r} }}" for r in rows)
        lines.append(f"@{symbol} = internal global [{len(rows)} x {row}] [{body}], align 16")

    table("stat_names", "{ ptr }", [text(f"stat.{s}", s) for s in STATS])
    methods = []
    for name, (flags, signature, doc) in _BUILTINS.items():
        documented = text(f"doc.{name}", f"{name}{signature}\n--\n\n{doc}")
        methods.append(f"{text(f'name.{name}', name)}, ptr @py_{name}, i64 {flags}, {documented}")
    table(
        "method_table", "{ ptr, ptr, i64, ptr }", [*methods, "ptr null, ptr null, i64 0, ptr null"]
    )
    members = [
        f"{text(f'member.{name}', name)}, i64 {kind}, i64 {offset}, i64 {flags}, ptr null"
        for name, (offset, kind, flags) in _MEMBERS.items()
    ]
    empty_member = "ptr null, i64 0, i64 0, i64 0, ptr null"
    table("storage_members", "{ ptr, i64, i64, i64, ptr }", [*members, empty_member])
    slots = [  # Py_bf_getbuffer 1, Py_bf_releasebuffer 2, Py_tp_dealloc 52, Py_tp_doc 56, Py_tp_members 72
        "i64 1, ptr @storage_getbuffer",
        "i64 2, ptr @storage_releasebuffer",
        "i64 52, ptr @storage_dealloc",
        f"i64 56, {text('doc.Storage', _STORAGE_DOC)}",
        "i64 72, ptr @storage_members",
        "i64 0, ptr null",
    ]
    table("storage_slots", "{ i64, ptr }", slots)
    name = text("name.Storage", "fanal.Storage")
    row = f"{name}, i32 {STORAGE_SIZE}, i32 0, i32 {_STORAGE_FLAGS}, ptr @storage_slots"
    table("storage_spec", "{ ptr, i32, i32, i32, ptr }", [row])
    return "\n".join(lines) + "\n"
