"""Carrying a plan out: a call that was captured, without its Python.

The words of the program's inputs are gathered, results get memory, versions of what is written count
up, the program runs; then gradients change places and results are handed out. All that can fail comes
before the program, but for its own errors, after which nothing has changed. See `layout.py` for what a
plan consists of and `guards.py` for when it may be carried out.
"""

SOURCE = '''
def py_replay(module: ptr, args: ptr, count: i64) -> ptr:
    word = buffer(8)
    if count != 3:
        return refuse_plan()
    plans = ptr[args]
    given = ptr[args + 8]
    if not int_word(ptr[args + 16], word):
        return None
    place = i64[word]
    tensors = buffer(TENSORS_MAX * 8)
    left = PyTuple_Size(plans)
    index = 0
    while index < left:
        if not int_word(ptr[PyTuple_GetItem(plans, index) + place], word):
            return None
        plan = ptr[word]
        if given_fit(plan, given, tensors):
            found = i64[plan + PLAN_TENSORS]
            if tensors_fit(plan, tensors, found) and apart(plan, tensors, found):
                if plan_holds(plan) and kept_holds(plan):
                    made = performed(plan, tensors, None, ptr[launch_profile])
                    return handed_out(plan, made)
        index += 1
    return none()

@inline
def handed_out(plan: ptr, made: ptr) -> ptr:
    """The result itself, or what Python has to finish and whose it is."""
    if not made:
        return None
    if i64[plan + PLAN_FLAGS] & FLAG_SINGLE != 0 and type_of(made) == ptr[plan + PLAN_KIND]:
        return made
    both = PyTuple_Pack(2, ptr[plan + PLAN_OWNER], made)
    Py_DecRef(made)
    return both

def py_perform(module: ptr, args: ptr, count: i64) -> ptr:
    words = buffer(16)
    if count != 4:
        return refuse_plan()
    if not int_word(ptr[args], words) or not int_word(ptr[args + 24], words + 8):
        return None
    plan = ptr[words]
    profile = ptr[words + 8]
    if not profile:
        profile = ptr[launch_profile]
    if PyTuple_Size(ptr[args + 16]) != i64[plan + PLAN_FROM_CALLER + 8]:
        return refuse_plan()
    tensors = buffer(TENSORS_MAX * 8)
    capacity = buffer(8)
    tensors = listed(ptr[args + 8], tensors, capacity)
    if not tensors:
        return None
    made = performed(plan, tensors, ptr[args + 16], profile)
    if i64[capacity] != 0:
        fanal_free(tensors, i64[capacity])
    return made

def performed(plan: ptr, tensors: ptr, inputs: ptr, profile: ptr) -> ptr:
    """Results, or the program's code as an integer, or null with an error set."""
    program = ptr[plan + PLAN_PROGRAM]
    n_words = i64[plan + PLAN_WORDS + 8]
    n_fresh = i64[plan + PLAN_FRESH + 8]
    n_slots = n_words + n_fresh + 1 + i64[program + PROGRAM_N_TEMPS]
    bufs = buffer(2048)
    capacity = buffer(8)
    failed = buffer(8)
    i64[capacity] = 0
    i64[failed] = 0
    if n_slots + 2 * n_fresh > 256:
        bufs = fanal_alloc((n_slots + 2 * n_fresh) << 3, capacity)
        if not bufs:
            return PyErr_Format(ptr[PyExc_MemoryError], "[compile] out of memory.")
    fresh = bufs + (n_slots << 3)       # of each new memory its Storage and its address for Python
    index = 0
    while index < n_fresh:
        ptr[fresh + (index << 4)] = None
        ptr[fresh + (index << 4) + 8] = None
        index += 1
    made = ptr(None)
    if memories_made(plan, bufs + (n_words << 3), fresh):
        made = results_made(plan, fresh)
    # Making objects can set off Python code (the cycle collector), so from here on none are made.
    if made != None:
        last = bufs + ((n_words + n_fresh) << 3)
        code = -1
        if inputs_placed(plan, bufs, tensors, inputs):
            code = ran(plan, program, bufs, last, tensors, profile, failed)
        done = code == 0
        if done:
            i64[plan + PLAN_RUNS] += 1
            done = gradients_set(plan, fresh)
        if not done:
            Py_DecRef(made)
            made = code_number(code, i64[failed])
    index = 0
    while index < n_fresh:
        give_up(ptr[fresh + (index << 4)])
        give_up(ptr[fresh + (index << 4) + 8])
        index += 1
    if i64[capacity] != 0:
        fanal_free(bufs, i64[capacity])
    return made

@inline
def give_up(o: ptr):
    if o:
        Py_DecRef(o)

@inline
def pointer_word(plan: ptr, t: ptr, at: ptr) -> i1:
    """A tensor's address, if it is in memory."""
    if not in_memory(plan, t):
        PyErr_Format(ptr[PyExc_RuntimeError],
            "[compile] a tensor that the call needs has no memory: another thread changed it.")
        return False
    return int_word(slot(plan, t, PLAN_POINTER), at)

def inputs_placed(plan: ptr, bufs: ptr, tensors: ptr, inputs: ptr) -> i1:
    """The words of the program's inputs."""
    index = 0
    end = i64[plan + PLAN_WORDS + 8]
    words = ptr[plan + PLAN_WORDS]
    while index < end:
        i64[bufs + (index << 3)] = i64[words + (index << 3)]
        index += 1
    entry = ptr[plan + PLAN_FROM_GIVEN]
    last = behind(plan, PLAN_FROM_GIVEN, 24)
    while entry < last:
        at = bufs + (i64[entry] << 3)
        if not pointer_word(plan, ptr[tensors + (i64[entry + 8] << 3)], at):
            return False
        i64[at] += i64[entry + 16]
        entry = entry + 24
    entry = ptr[plan + PLAN_FROM_GRADS]
    last = behind(plan, PLAN_FROM_GRADS, 16)
    while entry < last:
        g = slot(plan, ptr[entry + 8], PLAN_GRAD)
        if g == _Py_NoneStruct:
            PyErr_Format(ptr[PyExc_RuntimeError],
                "[compile] a gradient that the call adds to is gone: another thread changed it.")
            return False
        if not pointer_word(plan, g, bufs + (i64[entry] << 3)):
            return False
        entry = entry + 16
    entry = ptr[plan + PLAN_FROM_CALLER]
    index = 0
    end = i64[plan + PLAN_FROM_CALLER + 8]
    while index < end:
        if not argument_word(PyTuple_GetItem(inputs, index), bufs + (i64[entry + (index << 3)] << 3)):
            return False
        index += 1
    return True

def memories_made(plan: ptr, at: ptr, fresh: ptr) -> i1:
    """New memory for what comes out."""
    index = 0
    end = i64[plan + PLAN_FRESH + 8]
    sizes = ptr[plan + PLAN_FRESH]
    while index < end:
        nbytes = i64[sizes + (index << 3)]
        storage = fanal_storage_empty(nbytes)
        if not storage:
            PyErr_Format(ptr[PyExc_MemoryError],
                "[compile] not enough memory for the results: got a request of %lld bytes. "
                "Try: a smaller batch.", nbytes)
            return False
        ptr[fresh + (index << 4)] = storage
        address = i64[storage + STORAGE_PTR]
        i64[at + (index << 3)] = address
        number = PyLong_FromLongLong(address)
        if not number:
            return False
        ptr[fresh + (index << 4) + 8] = number
        index += 1
    return True

def code_number(code: i64, phase: i64) -> ptr:
    """What a program's code is for Python; null where an error is set (0: after it ran)."""
    if code == -1 or code == 0:
        return None
    if phase != 0:
        return status_number(code, phase)
    return PyLong_FromLongLong(code)

def ran(
    plan: ptr, program: ptr, bufs: ptr, last: ptr, tensors: ptr, profile: ptr, failed: ptr,
) -> i64:
    """Run the program; `last` is the place of its last input, what it keeps between calls."""
    i64[last] = 0
    kept = ptr(None)
    if i64[plan + PLAN_KEPT] != 0:
        block = ptr[ptr[plan + PLAN_KEPT]]
        if not block:
            PyErr_Format(ptr[PyExc_RuntimeError],
                "[compile] what the program keeps between calls was not made.")
            return -1
        kept = ptr[block + 8]
        Py_IncRef(kept)     # another thread may put something else in its place
        i64[last] = i64[kept + STORAGE_PTR]
    # Before the program runs: an error must not leave changed memory that looks unchanged to what is
    # kept of it. (A version too many is only packed once more.)
    count_versions(plan, tensors)
    code = run_program(program, bufs, failed, profile)
    give_up(kept)
    return code

@inline
def written_to(storage: ptr):
    i64[storage + STORAGE_VERSION] += 1

def count_versions(plan: ptr, tensors: ptr):
    """What the program writes to has another version from now on."""
    entry = ptr[plan + PLAN_WRITTEN]
    last = behind(plan, PLAN_WRITTEN, 8)
    while entry < last:
        written_to(ptr[entry])
        entry = entry + 8
    entry = ptr[plan + PLAN_WRITTEN_GIVEN]
    last = behind(plan, PLAN_WRITTEN_GIVEN, 8)
    while entry < last:
        written_to(slot(plan, ptr[tensors + (i64[entry] << 3)], PLAN_STORAGE))
        entry = entry + 8
    entry = ptr[plan + PLAN_FROM_GRADS]
    last = behind(plan, PLAN_FROM_GRADS, 16)
    while entry < last:
        written_to(slot(plan, slot(plan, ptr[entry + 8], PLAN_GRAD), PLAN_STORAGE))
        entry = entry + 16

def results_made(plan: ptr, fresh: ptr) -> ptr:
    """The tensor that comes out; or a list of tensors, and of memories that the caller wants."""
    entry = ptr[plan + PLAN_RESULTS]
    if i64[plan + PLAN_FLAGS] & FLAG_SINGLE != 0:
        return result_made(plan, fresh, entry)
    count = i64[plan + PLAN_RESULTS + 8]
    handed = i64[plan + PLAN_HANDED]
    made = PyList_New(count + i64[plan + PLAN_FRESH + 8] - handed)
    if not made:
        return None
    index = 0
    while index < count:
        t = result_made(plan, fresh, entry)
        if not t:
            Py_DecRef(made)
            return None
        PyList_SetItem(made, index, t)
        entry = entry + 40
        index += 1
    while handed < i64[plan + PLAN_FRESH + 8]:
        storage = ptr[fresh + (handed << 4)]
        Py_IncRef(storage)
        PyList_SetItem(made, index, storage)
        handed += 1
        index += 1
    return made

@inline
def result_made(plan: ptr, fresh: ptr, entry: ptr) -> ptr:
    memory = fresh + (i64[entry] << 4)
    t = tensor_made(plan, memory, ptr[entry + 8], ptr[entry + 24], ptr[entry + 32])
    offset = i64[entry + 16]
    if offset != 0 and t != None:
        number = PyLong_FromLongLong(i64[ptr[memory] + STORAGE_PTR] + offset)
        if not number:
            Py_DecRef(t)
            return None
        put(plan, t, PLAN_POINTER, number)
        Py_DecRef(ptr[memory + 8])
        Py_DecRef(number)
    return t

@inline
def put(plan: ptr, o: ptr, place: i64, value: ptr):
    """Put an object into a slot that holds nothing, or what the caller gives up itself."""
    Py_IncRef(value)
    ptr[o + i64[plan + place]] = value

def tensor_made(plan: ptr, memory: ptr, layout: ptr, node: ptr, index: ptr) -> ptr:
    """A tensor of new memory."""
    t = PyType_GenericAlloc(ptr[plan + PLAN_KIND], 0)
    if not t:
        return None
    put(plan, t, PLAN_STORAGE, ptr[memory])
    put(plan, t, PLAN_LAYOUT, layout)
    put(plan, t, PLAN_POINTER, ptr[memory + 8])
    put(plan, t, PLAN_NODE, node)
    put(plan, t, PLAN_INDEX, index)
    put(plan, t, PLAN_GRAD, _Py_NoneStruct)
    put(plan, t, PLAN_RARE, _Py_NoneStruct)
    return t

def gradients_set(plan: ptr, fresh: ptr) -> i1:
    """The call's gradients take the place of those that were there."""
    entry = ptr[plan + PLAN_GRADIENTS]
    last = behind(plan, PLAN_GRADIENTS, 24)
    while entry < last:
        p = ptr[entry]
        number = i64[entry + 8]
        before = slot(plan, p, PLAN_GRAD)
        if number < 0:
            put(plan, p, PLAN_GRAD, _Py_NoneStruct)
            give_up(before)
        else:
            memory = fresh + (number << 4)
            if nobody_else_has(plan, before, ptr[entry + 16]):
                moved_to(plan, before, memory)
            else:
                g = tensor_made(plan, memory, ptr[entry + 16], _Py_NoneStruct, ptr[plan + PLAN_ZERO])
                if not g:
                    return False
                ptr[p + i64[plan + PLAN_GRAD]] = g
                give_up(before)
        entry = entry + 24
    return True

@inline
def nobody_else_has(plan: ptr, g: ptr, layout: ptr) -> i1:
    """Whether a gradient is a plain one of this layout that only its tensor holds: then nobody can
    tell it from a new one. (The low half of a reference count is all of it, in every CPython.)"""
    if not g:
        return False
    if i32[g] != 1 or type_of(g) != ptr[plan + PLAN_KIND]:
        return False
    if slot(plan, g, PLAN_LAYOUT) != layout or slot(plan, g, PLAN_WEAKREFS) != None:
        return False
    if slot(plan, g, PLAN_NODE) != _Py_NoneStruct or slot(plan, g, PLAN_GRAD) != _Py_NoneStruct:
        return False
    return slot(plan, g, PLAN_RARE) == _Py_NoneStruct

@inline
def moved_to(plan: ptr, t: ptr, memory: ptr):
    """Let a tensor be one of new memory."""
    storage = slot(plan, t, PLAN_STORAGE)
    pointer = slot(plan, t, PLAN_POINTER)
    put(plan, t, PLAN_STORAGE, ptr[memory])
    put(plan, t, PLAN_POINTER, ptr[memory + 8])
    Py_DecRef(storage)
    Py_DecRef(pointer)
'''
