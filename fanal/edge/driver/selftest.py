"""Golden cases, run and compared where the library ended up (the file's layout: `edge/golden.py`)."""

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
