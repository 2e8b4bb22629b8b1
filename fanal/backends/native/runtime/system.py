"""What differs between processors and operating systems, as raw LLVM IR chosen by triple.

Four things: how a spinning core is told to relax, how floating-point control is read and set, how a
thread sleeps on a word (a futex on Linux, one mutex and condition variable elsewhere), and how the
system hands out large memory. The rest of the runtime is written once, in the dialect.
"""

from __future__ import annotations

# Default control: round to nearest, no flush to zero, no traps.
_X86 = """
declare void @llvm.x86.sse2.pause()
define internal void @cpu_pause() #0 alwaysinline {
  call void @llvm.x86.sse2.pause()
  ret void
}
"""
_X86_CONTROL = """
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
define internal i64 @fp_control() #0 alwaysinline {
  %at = alloca i32, align 4
  call void @llvm.x86.sse.stmxcsr(ptr %at)
  %word = load i32, ptr %at, align 4
  %control = and i32 %word, 65472 ; the low six bits are sticky results, not control
  %wide = zext i32 %control to i64
  ret i64 %wide
}
define internal void @fp_set_control(i64 %wide) #0 alwaysinline {
  %at = alloca i32, align 4
  %word = trunc i64 %wide to i32
  store i32 %word, ptr %at, align 4
  call void @llvm.x86.sse.ldmxcsr(ptr %at)
  ret void
}
"""
_AARCH64 = """
declare void @llvm.aarch64.hint(i32)
define internal void @cpu_pause() #0 alwaysinline {
  call void @llvm.aarch64.hint(i32 1)
  ret void
}
"""
_AARCH64_CONTROL = """
declare i64 @llvm.aarch64.get.fpcr()
declare void @llvm.aarch64.set.fpcr(i64)
define internal i64 @fp_control() #0 alwaysinline {
  %word = call i64 @llvm.aarch64.get.fpcr()
  ret i64 %word
}
define internal void @fp_set_control(i64 %wide) #0 alwaysinline {
  call void @llvm.aarch64.set.fpcr(i64 %wide)
  ret void
}
"""
_ARM_CONTROL = """
declare i32 @llvm.arm.get.fpscr()
declare void @llvm.arm.set.fpscr(i32)
define internal i64 @fp_control() #0 alwaysinline {
  %word = call i32 @llvm.arm.get.fpscr()
  %control = and i32 %word, 134192896 ; without conditions and sticky results
  %wide = zext i32 %control to i64
  ret i64 %wide
}
define internal void @fp_set_control(i64 %wide) #0 alwaysinline {
  %word = trunc i64 %wide to i32
  call void @llvm.arm.set.fpscr(i32 %word)
  ret void
}
"""
# Of RISC-V there is nothing but the rounding to set (1: to nearest); of WebAssembly nothing at all.
_RISCV_CONTROL = """
declare i32 @llvm.get.rounding()
declare void @llvm.set.rounding(i32)
define internal i64 @fp_control() #0 alwaysinline {
  %word = call i32 @llvm.get.rounding()
  %wide = zext i32 %word to i64
  ret i64 %wide
}
define internal void @fp_set_control(i64 %wide) #0 alwaysinline {
  %word = trunc i64 %wide to i32
  call void @llvm.set.rounding(i32 %word)
  ret void
}
"""
_NO_CONTROL = """
define internal i64 @fp_control() #0 alwaysinline {
  ret i64 0
}
define internal void @fp_set_control(i64 %wide) #0 alwaysinline {
  ret void
}
"""
_CONTROLS = {
    "x86_64": (_X86_CONTROL, 0x1F80),
    "aarch64": (_AARCH64_CONTROL, 0),
    "arm64": (_AARCH64_CONTROL, 0),
    # Its vectors take subnormal numbers for zero and have one NaN. Scalars are told to do so too: else a
    # number's bits would depend on whether it is one of a whole vector.
    "arm": (_ARM_CONTROL, 0x3000000),
    "riscv64": (_RISCV_CONTROL, 1),
    "wasm32": (_NO_CONTROL, 0),
}
_COMMON_IR = """
declare i64 @llvm.ctlz.i64(i64, i1)
define internal i64 @leading_zeros(i64 %x) #0 alwaysinline {
  %n = call i64 @llvm.ctlz.i64(i64 %x, i1 true)
  ret i64 %n
}
declare i64 @llvm.cttz.i64(i64, i1)
define internal i64 @trailing_zeros(i64 %x) #0 alwaysinline {
  %n = call i64 @llvm.cttz.i64(i64 %x, i1 true)
  ret i64 %n
}
"""
# Signatures of the above, for the dialect.
RAW = {
    "cpu_pause": "def cpu_pause(): ...",
    "fp_control": "def fp_control() -> i64: ...",
    "fp_set_control": "def fp_set_control(control: i64): ...",
    "leading_zeros": "def leading_zeros(x: i64) -> i64: ...",
    "trailing_zeros": "def trailing_zeros(x: i64) -> i64: ...",
}

