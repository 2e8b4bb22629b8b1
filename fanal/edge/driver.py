"""What a library consists of besides kernels: the code that runs a table of phases, in the runtime's dialect.

The caller's arena begins with the table of buffers: inputs, outputs, blocks of weights and of state, and
the temporaries behind it. A phase is a kernel and a number of independent tasks, which the caller's
`parallel_for` may share out; loops and branches are entries that the calling thread interprets. All that
is ever written is the arena, the outputs and the state.

Pieces in capitals are constants of the library (`assemble`); SIZE is C's size_t.
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
    if size < i64[program + 16]:
        return STATUS_ARENA
    places = buffer(64)
    ptr[places] = inputs
    ptr[places + 8] = outputs
    ptr[places + 16] = weights
    ptr[places + 24] = state
    ptr[places + 32] = arena
    problem = point_slots(program, places, arena)
    if problem != 0:
        return problem
    control = fp_control()
    if control != FP_DEFAULT:
        fp_set_control(FP_DEFAULT)
    result = run_phases(program, program + i64[program + 32], arena, parallel, context)
    if control != FP_DEFAULT:
        fp_set_control(control)
    return result

def point_slots(program: ptr, places: ptr, slots: ptr) -> i32:
    """Fill the table of buffers. An entry says of which place it is a part, how it has to be aligned,
    and where it lies there: pointers to inputs and outputs lie in the caller's records."""
    if not slots:
        return STATUS_NULL
    if i64(slots) & 63 != 0:
        return STATUS_MISALIGNED
    entry = program + 40
    end = entry + (i64[program] << 3)
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
    phase = program + i64[program + 24]
    end = phase + (i64[program + 8] << 3)
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

# The features that the levels x86-64-v3 and v4 consist of, as far as compilers make use of them, and
# whether the system keeps their registers.
X86_LEVEL = '''
def cpu_level() -> i32:
    words = buffer(16)
    cpuid(0, 0, words)
    if u64(i32[words]) < 7:
        return 0
    cpuid(1, 0, words)
    if u64(i32[words + 8]) & V3_FEATURES_1 != V3_FEATURES_1:
        return 0
    kept = u64(xgetbv())
    if kept & 6 != 6:
        return 0
    cpuid(u32_extended(), 0, words)
    if u64(i32[words + 8]) & 32 == 0:
        return 0
    cpuid(7, 0, words)
    found = u64(i32[words + 4])
    if found & V3_FEATURES_7 != V3_FEATURES_7:
        return 0
    if found & V4_FEATURES_7 != V4_FEATURES_7 or kept & 0xE6 != 0xE6:
        return 1
    return 2

@inline
def u32_extended() -> i32:
    return i32(i64(0x80000001))
'''
NO_LEVEL = '''
def cpu_level() -> i32:
    return 0
'''


def _bits(*numbers: int) -> int:
    return sum(1 << n for n in numbers)


X86_CONSTANTS = {
    "V3_FEATURES_1": _bits(0, 12, 20, 22, 23, 27, 28, 29),  # sse3 fma sse4.2 movbe popcnt osxsave avx f16c
    "V3_FEATURES_7": _bits(3, 5, 8),  # bmi avx2 bmi2
    "V4_FEATURES_7": _bits(16, 17, 28, 30, 31),  # avx512 f dq cd bw vl
}
# Two functions as the bytes that they are, since LLVM needs an assembler for such instructions:
# cpuid(leaf, part, four words) and the low word of xgetbv(0).
X86_RAW = r"""
define internal void @cpuid(i32 %leaf, i32 %part, ptr %words) #0 noinline prologue [27 x i8]
  c"\53\89\F8\89\F1\49\89\D0\0F\A2\41\89\00\41\89\58\04\41\89\48\08\41\89\50\0C\5B\C3" { unreachable }
define internal i32 @xgetbv() #0 noinline prologue [6 x i8] c"\31\C9\0F\01\D0\C3" { unreachable }
"""
X86_KNOWN = {
    "cpuid": "def cpuid(leaf: i32, part: i32, words: ptr): ...",
    "xgetbv": "def xgetbv() -> i32: ...",
}

