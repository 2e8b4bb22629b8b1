"""The caching allocator: 64-byte aligned blocks in size classes, given back in O(1).

A large result that is freed and made again on every call would otherwise fault in its pages each
time. Blocks carry no header (the owner remembers the capacity); free ones hold the list pointers.
Up to 4 KiB they are carved from slabs; up to 1 MiB they come from the C library, above from `mmap`.
Peak memory must not grow for it: before the system is asked for more, the blocks that have been
free the longest go back to it, until all that is held fits into the highest use so far plus a
sixteenth plus 8 MiB. Every call is made with the GIL held, so there is no lock here.
"""

SOURCE = '''
heap_lists = zeros(CLASSES * 8)     # the first free block of each class
heap_oldest = zeros(8)              # free blocks above SMALL_MAX, oldest first ...
heap_newest = zeros(8)              # ... to the newest
heap_slab = zeros(16)               # where to carve next, and the end of that slab
heap_stats = zeros(STAT_COUNT * 8)
heap_high = zeros(16)               # bytes in use above SMALL_MAX: now, and at most so far

# A free block above SMALL_MAX: next and previous of its class, newer and older of all, capacity.
# Small free blocks have only the first of these words.

@inline
def size_class(nbytes: i64) -> i64:
    last = nbytes - 1
    if last < 1024:
        return last >> 6
    log = 63 - leading_zeros(last)
    return 16 + (log - 10) * 8 + ((last >> (log - 3)) - 8)

@inline
def class_capacity(nbytes: i64) -> i64:
    """The bytes of the class of `nbytes`: at most an eighth more than asked, above 1024."""
    last = nbytes - 1
    if last < 1024:
        return (last | 63) + 1
    shift = 60 - leading_zeros(last)
    return ((last >> shift) + 1) << shift

@inline
def stat_add(stat: i64, amount: i64):
    i64[heap_stats + stat] += amount

@inline
def note_alloc(capacity: i64):
    used = i64[heap_stats + STAT_ALLOCATED_BYTES] + capacity
    i64[heap_stats + STAT_ALLOCATED_BYTES] = used
    stat_add(STAT_ALLOC_COUNT, 1)
    if used > i64[heap_stats + STAT_PEAK_BYTES]:
        i64[heap_stats + STAT_PEAK_BYTES] = used

@export
def fanal_alloc(nbytes: i64, capacity_out: ptr) -> ptr:
    """A block of at least `nbytes` (0 or more), or null; its capacity goes to `capacity_out`."""
    wanted = 1 if nbytes == 0 else nbytes
    if u_greater(wanted, SMALL_MAX):
        return alloc_big(wanted, capacity_out)
    capacity = class_capacity(wanted)
    i64[capacity_out] = capacity
    head = heap_lists + (size_class(wanted) << 3)
    block = ptr[head]
    if block:
        ptr[head] = ptr[block]
        stat_add(STAT_CACHED_BYTES, -capacity)
    else:
        block = carve(capacity)
        if not block:
            return None
    note_alloc(capacity)
    return block

@inline
def u_greater(x: i64, limit: i64) -> i1:
    return x < 0 or x > limit

@export
def fanal_free(block: ptr, capacity: i64):
    stat_add(STAT_ALLOCATED_BYTES, -capacity)
    stat_add(STAT_CACHED_BYTES, capacity)
    stat_add(STAT_FREE_COUNT, 1)
    head = heap_lists + (size_class(capacity) << 3)
    ptr[block] = ptr[head]
    ptr[head] = block
    if capacity > SMALL_MAX:
        free_big(block, capacity)

@cold
def carve(capacity: i64) -> ptr:
    at = ptr[heap_slab]
    if i64(ptr[heap_slab + 8]) - i64(at) < capacity:
        # What is left of the old slab (less than 4 KiB) becomes one free block of its own size.
        left = i64(ptr[heap_slab + 8]) - i64(at)
        if left > 0:
            whole = class_floor(left)
            old = heap_lists + (size_class(whole) << 3)
            ptr[at] = ptr[old]
            ptr[old] = at
            stat_add(STAT_CACHED_BYTES, whole)
        at = system_alloc(SLAB_SIZE, SLAB_SIZE)
        if not at:
            return None
        stat_add(STAT_SYSTEM_ALLOC_COUNT, 1)
        stat_add(STAT_SLAB_BYTES, SLAB_SIZE)
        ptr[heap_slab + 8] = at + SLAB_SIZE
    ptr[heap_slab] = at + capacity
    return at

def class_floor(nbytes: i64) -> i64:
    """The largest capacity of a class that fits into `nbytes`, a multiple of 64."""
    if nbytes <= 1024:
        return nbytes
    shift = 60 - leading_zeros(nbytes)
    return (nbytes >> shift) << shift

@cold
def alloc_big(nbytes: i64, capacity_out: ptr) -> ptr:
    if u_greater(nbytes, REQUEST_MAX):
        return None
    kind = size_class(nbytes)
    block = ptr[heap_lists + (kind << 3)]
    if not block:
        block = ptr[heap_lists + ((kind + 1) << 3)]
    if block:
        capacity = i64[block + 32]
        unlink(block, capacity)
    else:
        capacity = class_capacity(nbytes)
        block = grow(capacity, nbytes)
        if not block:
            return None
    i64[heap_high] += capacity
    if i64[heap_high] > i64[heap_high + 8]:
        i64[heap_high + 8] = i64[heap_high]
    i64[capacity_out] = capacity
    note_alloc(capacity)
    return block

def grow(capacity: i64, nbytes: i64) -> ptr:
    """Fresh memory from the system, after giving back what would make the peak grow."""
    used = i64[heap_high] + capacity
    high = i64[heap_high + 8]
    high = used if used > high else high
    trim(high + (high >> 4) + SLACK - used)
    block = system_alloc(capacity, nbytes)
    if not block:
        trim(0)
        block = system_alloc(capacity, nbytes)
        if not block:
            return None
    stat_add(STAT_SYSTEM_ALLOC_COUNT, 1)
    return block

def big_cached() -> i64:
    return i64[heap_high_cached]

heap_high_cached = zeros(8)         # bytes in free blocks above SMALL_MAX

def trim(limit: i64):
    """Give the blocks that have been free the longest back, until at most `limit` bytes are."""
    while i64[heap_high_cached] > limit and ptr[heap_oldest] != None:
        block = ptr[heap_oldest]
        capacity = i64[block + 32]
        unlink(block, capacity)
        system_free(block, capacity)
        stat_add(STAT_SYSTEM_FREE_COUNT, 1)

@cold
def free_big(block: ptr, capacity: i64):
    """The rest of freeing a block that can go back to the system: `ptr[block]` is already set."""
    follower = ptr[block]
    if follower:
        ptr[follower + 8] = block
    ptr[block + 8] = None
    newest = ptr[heap_newest]
    ptr[block + 16] = None
    ptr[block + 24] = newest
    i64[block + 32] = capacity
    if newest:
        ptr[newest + 16] = block
    else:
        ptr[heap_oldest] = block
    ptr[heap_newest] = block
    i64[heap_high_cached] += capacity
    i64[heap_high] -= capacity

def unlink(block: ptr, capacity: i64):
    """Take a free block above SMALL_MAX out of both of its lists."""
    follower = ptr[block]
    previous = ptr[block + 8]
    newer = ptr[block + 16]
    older = ptr[block + 24]
    if follower:
        ptr[follower + 8] = previous
    if previous:
        ptr[previous] = follower
    else:
        ptr[heap_lists + (size_class(capacity) << 3)] = follower
    if newer:
        ptr[newer + 24] = older
    else:
        ptr[heap_newest] = older
    if older:
        ptr[older + 16] = newer
    else:
        ptr[heap_oldest] = newer
    i64[heap_high_cached] -= capacity
    stat_add(STAT_CACHED_BYTES, -capacity)

def heap_empty():
    """Forget the highest use so far, and give every free block above SMALL_MAX back."""
    trim(0)
    i64[heap_high + 8] = i64[heap_high]
'''
