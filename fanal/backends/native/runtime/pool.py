"""The thread pool: one phase's tasks, claimed one at a time by whoever is free.

A phase is published in one word, the *ticket*: the number of tasks left (plus a bias) in its low 48
bits, the number of workers that may take part in the upper 16. Claiming is one atomic decrement; a
claim above the bias is good for a task, and cannot be stale, since the phase ends only when all of its
tasks were reported done. So nobody waits for a worker that has not woken up: the caller does the work
itself. Which task a number names never depends on who runs it, nor do the bits of a result.

Which of the tasks it is: each thread has a *range* of its own, and takes from the others' once that is
empty. Ranges of phases that follow each other name the same part of an image or a matrix, more or less,
so a thread finds in its own cache what it wrote there.

Idle workers spin for about 60 µs and then park on a word of their own. Publishing and parking are
the two halves of Dekker's protocol (each writes its word, then looks at the other's), for which the
atomics must be sequentially consistent. Nothing here is ever freed: a worker may be anywhere.
"""

SOURCE = '''
def pthread_create(thread: ptr, attributes: ptr, start: ptr, argument: ptr) -> i32: ...
def pthread_attr_init(attributes: ptr) -> i32: ...
def pthread_attr_setstacksize(attributes: ptr, size: i64) -> i32: ...
def pthread_attr_setdetachstate(attributes: ptr, state: i32) -> i32: ...
def pthread_attr_destroy(attributes: ptr) -> i32: ...
def pthread_sigmask(how: i32, mask: ptr, old: ptr) -> i32: ...
def sigfillset(mask: ptr) -> i32: ...
def sigdelset(mask: ptr, number: i32) -> i32: ...

pool_threads = zeros(8)             # as set by set_num_threads
pool_started = zeros(8)             # workers that exist
pool_lease = zeros(LINE)            # 0, or the frame address of the run that holds the pool
pool_ticket = zeros(LINE)
pool_pending = zeros(LINE)          # tasks not yet reported done
pool_waiter = zeros(LINE)           # i32: 1 while the caller is parked
pool_failure = zeros(LINE)          # i32 lock, then the lowest task that failed
pool_job = zeros(LINE)              # kernel, desc, bufs, ranges, status of the current phase
pool_ranges = zeros(LINE * (MAX_THREADS + 1))   # the next task, the end: the caller's, each worker's
pool_parked = zeros(LINE * MAX_THREADS)     # i32 each: 1 while that worker is parked

@inline
def tasks_left(ticket: i64) -> i64:
    return (ticket & TICKET_LOW) - TICKET_BIAS

@inline
def may_work(index: i64) -> i1:
    ticket = atomic_load_i64(pool_ticket)
    return tasks_left(ticket) > 0 and index < (ticket >> 48)

def worker_main(argument: ptr) -> ptr:
    index = i64(argument)
    name_thread("fanal worker")
    fp_set_control(FP_DEFAULT)
    spins = 0
    deadline = 0
    while True:
        if may_work(index):
            run_tasks(index + 1)
            spins = 0
            deadline = 0
        else:
            cpu_pause()
            spins += 1
            if spins & 63 == 0:     # the clock costs as much as many a pause
                now = clock_ns()
                if deadline == 0:
                    deadline = now + SPIN_NS
                elif now > deadline:
                    worker_park(index)
                    deadline = 0

@cold
def worker_park(index: i64):
    word = pool_parked + index * LINE
    atomic_store_i32(word, 1)
    if may_work(index):
        atomic_store_i32(word, 0)
        return
    while atomic_load_i32(word) == 1:
        park_wait(word, 1)

@cold
def wake_workers(count: i64):
    """Wake the first `count` workers, as long as there is something left for them to do."""
    index = 0
    while index < count and tasks_left(atomic_load_i64(pool_ticket)) > 0:
        word = pool_parked + index * LINE
        if atomic_load_i32(word) == 1:
            if atomic_swap_i32(word, 0) == 1:
                park_wake(word)
        index += 1

@inline
def next_task(mine: i64) -> i64:
    """The task of a claim: of thread number `mine`'s range, or of the next that has one.

    A worker that was late may have its claim from a phase that is for fewer threads: it has no range."""
    ranges = i64[pool_job + 24]
    index = mine
    if index >= ranges:
        index = 0
    while True:
        place = pool_ranges + index * LINE
        task = atomic_add_i64(place, 1)
        if task < i64[place + 8]:
            return task
        index += 1
        if index == ranges:
            index = 0

def run_tasks(mine: i64):
    """Claim and run tasks until none is left, then report how many were done."""
    status = buffer(16)
    i64[status] = 0
    i64[status + 8] = 0
    done = 0
    while True:
        if tasks_left(atomic_add_i64(pool_ticket, -1)) <= 0:
            break
        task = next_task(mine)
        call(void, ptr[pool_job], ptr[pool_job + 8], ptr[pool_job + 16], task, status)
        done += 1
        if i64[status] != 0:
            report_failure(task, status)
    if done > 0:
        if atomic_add_i64(pool_pending, -done) == done:
            if atomic_load_i32(pool_waiter) == 1:
                if atomic_swap_i32(pool_waiter, 0) == 1:
                    park_wake(pool_waiter)

@cold
def report_failure(task: i64, status: ptr):
    """The failure of the lowest task is the phase's, so that it does not depend on threads."""
    while not atomic_cas_i32(pool_failure, 0, 1):
        cpu_pause()
    if task < i64[pool_failure + 8]:
        i64[pool_failure + 8] = task
        i64[ptr[pool_job + 32]] = i64[status]
        i64[ptr[pool_job + 32] + 8] = i64[status + 8]
    atomic_store_i32(pool_failure, 0)
    i64[status] = 0

@cold
def start_workers(count: i64):
    """Have at least `count` workers, or as many as the system lets us."""
    thread = buffer(16)
    attributes = buffer(256)
    mask = buffer(256)
    old = buffer(256)
    pthread_attr_init(attributes)
    pthread_attr_setstacksize(attributes, STACK_SIZE)
    pthread_attr_setdetachstate(attributes, DETACHED)
    # Signals are Python's business, on its own threads; faults must still reach their thread.
    sigfillset(mask)
    sigdelset(mask, 4)
    sigdelset(mask, 5)
    sigdelset(mask, 6)
    sigdelset(mask, SIGNAL_BUS)
    sigdelset(mask, 8)
    sigdelset(mask, 11)
    pthread_sigmask(SIGNAL_SET_MASK, mask, old)
    while i64[pool_started] < count:
        index = i64[pool_started]
        atomic_store_i32(pool_parked + index * LINE, 0)
        if pthread_create(thread, attributes, worker_main, ptr(index)) != 0:
            i64[pool_threads] = index + 1
            break
        i64[pool_started] = index + 1
    pthread_sigmask(SIGNAL_SET_MASK, old, None)
    pthread_attr_destroy(attributes)

def wait_for_workers():
    spins = 0
    deadline = 0
    while atomic_load_i64(pool_pending) != 0:
        cpu_pause()
        spins += 1
        if spins & 63 == 0:
            now = clock_ns()
            if deadline == 0:
                deadline = now + SPIN_NS
            elif now > deadline:
                atomic_store_i32(pool_waiter, 1)
                if atomic_load_i64(pool_pending) != 0:
                    park_wait(pool_waiter, 1)
                atomic_store_i32(pool_waiter, 0)

def run_parallel(kernel: ptr, desc: ptr, bufs: ptr, tasks: i64, status: ptr):
    """One phase with helpers; the caller holds the lease. `status` is that of the program."""
    helpers = i64[pool_threads] - 1
    if tasks - 1 < helpers:
        helpers = tasks - 1
    if i64[pool_started] < helpers:
        start_workers(helpers)
        if i64[pool_started] < helpers:
            helpers = i64[pool_started]
    ptr[pool_job] = kernel
    ptr[pool_job + 8] = desc
    ptr[pool_job + 16] = bufs
    i64[pool_job + 24] = helpers + 1
    ptr[pool_job + 32] = status
    index = 0
    begin = 0
    while index <= helpers:
        end = tasks * (index + 1) // (helpers + 1)
        atomic_store_i64(pool_ranges + index * LINE, begin)
        i64[pool_ranges + index * LINE + 8] = end
        begin = end
        index += 1
    i64[pool_failure + 8] = TASKS_MAX
    atomic_store_i64(pool_pending, tasks)
    atomic_store_i64(pool_ticket, (helpers << 48) | (tasks + TICKET_BIAS))
    wake_workers(helpers)
    run_tasks(0)
    if atomic_load_i64(pool_pending) != 0:
        wait_for_workers()

def run_alone(kernel: ptr, desc: ptr, bufs: ptr, tasks: i64, status: ptr):
    """One phase on this thread, with the same outcome as `run_parallel`."""
    mine = buffer(16)
    i64[mine] = 0
    i64[mine + 8] = 0
    task = 0
    while task < tasks:
        call(void, kernel, desc, bufs, task, mine)
        if i64[mine] != 0:
            if i64[status] == 0:
                i64[status] = i64[mine]
                i64[status + 8] = i64[mine + 8]
            i64[mine] = 0
        task += 1

def pool_reset():
    """A fresh process, or the child of a fork: there are no workers, and nobody holds the pool."""
    i64[pool_started] = 0
    atomic_store_i64(pool_lease, 0)
    atomic_store_i64(pool_ticket, 0)
    atomic_store_i64(pool_pending, 0)
    atomic_store_i32(pool_waiter, 0)
    atomic_store_i32(pool_failure, 0)
    park_reset()
'''