# park_wait returns once the word differs from `expected` (or for no reason: callers look again).
_FUTEX = """
def syscall(number: i64, *rest) -> i64: ...

@cold
def park_wait(word: ptr, expected: i32):
    syscall(SYS_FUTEX, word, FUTEX_WAIT_PRIVATE, u64(expected), 0, 0, 0)

@cold
def park_wake(word: ptr):
    syscall(SYS_FUTEX, word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0)

def park_reset():
    pass

@cold
def name_thread(name: ptr):
    syscall(SYS_PRCTL, 15, name, 0, 0, 0, 0)    # PR_SET_NAME: what debuggers and `top -H` show
"""
_CONDITION = """
def pthread_mutex_init(mutex: ptr, attributes: ptr) -> i32: ...
def pthread_mutex_lock(mutex: ptr) -> i32: ...
def pthread_mutex_unlock(mutex: ptr) -> i32: ...
def pthread_cond_init(condition: ptr, attributes: ptr) -> i32: ...
def pthread_cond_wait(condition: ptr, mutex: ptr) -> i32: ...
def pthread_cond_broadcast(condition: ptr) -> i32: ...

park_mutex = zeros(128)
park_condition = zeros(128)

@cold
def park_wait(word: ptr, expected: i32):
    pthread_mutex_lock(park_mutex)
    while atomic_load_i32(word) == expected:
        pthread_cond_wait(park_condition, park_mutex)
    pthread_mutex_unlock(park_mutex)

@cold
def park_wake(word: ptr):
    pthread_mutex_lock(park_mutex)
    pthread_cond_broadcast(park_condition)
    pthread_mutex_unlock(park_mutex)

def park_reset():
    pthread_mutex_init(park_mutex, null())
    pthread_cond_init(park_condition, null())

def name_thread(name: ptr):
    pass
""".replace("null()", "None")

_LIBC = """
def clock_gettime(clock: i32, result: ptr) -> i32: ...
def mmap(at: ptr, size: i64, protection: i32, flags: i32, file: i32, offset: i64) -> ptr: ...
def madvise(at: ptr, size: i64, advice: i32) -> i32: ...

def clock_ns() -> i64:
    at = buffer(16)
    clock_gettime(CLOCK_MONOTONIC, at)
    return i64[at] * 1000000000 + i64[at + 8]

def system_reserve(size: i64) -> ptr:
    p = mmap(None, size, 3, MAP_FLAGS, -1, 0)
    if i64(p) == -1:
        return None
    return p

def system_release(at: ptr, size: i64):
    madvise(at, size, MADV_RELEASE)
"""
# A matrix multiplication misses the TLB 512 times less on huge pages, and they fault in faster.
_HUGE_PAGES = """
def system_use_huge_pages(at: ptr, size: i64):
    madvise(at, size, MADV_HUGEPAGE)
"""
_NO_HUGE_PAGES = """
def system_use_huge_pages(at: ptr, size: i64):
    pass
"""


def float_control(triple: str) -> tuple[str, dict[str, int]]:
    """(raw IR, constants) of how a processor's floating-point control is read and set."""
    raw, default = next(found for name, found in _CONTROLS.items() if triple.startswith(name))
    return raw, {"FP_DEFAULT": default}


def describe(triple: str) -> tuple[str, str, dict[str, int]]:
    """(raw IR, dialect source, constants) of a target's processor and operating system."""
    if triple.startswith("x86_64"):
        raw, constants = _X86, {"SYS_FUTEX": 202, "SYS_PRCTL": 157}
    elif triple.startswith(("aarch64", "arm64")):
        raw, constants = _AARCH64, {"SYS_FUTEX": 98, "SYS_PRCTL": 167}
    else:
        raise ImportError(
            f"[runtime] no native runtime for this processor: got target {triple}; "
            "expected x86_64 or aarch64."
        )
    if "linux" in triple:
        source = _LIBC + _HUGE_PAGES + _FUTEX
        constants |= {
            "FUTEX_WAIT_PRIVATE": 128,
            "FUTEX_WAKE_PRIVATE": 129,
            "MAP_FLAGS": 0x22,  # MAP_PRIVATE | MAP_ANONYMOUS
            "MADV_HUGEPAGE": 14,
            "MADV_RELEASE": 4,  # MADV_DONTNEED
            "CLOCK_MONOTONIC": 1,
            "SIGNAL_BUS": 7,
            "SIGNAL_SET_MASK": 2,
            "DETACHED": 1,
        }
    else:
        source = _LIBC + _NO_HUGE_PAGES + _CONDITION
        constants |= {
            "MAP_FLAGS": 0x1002,  # MAP_PRIVATE | MAP_ANON
            "MADV_RELEASE": 5,  # MADV_FREE
            "CLOCK_MONOTONIC": 6,
            "SIGNAL_BUS": 10,
            "SIGNAL_SET_MASK": 3,
            "DETACHED": 2,
        }
    control, default = float_control(triple)
    return raw + control + _COMMON_IR, source, constants | default
