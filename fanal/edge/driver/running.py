"""A call: the table of buffers is filled, then phase after phase is run.

The table of buffers lies in the caller's arena: inputs, outputs, blocks of weights and of state, temporaries. A
phase is a kernel and a number of independent tasks, which the caller's `parallel_for` may share out; loops and
branches are entries that the calling thread interprets.
"""

RUN = '''
@cold
def run(signature: ptr, inputs: ptr, outputs: ptr, state: ptr, arena: ptr, size: i64, weights: ptr,
        how: ptr) -> i32:
    """One call of a signature: an entry of `signatures`."""
    level = i32(0)
    parallel = ptr(None)
    context = ptr(None)
    if how:
        level = i32[how]
        parallel = ptr[how + POINTER]
        context = ptr[how + 2 * POINTER]
    if level < 0 or level >= LEVELS:
        return STATUS_LEVEL
    place = i64(i32[signature + (u64(level) << 2)])
    if place < 0:
        return STATUS_LEVEL
    if EMBEDDED:
        weights = weights_data
    elif HAS_WEIGHTS:
        if not weights:
            return STATUS_NULL
        if i64(weights) & 63 != 0:
            return STATUS_MISALIGNED
        if i64[weights + 8] != IDENTITY:
            return STATUS_WEIGHTS
    program = tables + place
    region = program + i64[program + PROGRAM_REGION]
    bufs = arena
    if not arena:
        return STATUS_NULL
    if i64(arena) & 63 != 0:
        return STATUS_MISALIGNED
#SIZES
    if size < i64[program + PROGRAM_FIXED]:
        return STATUS_ARENA
    places = buffer(64)
    ptr[places] = inputs
    ptr[places + 8] = outputs
    ptr[places + 16] = weights
    ptr[places + 24] = state
    ptr[places + 32] = arena
    problem = point_slots(region, i64[program + PROGRAM_SLOTS], places, bufs)
    if problem != 0:
        return problem
    control = fp_control()
    if control != FP_DEFAULT:
        fp_set_control(FP_DEFAULT)
    words = region + (i64[program + PROGRAM_SLOTS] << 3)
    result = run_phases(program, words, bufs, parallel, context)
    if control != FP_DEFAULT:
        fp_set_control(control)
    return result

def point_slots(entry: ptr, count: i64, places: ptr, slots: ptr) -> i32:
    """Fill the table of buffers. An entry says of which place it is a part, how it has to be aligned,
    and where it lies there: pointers to inputs and outputs lie in the caller's records."""
    end = entry + (count << 3)
    while entry != end:
        word = i64[entry]
        entry = entry + 8
        at = ptr[places + ((word & 7) << 3)]
        if not at:
            return STATUS_NULL
        at = at + (word >> 9)
        if word & 7 < 2:
            at = ptr[at]
            if not at:
                return STATUS_NULL
        if i64(at) & ((1 << ((word >> 3) & 63)) - 1) != 0:
            return STATUS_MISALIGNED
        i64[slots] = i64(at)
        slots = slots + 8
    return 0

def run_phases(program: ptr, words: ptr, bufs: ptr, parallel: ptr, context: ptr) -> i32:
    """Run all entries of a table, until one fails."""
    status = buffer(16)
    i64[status] = 0
    job = buffer(32)
    ptr[job + 16] = bufs
    ptr[job + 24] = status
    phase = program + i64[program + PROGRAM_FIRST_ENTRY]
    end = phase + (i64[program + PROGRAM_ENTRIES] << 3)
    while phase != end:
        number = i64(i32[phase])
        desc = words + (i64(i32[phase + 4]) << 3)
        phase = phase + 8
        tasks = i64[desc]
        desc = desc + 8
        if number < 0:
            phase = phase + run_control(desc, bufs)
        else:
            kernel = kernel_at(number >> 1)
            if parallel and tasks > 1 and number & 1 == 0:
                ptr[job] = kernel
                ptr[job + 8] = desc
                call(void, parallel, context, SIZE(tasks), task, job)
            else:
                index = 0
                while index < tasks:
                    call(void, kernel, desc, bufs, index, status)
                    index += 1
            if i64[status] != 0:
                break
    return i32(i64[status])

def task(job: ptr, index: SIZE):
    """One task of a phase, on whatever thread."""
    control = fp_control()
    if control != FP_DEFAULT:
        fp_set_control(FP_DEFAULT)
    call(void, ptr[job], ptr[job + 8], ptr[job + 16], u64(index), ptr[job + 24])
    if control != FP_DEFAULT:
        fp_set_control(control)

def status_text(status: i64) -> ptr:
    """The sentence of a status: they lie one behind the other."""
    if status >= STATUS_BAD_DIM:
        status = STATUSES + 1
    elif status >= STATUSES or status < 0:
        status = STATUSES
    text = texts
    while status > 0:
        while i8[text] != 0:
            text = text + 1
        text = text + 1
        status -= 1
    return text
'''

# Kernels are found by their distances from a table, so that nothing has to be written when the library is
# loaded; in WebAssembly by their numbers.
NEAR = '''
@inline
def kernel_at(number: i64) -> ptr:
    at = kernels + (number << 2)
    return kernels + i64(i32[at])
'''
NUMBERED = '''
@inline
def kernel_at(number: i64) -> ptr:
    return ptr[kernels + (number << 2)]
'''
