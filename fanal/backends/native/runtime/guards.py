"""Whether a plan may be carried out again: all that a call read from outside, compared at once.

Objects are compared by identity, since whoever made the plan keeps them alive; where something equal
stands in another's place, Python decides. Nothing here runs any Python code, so what holds, holds
until the caller gives up the GIL. See `layout.py` for what a plan consists of.
"""

SOURCE = '''
@inline
def slot(plan: ptr, o: ptr, place: i64) -> ptr:
    """What stands in a tensor's slot; the plan says where that is."""
    return ptr[o + i64[plan + place]]

@inline
def behind(plan: ptr, section: i64, size: i64) -> ptr:
    """The end of a section with entries of `size` bytes."""
    return ptr[plan + section] + i64[plan + section + 8] * size

def plan_holds(plan: ptr) -> i1:
    """Whether all is as it was; nothing is said about arguments, nor about what is kept."""
    if not words_same(ptr[plan + PLAN_SAME], behind(plan, PLAN_SAME, 16)):
        return False
    check = ptr[plan + PLAN_CHECKS]
    end = behind(plan, PLAN_CHECKS, 32)
    while check < end:
        if not check_holds(plan, i64[check], ptr[check + 8], ptr[check + 16], ptr[check + 24]):
            return False
        check = check + 32
    return True

@inline
def check_holds(plan: ptr, code: i64, a: ptr, b: ptr, c: ptr) -> i1:
    if code == CHECK_ITEM:
        return item_is(a, b, c)
    if code == CHECK_ATTRIBUTE:
        return attribute_is(a, b, c)
    if code == CHECK_LIST:
        return list_is(a, b, i64(c))
    if code == CHECK_DICT:
        return dict_is(a, b, i64(c))
    return gradient_is(plan, a, b)

def item_is(d: ptr, key: ptr, value: ptr) -> i1:
    found = PyDict_GetItemWithError(d, key)
    if found == None and PyErr_Occurred() != None:
        PyErr_Clear()
        return False
    return found == value

def attribute_is(o: ptr, name: ptr, value: ptr) -> i1:
    found = PyObject_GetAttr(o, name)
    if not found:
        PyErr_Clear()
        return value == None
    Py_DecRef(found)
    return found == value

def list_is(l: ptr, at: ptr, count: i64) -> i1:
    if PyList_Size(l) != count:
        return False
    index = 0
    while index < count:
        if PyList_GetItem(l, index) != ptr[at + (index << 3)]:
            return False
        index += 1
    return True

def dict_is(d: ptr, at: ptr, count: i64) -> i1:
    if PyDict_Size(d) != count:
        return False
    position = buffer(8)
    pair = buffer(16)
    i64[position] = 0
    while PyDict_Next(d, position, pair, pair + 8) != 0:
        if ptr[pair] != ptr[at] or ptr[pair + 8] != ptr[at + 8]:
            return False
        at = at + 16
    return True

def gradient_is(plan: ptr, p: ptr, layout: ptr) -> i1:
    g = slot(plan, p, PLAN_GRAD)
    if g == _Py_NoneStruct:
        return layout == None
    if not g or slot(plan, g, PLAN_LAYOUT) != layout:
        return False
    return in_memory(plan, g)

@inline
def in_memory(plan: ptr, t: ptr) -> i1:
    """Whether a tensor's elements exist."""
    storage = slot(plan, t, PLAN_STORAGE)
    if not storage or not slot(plan, t, PLAN_POINTER):
        return False
    return type_of(storage) == ptr[storage_type]

def kept_holds(plan: ptr) -> i1:
    """Whether what the program keeps was made of what is there now."""
    if not i64[plan + PLAN_KEPT]:
        return True
    block = ptr[ptr[plan + PLAN_KEPT]]
    if not block:
        return False
    at = block + BLOCK_RECORDS
    return contents_same(at, at + i64[block] * 24)

def given_fit(plan: ptr, args: ptr, tensors: ptr) -> i1:
    """Whether a call's arguments are of the plan's kind; puts its tensors into an array."""
    entry = ptr[plan + PLAN_GIVEN]
    count = i64[plan + PLAN_GIVEN + 8]
    if PyTuple_Size(args) != count:
        return False
    index = 0
    while index < count:
        o = PyTuple_GetItem(args, index)
        kind = ptr[entry]
        if not kind:
            if o != ptr[entry + 8]:
                return False
        else:
            if type_of(o) != kind:
                return False
            if slot(plan, o, PLAN_LAYOUT) != ptr[entry + 8]:
                return False
            ptr[tensors] = o
            tensors = tensors + 8
        entry = entry + 16
        index += 1
    return True

def tensors_fit(plan: ptr, tensors: ptr, count: i64) -> i1:
    """Whether no argument shares memory with what the call finds by itself."""
    index = 0
    while index < count:
        t = ptr[tensors + (index << 3)]
        if not in_memory(plan, t):
            return False
        if is_known(plan, i64(slot(plan, t, PLAN_STORAGE))):
            return False
        index += 1
    pinned = ptr[plan + PLAN_PINNED]
    end = behind(plan, PLAN_PINNED, 16)
    while pinned < end:
        if slot(plan, ptr[tensors + (i64[pinned] << 3)], PLAN_STORAGE) != ptr[pinned + 8]:
            return False
        pinned = pinned + 16
    return True

@inline
def apart(plan: ptr, tensors: ptr, count: i64) -> i1:
    """Whether no two arguments share memory."""
    index = 1
    while index < count:
        storage = slot(plan, ptr[tensors + (index << 3)], PLAN_STORAGE)
        other = 0
        while other < index:
            if slot(plan, ptr[tensors + (other << 3)], PLAN_STORAGE) == storage:
                return False
            other += 1
        index += 1
    return True

def is_known(plan: ptr, storage: i64) -> i1:
    low = 0
    high = i64[plan + PLAN_KNOWN + 8]
    known = ptr[plan + PLAN_KNOWN]
    while low < high:
        middle = (low + high) >> 1
        if i64[known + (middle << 3)] < storage:
            low = middle + 1
        else:
            high = middle
    if low == i64[plan + PLAN_KNOWN + 8]:
        return False
    return i64[known + (low << 3)] == storage

def py_holds(module: ptr, args: ptr, count: i64) -> ptr:
    word = buffer(8)
    if count != 2:
        return refuse_plan()
    if not int_word(ptr[args], word):
        return None
    plan = ptr[word]
    tensors = buffer(TENSORS_MAX * 8)
    capacity = buffer(8)
    tensors = listed(ptr[args + 8], tensors, capacity)
    if not tensors:
        return None
    answer = 1
    if tensors_fit(plan, tensors, PyList_Size(ptr[args + 8])) and plan_holds(plan):
        answer = 2
        if kept_holds(plan):
            answer = 0
    if i64[capacity] != 0:
        fanal_free(tensors, i64[capacity])
    return PyLong_FromLongLong(answer)

def listed(l: ptr, room: ptr, capacity: ptr) -> ptr:
    """The objects of a list as an array: in `room`, or in memory of its own if they are many."""
    i64[capacity] = 0
    count = PyList_Size(l)
    if count < 0:
        return None
    if count > TENSORS_MAX:
        room = fanal_alloc(count << 3, capacity)
        if not room:
            return PyErr_Format(ptr[PyExc_MemoryError], "[compile] out of memory.")
    index = 0
    while index < count:
        ptr[room + (index << 3)] = PyList_GetItem(l, index)
        index += 1
    return room

@cold
def refuse_plan() -> ptr:
    return PyErr_Format(ptr[PyExc_TypeError], "[compile] wrong number of arguments.")
'''