SELFTEST = '''
@cold
def selftest(golden: ptr, length: i64, arena: ptr, size: i64, weights: ptr, how: ptr, which: ptr) -> i32:
    """Run all cases of a golden file (see `golden.py`); `which` is told the number of the first result
    that differs, counted over all cases."""
    if not golden or not arena:
        return STATUS_NULL
    if i64(golden) & 7 != 0 or i64(arena) & 63 != 0:
        return STATUS_MISALIGNED
    if length < 64 or i64[golden] != GOLDEN_MAGIC or i64[golden + 8] != IDENTITY or i64[golden + 32] > length:
        return STATUS_GOLDEN
    if EMBEDDED:
        weights = weights_data
    level = 0
    if how:
        level = i64(i32[how])
    exact = level == i64[golden + 24]
    case = golden + 64
    left = i64[golden + 16]
    number = 0
    while left > 0:
        scratch = i64[case + 32]
        if size < scratch:
            return STATUS_ARENA
        problem = run_case(golden, case, arena, size, weights, how)
        if problem != 0:
            return problem
        check = case + 64 + ((i64[case + 8] + i64[case + 16]) << 3)
        checks = i64[case + 24]
        while checks > 0:
            if not agrees(golden, check, arena + i64[check], exact):
                if which:
                    SIZE_AT[which] = SIZE(number)
                return STATUS_DIFFERS
            number += 1
            checks -= 1
            check = check + 48
        case = case + i64[case + 40]
        left -= 1
    return 0

def run_case(golden: ptr, case: ptr, arena: ptr, size: i64, weights: ptr, how: ptr) -> i32:
    """Run one case: records of its inputs and outputs are written into the scratch memory that lies in
    front of the arena proper, and so are a copy of the state and the results."""
    scratch = i64[case + 32]
    state = arena + i64[case + 48]
    if HAS_STATE:
        state_init(state, weights)
    given = arena + i64[case + 56]
    words = case + 64
    put = given
    count = i64[case + 8]
    while count > 0:
        i64[put] = i64[words]
        put = put + 8
        words = words + 8
        count -= 1
    count = i64[case + 16]
    while count > 0:
        ptr[put] = golden + i64[words]
        put = put + POINTER
        words = words + 8
        count -= 1
    results = put
    count = i64[case + 24]
    while count > 0:
        ptr[put] = arena + i64[words]
        put = put + POINTER
        words = words + 48
        count -= 1
    signature = signatures + i64[case] * SIGNATURE_BYTES
    return run(signature, given, results, state, arena + scratch, size - scratch, weights, how)

def state_init(state: ptr, weights: ptr):
    """Copy the first contents of the state into a caller's block."""
    if EMBEDDED:
        weights = weights_data
    index = 0
    while index < STATE_BYTES:
        i64[state + index] = i64[weights + STATE_INITIAL + index]
        index += 8

def agrees(golden: ptr, check: ptr, found: ptr, exact: i1) -> i1:
    """Whether a result is what it should be: the same bits, or between two bounds. A check is {place of
    the result, elements, bytes of one, places of the expected ones, of the low and the high bounds}."""
    count = i64[check + 8]
    width = i64[check + 16] & 15
    real = i64[check + 16] > 15
    wanted = golden + i64[check + 24]
    low = golden + i64[check + 32]
    high = golden + i64[check + 40]
    at = 0
    end = count * width
    while at < end:
        x = element(found + at, width, False)
        if exact:
            if x != element(wanted + at, width, False):
                return False
        else:
            x = element(found + at, width, real)
            if x < element(low + at, width, real) or x > element(high + at, width, real):
                return False
        at += width
    return True

def element(at: ptr, width: i64, real: i1) -> i64:
    """An element as a number that is the larger the larger the element is."""
    x = 0
    if width == 1:
        x = i64(i8[at])
    elif width == 2:
        x = i64(i16[at])
    elif width == 4:
        x = i64(i32[at])
    else:
        x = i64[at]
    if real and x < 0:
        x = x ^ (0x7FFFFFFFFFFFFFFF >> (64 - (width << 3)))
    return x
'''
