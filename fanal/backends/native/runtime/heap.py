"""The heap for blocks above 4 KiB: good fit in O(1), with free neighbours merged at once.

It is the two-level segregated fit of Masmano et al. (ECRTS 2004): free extents hang in lists by
size, 32 to a doubling, two levels of bitmaps find the next list that is not empty. Merging is what
keeps peak memory down: on allocation traces of ResNet-18 and GPT training steps the heap spreads
over 1.01 to 1.07 times what is in use at the peak, without one system call after the first step.

An extent is a 64-byte header and the block behind it; headers stay intact while a block is free.
Extents tile a region of address space up to `heap_top`; what lies above is untouched, so costs
nothing. When the heap has to spread while much of it is free, whole pages of free extents are
given back first (`keep_peak`), so fragmentation cannot raise the peak of resident memory for long.
"""

SOURCE = '''
heap_lists = zeros(HEAP_LEVELS * 32 * 8)    # the newest free extent of each list
heap_levels = zeros(8)                      # bit l: some list of level l is not empty
heap_steps = zeros(HEAP_LEVELS * 8)         # bit s of word l: list (l, s) is not empty
heap_top = zeros(8)                         # where untouched memory begins ...
heap_end = zeros(8)                         # ... and ends
heap_last = zeros(8)                        # size of the extent that ends at heap_top, or 0
heap_used = zeros(8)                        # bytes in extents that are in use
heap_peak = zeros(8)                        # the most that heap_used was
heap_spread = zeros(8)                      # bytes in all extents
heap_clean = zeros(8)                       # bytes of free extents that hold no memory
heap_reserved = zeros(8)                    # bytes of address space

@inline
def list_of(size: i64) -> i64:
    log = 63 - leading_zeros(size)
    return (log - HEAP_LOG_MIN) * 32 + ((size >> (log - 5)) & 31)

@inline
def extent_after(e: ptr) -> ptr:
    return e + i64[e + EXTENT_SIZE]

def list_add(e: ptr):
    kind = list_of(i64[e + EXTENT_SIZE])
    follower = ptr[heap_lists + (kind << 3)]
    i64[e + EXTENT_FREE] = 1
    ptr[e + EXTENT_NEXT] = follower
    ptr[e + EXTENT_PREVIOUS] = None
    if follower:
        ptr[follower + EXTENT_PREVIOUS] = e
    ptr[heap_lists + (kind << 3)] = e
    i64[heap_levels] |= i64(1) << (kind >> 5)
    i64[heap_steps + (kind >> 5 << 3)] |= i64(1) << (kind & 31)
    i64[heap_clean] += i64[e + EXTENT_CLEAN]

def list_remove(e: ptr):
    follower = ptr[e + EXTENT_NEXT]
    previous = ptr[e + EXTENT_PREVIOUS]
    i64[e + EXTENT_FREE] = 0
    i64[heap_clean] -= i64[e + EXTENT_CLEAN]
    if follower:
        ptr[follower + EXTENT_PREVIOUS] = previous
    if previous:
        ptr[previous + EXTENT_NEXT] = follower
        return
    kind = list_of(i64[e + EXTENT_SIZE])
    ptr[heap_lists + (kind << 3)] = follower
    if not follower:
        steps = heap_steps + (kind >> 5 << 3)
        i64[steps] &= ~(i64(1) << (kind & 31))
        if i64[steps] == 0:
            i64[heap_levels] &= ~(i64(1) << (kind >> 5))

def find(size: i64) -> ptr:
    """A free extent of at least `size` bytes that is hardly larger than any other, or null."""
    kind = list_of(size)
    best = ptr(None)
    e = ptr[heap_lists + (kind << 3)]
    tries = 0
    while e != None and tries < 16:     # the list of `size` itself also holds smaller ones
        have = i64[e + EXTENT_SIZE]
        if have == size:
            return e
        if have > size:
            if best == None:
                best = e
            elif have < i64[best + EXTENT_SIZE]:
                best = e
        e = ptr[e + EXTENT_NEXT]
        tries += 1
    if best:
        return best
    kind += 1
    level = kind >> 5
    steps = i64[heap_steps + (level << 3)] >> (kind & 31) << (kind & 31)
    if steps == 0:
        levels = i64[heap_levels] >> (level + 1) << (level + 1)
        if levels == 0:
            return None
        level = trailing_zeros(levels)
        steps = i64[heap_steps + (level << 3)]
    return ptr[heap_lists + ((level * 32 + trailing_zeros(steps)) << 3)]

@cold
def heap_alloc(nbytes: i64) -> ptr:
    """The header of an extent in use whose block has at least `nbytes`, or null."""
    size = (nbytes + (EXTENT_HEADER + 63)) & -64
    e = find(size)
    if e:
        clean = i64[e + EXTENT_CLEAN]
        list_remove(e)
        if clean > 0:
            keep_peak(clean if clean < size else size)
        split(e, size)
    else:
        e = spread(size)
        if not e:
            return None
    used = i64[heap_used] + i64[e + EXTENT_SIZE]
    i64[heap_used] = used
    if used > i64[heap_peak]:
        i64[heap_peak] = used
    return e

@cold
def heap_free(e: ptr):
    """Give an extent back, merged with its free neighbours."""
    i64[heap_used] -= i64[e + EXTENT_SIZE]
    i64[e + EXTENT_CLEAN] = 0
    before = i64[e + EXTENT_BEFORE]
    if before:
        previous = e - before
        if i64[previous + EXTENT_FREE]:
            list_remove(previous)
            absorb(previous, e)
            e = previous
    after = extent_after(e)
    if after != ptr[heap_top]:
        if i64[after + EXTENT_FREE]:
            list_remove(after)
            absorb(e, after)
    list_add(e)

@inline
def absorb(e: ptr, after: ptr):
    i64[e + EXTENT_SIZE] += i64[after + EXTENT_SIZE]
    i64[e + EXTENT_CLEAN] += i64[after + EXTENT_CLEAN]
    note_size(e)

@inline
def note_size(e: ptr):
    """Tell whatever follows an extent how long it is now."""
    after = extent_after(e)
    if after == ptr[heap_top]:
        i64[heap_last] = i64[e + EXTENT_SIZE]
    else:
        i64[after + EXTENT_BEFORE] = i64[e + EXTENT_SIZE]

@inline
def split(e: ptr, size: i64):
    """Cut an extent that is in no list to `size`; what is left over, if worth it, is free."""
    left = i64[e + EXTENT_SIZE] - size
    if left >= EXTENT_MIN:
        i64[e + EXTENT_SIZE] = size
        rest = e + size
        i64[rest + EXTENT_SIZE] = left
        i64[rest + EXTENT_BEFORE] = size
        clean = i64[e + EXTENT_CLEAN]
        whole = whole_pages(rest)
        i64[rest + EXTENT_CLEAN] = clean if clean < whole else whole
        note_size(rest)
        list_add(rest)

@cold
def spread(size: i64) -> ptr:
    """An extent of `size` bytes that reaches into untouched memory, or null."""
    have = free_below_top()
    if size - have > i64(ptr[heap_end]) - i64(ptr[heap_top]):
        if not new_region(size):
            return None
        have = 0
    keep_peak(size - have)
    e = ptr[heap_top] - have
    if have > 0:
        list_remove(e)
    else:
        i64[e + EXTENT_BEFORE] = i64[heap_last]
        i64[e + EXTENT_FREE] = 0
    i64[e + EXTENT_SIZE] = size
    i64[heap_spread] += size - have
    ptr[heap_top] = e + size
    i64[heap_last] = size
    stat_add(STAT_SPREAD_COUNT, 1)
    return e

def free_below_top() -> i64:
    """The size of a free extent that touches `heap_top`, or 0."""
    last = i64[heap_last]
    if last > 0:
        if i64[ptr[heap_top] - last + EXTENT_FREE]:
            return last
    return 0

def new_region(size: i64) -> i1:
    """Reserve address space, at least for `size`; the old region is closed."""
    least = (size + 2 * HUGE_PAGE) & ~(HUGE_PAGE - 1)
    want = i64[heap_reserved]
    want = want if want > REGION_MIN else REGION_MIN
    want = want if want > least else least
    at = system_reserve(want + HUGE_PAGE)
    while not at and want > least:      # a limit on address space: be modest
        want = (want >> 1) & ~(HUGE_PAGE - 1)
        want = want if want > least else least
        at = system_reserve(want + HUGE_PAGE)
    if not at:
        return False
    if ptr[heap_top]:
        close_region()
    at = at + (-i64(at) & (HUGE_PAGE - 1))
    # The first pages stay small, so that a small program stays small.
    system_use_huge_pages(at + 2 * HUGE_PAGE, want - 2 * HUGE_PAGE)
    ptr[heap_top] = at
    ptr[heap_end] = at + (want - EXTENT_HEADER)
    i64[heap_last] = 0
    i64[heap_reserved] += want
    return True

def close_region():
    """Make what is untouched a free extent, and put a header in use behind it as an end."""
    e = ptr[heap_top]
    left = i64(ptr[heap_end]) - i64(e)
    before = i64[heap_last]
    guard = e
    if left >= EXTENT_MIN:
        i64[e + EXTENT_SIZE] = left
        i64[e + EXTENT_BEFORE] = before
        i64[e + EXTENT_CLEAN] = whole_pages(e)
        i64[heap_spread] += left
        list_add(e)
        before = left
        guard = e + left
    i64[guard + EXTENT_SIZE] = EXTENT_HEADER
    i64[guard + EXTENT_BEFORE] = before
    i64[guard + EXTENT_FREE] = 0

def keep_peak(more: i64):
    """Before `more` bytes are touched: free pages may be kept within the peak, a bit more at most."""
    used = i64[heap_used] + more
    high = i64[heap_peak]
    high = used if used > high else high
    release(high + (high >> 5) + HEAP_SLACK - used)

def held_free() -> i64:
    """Bytes of free extents that may hold memory."""
    return i64[heap_spread] - i64[heap_used] - i64[heap_clean]

def release(limit: i64):
    """Give pages of free extents back, the largest first, until they hold `limit` at most."""
    kind = HEAP_LEVELS * 32 - 1
    least = list_of(2 * HUGE_PAGE)
    while kind >= least and held_free() > limit:
        e = ptr[heap_lists + (kind << 3)]
        while e != None and held_free() > limit:
            release_extent(e)
            e = ptr[e + EXTENT_NEXT]
        kind -= 1

@inline
def first_page(e: ptr) -> i64:
    """The address of the first huge page inside an extent, behind its header."""
    return (i64(e) + (EXTENT_HEADER + HUGE_PAGE - 1)) & -HUGE_PAGE

@inline
def whole_pages(e: ptr) -> i64:
    """The bytes of the huge pages that lie inside an extent, header aside."""
    inside = (i64(extent_after(e)) & -HUGE_PAGE) - first_page(e)
    return inside if inside > 0 else 0

def release_extent(e: ptr):
    inside = whole_pages(e)
    if inside > i64[e + EXTENT_CLEAN]:
        system_release(ptr(first_page(e)), inside)
        i64[heap_clean] += inside - i64[e + EXTENT_CLEAN]
        i64[e + EXTENT_CLEAN] = inside
        stat_add(STAT_RELEASE_COUNT, 1)

def heap_shrink():
    """Give back all that can be, and forget the peak."""
    release(0)
    i64[heap_peak] = i64[heap_used]
'''
