"""`fanal.Storage`: the Python object that owns a block of memory, in native code.

It is the smallest thing that can be owned: an address, sizes, a version that views bump on writing,
and either a block of the allocator or a foreign owner (an array, a DLPack capsule) that is kept
alive. It is not tracked by the garbage collector: a cycle through a foreign owner would need an
owner that refers back to its own Storage, which neither NumPy arrays nor capsules do.
"""

SOURCE = '''
storage_type = zeros(8)

@export
def fanal_storage_new(address: ptr, nbytes: i64, capacity: i64, owner: ptr) -> ptr:
    """A new Storage; takes over `owner` (a reference, or null for a block of the allocator)."""
    o = PyObject_Malloc(STORAGE_SIZE)
    if not o:
        return None
    PyObject_Init(o, ptr[storage_type])
    ptr[o + STORAGE_PTR] = address
    i64[o + STORAGE_NBYTES] = nbytes
    i64[o + STORAGE_CAPACITY] = capacity
    i64[o + STORAGE_VERSION] = 0
    i64[o + STORAGE_EXPORTS] = 0
    ptr[o + STORAGE_OWNER] = owner
    ptr[o + STORAGE_WEAKREFS] = None
    return o

@export
def fanal_storage_empty(nbytes: i64) -> ptr:
    """A new Storage of uninitialised memory, or null without a Python error set."""
    capacity = buffer(8)
    block = fanal_alloc(nbytes, capacity)
    if not block:
        return None
    o = fanal_storage_new(block, nbytes, i64[capacity], None)
    if not o:
        fanal_free(block, i64[capacity])
    return o

def storage_dealloc(o: ptr):
    if ptr[o + STORAGE_WEAKREFS]:
        PyObject_ClearWeakRefs(o)
    kind = type_of(o)
    owner = ptr[o + STORAGE_OWNER]
    if owner:
        Py_DecRef(owner)
    else:
        fanal_free(ptr[o + STORAGE_PTR], i64[o + STORAGE_CAPACITY])
    PyObject_Free(o)
    Py_DecRef(kind)

def storage_getbuffer(o: ptr, view: ptr, flags: i32) -> i32:
    code = PyBuffer_FillInfo(view, o, ptr[o + STORAGE_PTR], i64[o + STORAGE_NBYTES], 0, flags)
    if code == 0:
        i64[o + STORAGE_EXPORTS] = i64[o + STORAGE_EXPORTS] + EXPORT
    return code

def storage_releasebuffer(o: ptr, view: ptr):
    i64[o + STORAGE_EXPORTS] = i64[o + STORAGE_EXPORTS] - 1

def records_span(args: ptr, count: i64, size: i64, span: ptr) -> i1:
    """Where the records begin and end that two arguments tell, an address and a number."""
    if count != 2 or not int_word(ptr[args], span) or not int_word(ptr[args + 8], span + 8):
        refuse_records()
        return False
    i64[span + 8] = i64[span] + i64[span + 8] * size
    return True

def py_note_contents(module: ptr, args: ptr, count: i64) -> ptr:
    """Fill in records {a Storage's address, version, exports}."""
    span = buffer(16)
    if not records_span(args, count, 24, span):
        return None
    at = ptr[span]
    end = ptr[span + 8]
    while at < end:
        o = ptr[at]
        i64[at + 8] = i64[o + STORAGE_VERSION]
        i64[at + 16] = i64[o + STORAGE_EXPORTS]
        at = at + 24
    return none()

def py_same_contents(module: ptr, args: ptr, count: i64) -> ptr:
    """Whether nobody can have written to the Storages of such records since."""
    span = buffer(16)
    if not records_span(args, count, 24, span):
        return None
    return PyBool_FromLong(i64(contents_same(ptr[span], ptr[span + 8])))

def contents_same(at: ptr, end: ptr) -> i1:
    same = 1
    while at < end:
        o = ptr[at]
        exports = i64[o + STORAGE_EXPORTS]
        if i64[o + STORAGE_VERSION] != i64[at + 8] or exports != i64[at + 16]:
            same = 0
        if exports & EXPORTED != 0:
            same = 0
        at = at + 24
    return same != 0

def py_same_words(module: ptr, args: ptr, count: i64) -> ptr:
    """Whether memory holds what records {address, word} say."""
    span = buffer(16)
    if not records_span(args, count, 16, span):
        return None
    return PyBool_FromLong(i64(words_same(ptr[span], ptr[span + 8])))

def words_same(at: ptr, end: ptr) -> i1:
    same = 1
    while at < end:
        if i64[ptr[at]] != i64[at + 8]:
            same = 0
        at = at + 16
    return same != 0

@cold
def refuse_records() -> ptr:
    if PyErr_Occurred() != None:
        return None
    return PyErr_Format(ptr[PyExc_TypeError],
        "[contents] expected 2 arguments: the address of the records and their number.")

@cold
def refuse_memory(request: ptr) -> ptr:
    return PyErr_Format(
        ptr[PyExc_MemoryError],
        "[empty] could not allocate memory: got a request of %S bytes; expected a size that the "
        "system can give. Free tensors, use a smaller batch, or call empty_cache().",
        request)

@cold
def refuse_type(text: ptr, o: ptr) -> ptr:
    return PyErr_Format(ptr[PyExc_TypeError], text, type_name(o))

def storage_empty_of_index(request: ptr) -> ptr:
    """`empty` of anything that can stand for an integer."""
    overflow = buffer(4)
    index = PyNumber_Index(request)
    if not index:
        PyErr_Clear()
        return refuse_type("[empty] nbytes: expected an int, got %.200s.", request)
    nbytes = PyLong_AsLongLongAndOverflow(index, overflow)
    o = ptr(None)
    if i32[overflow] == 0 and nbytes >= 0:
        o = fanal_storage_empty(nbytes)
    if not o:
        refuse_memory(index)
    Py_DecRef(index)
    return o

def py_empty(module: ptr, request: ptr) -> ptr:
    if type_of(request) != PyLong_Type:
        return storage_empty_of_index(request)
    overflow = buffer(4)
    nbytes = PyLong_AsLongLongAndOverflow(request, overflow)
    if i32[overflow] == 0 and nbytes >= 0:
        o = fanal_storage_empty(nbytes)
        if o:
            return o
    return refuse_memory(request)

def py_wrap(module: ptr, args: ptr, count: i64) -> ptr:
    if count != 3:
        return PyErr_Format(ptr[PyExc_TypeError],
            "[wrap] expected 3 arguments (address, nbytes, owner), got %zd.", count)
    word = buffer(16)
    if not int_word(ptr[args], word) or not int_word(ptr[args + 8], word + 8):
        return None
    if i64[word + 8] < 0:
        return PyErr_Format(ptr[PyExc_ValueError],
            "[wrap] nbytes: expected 0 or more, got %lld.", i64[word + 8])
    owner = ptr[args + 16]
    Py_IncRef(owner)
    o = fanal_storage_new(ptr[word], i64[word + 8], i64[word + 8], owner)
    if not o:
        Py_DecRef(owner)
        return PyErr_Format(ptr[PyExc_MemoryError], "[wrap] out of memory.")
    i64[o + STORAGE_EXPORTS] = EXPORT       # its owner may write to it
    return o
'''
