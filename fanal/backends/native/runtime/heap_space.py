"""The space that the heap lies in: regions of addresses, and pages that go back to the system.

Address space is reserved a gigabyte or more at a time and costs nothing until it is touched; all
but its first 4 MiB is marked for huge pages. When more of it has to be touched while much of the
heap is free, whole huge pages of free extents are given back first (`keep_peak`): what is held may
exceed the highest use so far by a thirty-second and 4 MiB, plus what fragments finer than 4 MiB.
"""

SOURCE = '''
heap_top = zeros(8)                         # where untouched memory begins ...
heap_end = zeros(8)                         # ... and ends
heap_last = zeros(8)                        # size of the extent that ends at heap_top, or 0
heap_spread = zeros(8)                      # bytes in all extents
heap_clean = zeros(8)                       # bytes of free extents that hold no memory
heap_reserved = zeros(8)                    # bytes of address space

@cold
def spread(size: i64) -> ptr:
    """An extent of `size` bytes that reaches into untouched memory, or null."""
    have = free_below_top()
    if size - have > i64(ptr[heap_end]) - i64(ptr[heap_top]):
        if not new_region(size):
            return None
        have = 0
    e = ptr[heap_top] - have
    if have > 0:
        list_remove(e)
    keep_peak(size - have)
    if have == 0:
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
    """Before `more` bytes are touched: have free extents hold no more than the peak allows."""
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
