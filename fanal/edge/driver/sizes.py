"""What depends on open sizes: which form is right, how large the arena is, which words follow from sizes."""

# Where sizes are open: the form that is right for them, and its region with everything that follows from sizes.
SIZES = '''
    values = buffer(VALUE_BYTES)
    problem = read_sizes(signature, inputs, values)
    if problem != 0:
        return problem
    program = fitting(program, values)
    if not program:
        return STATUS_SIZES
    region = program + i64[program + PROGRAM_REGION]
    if i64[program + PROGRAM_CODE] != 0:
        if size < i64[values + (i64[program + PROGRAM_TOTAL] << 3)]:
            return STATUS_ARENA
        region = settled(program, values, arena)
        bufs = arena + i64[program + PROGRAM_BUFFERS]
'''
SIZED = '''
def read_sizes(signature: ptr, inputs: ptr, values: ptr) -> i32:
    """Put the sizes of all dimensions among the values: those that a signature takes stand in front of
    its inputs, the others have their least size."""
    index = 0
    while index < DIMS:
        i64[values + (index << 3)] = i64[ranges + (index << 4)]
        index += 1
    count = i64(i32[signature + SIGNATURE_DIMS])
    if count > 0 and not inputs:
        return STATUS_NULL
    index = 0
    while index < count:
        dim = i64(i32[signature + SIGNATURE_DIMS + 4 + (index << 2)])
        n = i64[inputs + (index << 3)]
        if n < i64[ranges + (dim << 4)] or n > i64[ranges + (dim << 4) + 8]:
            return i32(dim + STATUS_BAD_DIM)
        i64[values + (dim << 3)] = n
        index += 1
    return 0

def fitting(program: ptr, values: ptr) -> ptr:
    """The first form that is right for the sizes, with the values up to its total; or none."""
    while True:
        code = i64[program + PROGRAM_CODE]
        if code == 0:
            return program
        if evaluate(program + code, values, values + 8 * DIMS):
            return program
        following = i64[program + PROGRAM_NEXT]
        if following < 0:
            return None
        program = tables + following

def settled(program: ptr, sizes: ptr, arena: ptr) -> ptr:
    """A copy of the region in the arena, with what follows from sizes."""
    index = 0
    while index < DIMS:
        i64[arena + (index << 3)] = i64[sizes + (index << 3)]
        index += 1
    evaluate(program + i64[program + PROGRAM_CODE], arena, arena + 8 * DIMS)
    evaluate(program + i64[program + PROGRAM_MORE_CODE], arena, arena + (i64[program + PROGRAM_MORE_VALUES] << 3))
    region = arena + i64[program + PROGRAM_COPY]
    words = program + i64[program + PROGRAM_REGION]
    end = i64[program + PROGRAM_REGION_WORDS] << 3
    at = 0
    while at < end:
        i64[region + at] = i64[words + at]
        at += 8
    patch = program + i64[program + PROGRAM_PATCHES]
    count = i64[program + PROGRAM_PATCH_COUNT]
    while count > 0:
        i64[region + (i64(i32[patch]) << 3)] = i64[arena + (i64(i32[patch + 4]) << 3)]
        patch = patch + 8
        count -= 1
    return region

def evaluate(code: ptr, values: ptr, put: ptr) -> i1:
    """Carry out code, appending values; false where a condition does not hold."""
    while True:
        word = i64[code]
        code = code + 8
        operation = word & 255
        if operation == OP_END:
            return True
        if operation == OP_CONST:
            i64[put] = i64[code]
            put = put + 8
            code = code + 8
            continue
        a = i64[values + ((word >> 5) & 0x7FFFFFF8)]
        b = i64[values + ((word >> 36) << 3)]
        if operation >= OP_EQUAL:
            good = a == b
            if operation >= OP_LESS:
                good = a < b
            if good == (operation - OP_EQUAL & 1 != 0):
                return False
            continue
        x = a + b
        if operation == OP_MULTIPLY:
            x = a * b
        elif operation == OP_DIVIDE:
            if b == 0:
                return False
            x = quotient(a, b)
        elif operation == OP_MOST:
            x = a if a > b else b
        elif operation == OP_LEAST:
            x = a if a < b else b
        elif operation > OP_LEAST:
            x = real(operation, a, b)
        i64[put] = x
        put = put + 8

def measured(dims: ptr, n: i64) -> i64:
    """Bytes of arena that each signature has enough with, at each level; or a status, below zero."""
    if n != DIMS:
        return -STATUS_COUNT
    if not dims:
        return -STATUS_NULL
    values = buffer(VALUE_BYTES)
    index = 0
    while index < DIMS:
        x = i64[dims + (index << 3)]
        if x < i64[ranges + (index << 4)] or x > i64[ranges + (index << 4) + 8]:
            return -(index + STATUS_BAD_DIM)
        i64[values + (index << 3)] = x
        index += 1
    most = 0
    signature = signatures
    while signature != signatures + SIGNATURES * SIGNATURE_BYTES:
        level = 0
        while level < LEVELS:
            place = i64(i32[signature + (level << 2)])
            if place >= 0:
                program = fitting(tables + place, values)
                if not program:
                    return -STATUS_SIZES
                bytes = i64[program + PROGRAM_FIXED]
                if i64[program + PROGRAM_CODE] != 0:
                    bytes = i64[values + (i64[program + PROGRAM_TOTAL] << 3)]
                most = bytes if bytes > most else most
            level += 1
        signature = signature + SIGNATURE_BYTES
    return most

def check(dims: ptr, n: i64) -> i32:
    bytes = measured(dims, n)
    if bytes < 0:
        return i32(-bytes)
    return 0

def arena_bytes(dims: ptr, n: i64) -> i64:
    bytes = measured(dims, n)
    return bytes if bytes > 0 else 0
'''
UNSIZED = '''
def check(dims: ptr, n: i64) -> i32:
    if n != 0:
        return STATUS_COUNT
    return 0

def arena_bytes(dims: ptr, n: i64) -> i64:
    return ARENA_BYTES
'''
# Division rounds down. 32-bit processors have no instruction for it, and a library's is not there.
QUOTIENT = '''
def quotient(a: i64, b: i64) -> i64:
    x = a // b
    if a - x * b != 0 and (a < 0) != (b < 0):
        x -= 1
    return x
'''
LONG_QUOTIENT = '''
def quotient(a: i64, b: i64) -> i64:
    over = a if a > 0 else -a
    by = b if b > 0 else -b
    x = 0
    rest = 0
    bit = 63
    while bit >= 0:
        rest = (rest << 1) | ((over >> bit) & 1)
        x = x << 1
        if rest >= by:
            rest = rest - by
            x = x | 1
        bit -= 1
    if (a < 0) != (b < 0):
        x = -x
        if rest != 0:
            x -= 1
    return x
'''
# Reals, by their bits. A number of 64 bits becomes a real in two halves, as no instruction of 32-bit
# processors does it.
REAL_RAW = """
define internal i64 @real(i64 %operation, i64 %a, i64 %b) #0 noinline {
  %x = bitcast i64 %a to double
  %y = bitcast i64 %b to double
  switch i64 %operation, label %whole [
    i64 8, label %sum
    i64 9, label %difference
    i64 10, label %product
    i64 11, label %quotient
    i64 12, label %single
  ]
whole:
  %shifted = ashr i64 %a, 32
  %high = trunc i64 %shifted to i32
  %low = trunc i64 %a to i32
  %upper = sitofp i32 %high to double
  %lower = uitofp i32 %low to double
  %scaled = fmul double %upper, 0x41F0000000000000
  %converted = fadd double %scaled, %lower
  br label %done
sum:
  %s = fadd double %x, %y
  br label %done
difference:
  %d = fsub double %x, %y
  br label %done
product:
  %p = fmul double %x, %y
  br label %done
quotient:
  %q = fdiv double %x, %y
  br label %done
single:
  %narrow = fptrunc double %x to float
  %bits = bitcast float %narrow to i32
  %extended = sext i32 %bits to i64
  ret i64 %extended
done:
  %result = phi double [%converted, %whole], [%s, %sum], [%d, %difference], [%p, %product], [%q, %quotient]
  %out = bitcast double %result to i64
  ret i64 %out
}
"""
REAL_KNOWN = {"real": "def real(operation: i64, a: i64, b: i64) -> i64: ..."}
