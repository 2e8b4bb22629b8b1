"""The caching allocator: 64-byte aligned blocks without a trip to the system.

A large result that is freed and made again on every call would otherwise fault in its pages each
time. Up to 4 KiB, blocks come in size classes (64 bytes apart up to 1 KiB, then eight a doubling),
carved from slabs, with a free list each: a few instructions to get or give one. Larger ones come
from the heap (`heap.py`). Whoever holds a block remembers its capacity. Every call is made with the
GIL held, so there is no lock here.
"""

SOURCE = '''
small_lists = zeros(SMALL_CLASSES * 8)      # the newest free block of each class
small_at = zeros(8)                         # where to carve next ...
small_end = zeros(8)                        # ... and where the slab ends
small_free = zeros(8)                       # bytes in the free lists
stats = zeros(STAT_COUNT * 8)

@inline
def size_class(nbytes: i64) -> i64:
    last = nbytes - 1
    if last < 1024:
        return last >> 6
    log = 63 - leading_zeros(last)
    return 16 + (log - 10) * 8 + ((last >> (log - 3)) - 8)

@inline
def class_capacity(nbytes: i64) -> i64:
    """The bytes of the class of `nbytes`: at most an eighth more than asked, above 1 KiB."""
    last = nbytes - 1
    if last < 1024:
        return (last | 63) + 1
    shift = 60 - leading_zeros(last)
    return ((last >> shift) + 1) << shift

@inline
def stat_add(stat: i64, amount: i64):
    i64[stats + stat] += amount

@export
def fanal_alloc(nbytes: i64, capacity_out: ptr) -> ptr:
    """A block of at least `nbytes` (0 or more), or null; its capacity goes to `capacity_out`."""
    wanted = nbytes + i64(nbytes == 0)
    capacity = 0
    if wanted > 0 and wanted <= SMALL_MAX:
        capacity = class_capacity(wanted)
        head = small_lists + (size_class(wanted) << 3)
        block = ptr[head]
        if block:
            ptr[head] = ptr[block]
            i64[small_free] -= capacity
        else:
            block = carve(capacity)
            if not block:
                return None
    else:
        if wanted < 0 or wanted > REQUEST_MAX:
            return None
        e = heap_alloc(wanted)
        if not e:
            return None
        capacity = i64[e + EXTENT_SIZE] - EXTENT_HEADER
        block = e + EXTENT_HEADER
    i64[capacity_out] = capacity
    used = i64[stats + STAT_ALLOCATED_BYTES] + capacity
    i64[stats + STAT_ALLOCATED_BYTES] = used
    stat_add(STAT_ALLOC_COUNT, 1)
    if used > i64[stats + STAT_PEAK_BYTES]:
        i64[stats + STAT_PEAK_BYTES] = used
    return block

@export
def fanal_free(block: ptr, capacity: i64):
    """Give a block back, with the capacity that came with it."""
    stat_add(STAT_ALLOCATED_BYTES, -capacity)
    stat_add(STAT_FREE_COUNT, 1)
    if capacity > SMALL_MAX:
        heap_free(block - EXTENT_HEADER)
    else:
        small_give(block, capacity)

@inline
def small_give(block: ptr, capacity: i64):
    head = small_lists + (size_class(capacity) << 3)
    ptr[block] = ptr[head]
    ptr[head] = block
    i64[small_free] += capacity

@cold
def carve(capacity: i64) -> ptr:
    """A small block that was never used, from the current slab or a new one."""
    at = ptr[small_at]
    left = i64(ptr[small_end]) - i64(at)
    if left < capacity:
        if left > 0:
            small_give(at, class_floor(left))   # the end of the old slab is a block too
        e = heap_alloc(SLAB_SIZE)
        if not e:
            ptr[small_at] = None
            ptr[small_end] = None
            return None
        at = e + EXTENT_HEADER
        ptr[small_end] = at + SLAB_SIZE
        stat_add(STAT_SLAB_BYTES, SLAB_SIZE)
    ptr[small_at] = at + capacity
    return at

def class_floor(nbytes: i64) -> i64:
    """The largest capacity of a class that fits into `nbytes`, a multiple of 64."""
    if nbytes <= 1024:
        return nbytes
    shift = 60 - leading_zeros(nbytes)
    return nbytes >> shift << shift

def update_stats():
    """The statistics that follow from the heap's own counters."""
    i64[stats + STAT_CACHED_BYTES] = i64[small_free] + held_free()
    i64[stats + STAT_HELD_BYTES] = i64[heap_spread] - i64[heap_clean]
    i64[stats + STAT_RESERVED_BYTES] = i64[heap_reserved]
'''
