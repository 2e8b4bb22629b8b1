"""The launcher: runs a program, phase after phase, from Python or from other native code.

`run_program` is the core: `bufs` has room for the arguments and the temporaries, the
arguments being there already. Where a profile is taken, each launch and each of its phases leaves a
record with its times (see `layout.py`); else that costs a comparison a phase. `py_launch` is the builtin in front of it, which only turns Python
numbers (and Storages) into words. Shared state is never held across a call into Python, since a
signal handler may run any Python there, even another launch.
"""

SOURCE = '''
launch_main_thread = zeros(8)       # the thread that may handle signals
launch_profile = zeros(8)           # where records of all launches go, or 0

@export
def fanal_run(program: ptr, bufs: ptr) -> i64:
    """Run; `code | info << 8`, or -1 with a Python exception set. The caller holds the GIL."""
    failed = buffer(8)
    return run_program(program, bufs, failed, ptr[launch_profile])

def run_program(program: ptr, bufs: ptr, failed: ptr, profile: ptr) -> i64:
    """The same; also says which phase failed. `profile` is where records go, or nowhere."""
    whole = ptr(None)
    if profile:
        whole = begin_record(profile, program, -1)
    n_args = i64[program + PROGRAM_N_ARGS]
    n_temps = i64[program + PROGRAM_N_TEMPS]
    arena = ptr(None)
    capacity = buffer(8)
    if n_temps > 0:
        arena_bytes = i64[program + PROGRAM_ARENA_BYTES]
        if arena_bytes > 0:
            arena = fanal_alloc(arena_bytes, capacity)
            if not arena:
                PyErr_Format(ptr[PyExc_MemoryError],
                    "[launch] could not allocate memory: the program needs %lld bytes for its "
                    "temporaries. Free tensors or use a smaller batch.", arena_bytes)
                return -1
        index = 0
        while index < n_temps:
            offset = i64[program + PROGRAM_TEMPS + (index << 3)]
            ptr[bufs + ((n_args + index) << 3)] = arena + offset
            index += 1
    control = fp_control()
    if control != FP_DEFAULT:
        fp_set_control(FP_DEFAULT)
    result = run_phases(program, bufs, program + PROGRAM_TEMPS + (n_temps << 3), failed, profile)
    if control != FP_DEFAULT:
        fp_set_control(control)
    if arena:
        fanal_free(arena, i64[capacity])
    if whole:
        end_record(whole)
    return result

@inline
def phase_number(first: ptr, behind: ptr) -> i64:
    return ((i64(behind) - i64(first)) >> PHASE_SHIFT) - 1

@cold
def begin_record(profile: ptr, program: ptr, phase: i64) -> ptr:
    """A record of something that begins now; none where there is no more room."""
    index = atomic_add_i64(profile, 1)
    if index >= i64[profile + 8]:
        return None
    record = profile + RECORDS + index * RECORD_SIZE
    i64[record] = i64(program)
    i64[record + 8] = phase
    i64[record + 24] = 0
    i64[record + 32] = PyThread_get_thread_ident()
    i64[record + 16] = clock_ns()
    return record

@cold
def end_record(record: ptr):
    i64[record + 24] = clock_ns()

def run_phases(program: ptr, bufs: ptr, phases: ptr, failed: ptr, profile: ptr) -> i64:
    status = buffer(16)
    i64[status] = 0
    i64[status + 8] = 0
    flags = i64[program + PROGRAM_FLAGS]
    poll = flags & FLAG_CHECK_SIGNALS != 0
    polled = 0
    if poll:
        poll = PyThread_get_thread_ident() == i64[launch_main_thread]
        if poll:
            polled = clock_ns()
    state = ptr(None)
    if flags & FLAG_RELEASE_GIL:
        state = PyEval_SaveThread()
    leased = False
    interrupted = False
    first = phases
    end = phases + i64[program + PROGRAM_N_PHASES] * PHASE_SIZE
    # Where a program begins to write to what it was given it is not interrupted any more.
    commit = end
    if i64[program + PROGRAM_COMMIT] != 0:
        commit = phases + (i64[program + PROGRAM_COMMIT] - 1) * PHASE_SIZE
    record = ptr(None)
    while phases < end:
        kernel = ptr[phases]
        desc = ptr[phases + 8]
        tasks = i64[phases + 16]
        light = i64[phases + 24]
        phases = phases + PHASE_SIZE
        if profile and tasks >= 0:
            record = begin_record(profile, program, phase_number(first, phases))
        if tasks == 1:
            call(void, kernel, desc, bufs, 0, status)
        elif tasks < 0:
            phases = phases + run_control(desc, bufs)
        elif light != 0:
            run_alone(kernel, desc, bufs, tasks, status)
        else:
            if not leased and i64[pool_threads] > 1:
                leased = atomic_cas_i64(pool_lease, 0, i64(status))
            if leased and tasks > 1 and tasks < TASKS_MAX:
                run_parallel(kernel, desc, bufs, tasks, status)
            else:
                run_alone(kernel, desc, bufs, tasks, status)
        if record:
            end_record(record)
            record = None
        if i64[status] != 0:
            i64[failed] = phase_number(first, phases)
            break
        if poll and phases < commit:
            # Taking the GIL can mean waiting for another thread, so not after every phase.
            now = clock_ns()
            if now - polled > SIGNAL_POLL_NS:
                polled = now
                interrupted = check_signals(state, flags)
                if flags & FLAG_RELEASE_GIL and not interrupted:
                    state = PyEval_SaveThread()
                # A handler may have forked: in the child nobody holds the pool.
                leased = atomic_load_i64(pool_lease) == i64(status)
                if interrupted:
                    state = None
                    break
    if leased:
        atomic_cas_i64(pool_lease, i64(status), 0)
    if state:
        PyEval_RestoreThread(state)
    if interrupted:
        return -1
    code = i64[status]
    if code < 0 or code > 255:
        code = 255
    return code | (i64[status + 8] & INFO_MASK) << 8

@cold
def check_signals(state: ptr, flags: i64) -> i1:
    """Let Python handle what is pending; true if a handler raised. Leaves the GIL held."""
    if flags & FLAG_RELEASE_GIL:
        PyEval_RestoreThread(state)
    return PyErr_CheckSignals() != 0

def py_launch(module: ptr, args: ptr, count: i64) -> ptr:
    return launched(args, count, ptr[launch_profile])

def py_launch_recorded(module: ptr, args: ptr, count: i64) -> ptr:
    word = buffer(8)
    if count < 1:
        return PyErr_Format(ptr[PyExc_TypeError], "[launch] expected the address for records.")
    if not int_word(ptr[args], word):
        return None
    return launched(args + 8, count - 1, ptr[word])

@inline
def launched(args: ptr, count: i64, profile: ptr) -> ptr:
    word = buffer(8)
    if count < 1:
        return PyErr_Format(ptr[PyExc_TypeError],
            "[launch] expected the address of a program, then its arguments; got nothing.")
    if not int_word(ptr[args], word):
        return None
    program = ptr[word]
    if i64(program) & 7 != 0 or not program:
        return refuse_program(i64(program))
    if i64[program] != PROGRAM_MAGIC_VALUE:
        return refuse_program(i64(program))
    n_args = i64[program + PROGRAM_N_ARGS]
    if count - 1 != n_args:
        return PyErr_Format(ptr[PyExc_TypeError],
            "[launch] wrong number of arguments: the program takes %lld, got %lld.",
            n_args, count - 1)
    n_words = n_args + i64[program + PROGRAM_N_TEMPS]
    bufs = buffer(1024)
    capacity = buffer(8)
    i64[capacity] = 0
    if n_words > 128:
        bufs_big = fanal_alloc(n_words << 3, capacity)
        if not bufs_big:
            return PyErr_Format(ptr[PyExc_MemoryError], "[launch] out of memory.")
        bufs = bufs_big
    index = 0
    good = True
    while good and index < n_args:
        good = argument_word(ptr[args + 8 + (index << 3)], bufs + (index << 3))
        index += 1
    result = 0
    failed = buffer(8)
    i64[failed] = 0
    if good:
        result = run_program(program, bufs, failed, profile)
    if i64[capacity] != 0:
        fanal_free(bufs, i64[capacity])
    if not good or result == -1:
        return None
    if i64[failed] != 0:
        return status_number(result, i64[failed])
    return PyLong_FromLongLong(result)

@cold
def status_number(result: i64, phase: i64) -> ptr:
    """code | info << 8 | phase << 63, as an integer of Python's."""
    number = PyLong_FromLongLong(phase)
    by = PyLong_FromLongLong(63)
    low = PyLong_FromLongLong(result)
    high = PyNumber_Lshift(number, by)
    whole = PyNumber_Or(high, low)
    Py_DecRef(number)
    Py_DecRef(by)
    Py_DecRef(low)
    Py_DecRef(high)
    return whole

@cold
def refuse_program(address: i64) -> ptr:
    return PyErr_Format(ptr[PyExc_TypeError],
        "[launch] no program at address %lld: expected the address of a program table, which "
        "starts with its magic word.", address)

@inline
def argument_word(o: ptr, at: ptr) -> i1:
    """One argument as the 64 bits that a kernel reads; false with a Python error set."""
    kind = type_of(o)
    if kind == PyLong_Type:
        return int_word(o, at)
    if kind == ptr[storage_type]:
        i64[at] = i64[o + STORAGE_PTR]
        return True
    return other_word(o, at)

@inline
def int_word(o: ptr, at: ptr) -> i1:
    """Addresses may have their top bit set, so both the signed and the unsigned range will do."""
    if type_of(o) != PyLong_Type:
        return other_int_word(o, at)
    overflow = buffer(4)
    i64[at] = PyLong_AsLongLongAndOverflow(o, overflow)
    if i32[overflow] == 0:
        return True
    return unsigned_word(o, at)

@cold
def unsigned_word(o: ptr, at: ptr) -> i1:
    word = PyLong_AsUnsignedLongLong(o)
    i64[at] = word
    if word == -1 and PyErr_Occurred() != None:
        PyErr_Clear()
        PyErr_Format(ptr[PyExc_OverflowError],
            "[launch] an integer argument needs more than 64 bits: got %S.", o)
        return False
    return True

@cold
def other_int_word(o: ptr, at: ptr) -> i1:
    """An integer that is no exact int: bool, or a subclass such as an IntEnum."""
    if PyType_IsSubtype(type_of(o), PyLong_Type) == 0:
        refuse_type("[runtime] expected an int, got %.200s.", o)
        return False
    overflow = buffer(4)
    i64[at] = PyLong_AsLongLongAndOverflow(o, overflow)
    if i32[overflow] == 0:
        return True
    return unsigned_word(o, at)

@cold
def other_word(o: ptr, at: ptr) -> i1:
    kind = type_of(o)
    if kind == PyFloat_Type or PyType_IsSubtype(kind, PyFloat_Type) != 0:
        i64[at] = i64(PyFloat_AsDouble(o))
        return True
    if PyType_IsSubtype(kind, PyLong_Type) != 0:
        return other_int_word(o, at)
    refuse_type("[launch] an argument is an int, a float, a bool or a Storage; got %.200s.", o)
    return False
'''
