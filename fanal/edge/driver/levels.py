"""Which instruction-set level the processor and the system have."""

# The features that the levels x86-64-v3 and v4 consist of, as far as compilers make use of them, and
# whether the system keeps their registers.
X86_LEVEL = '''
def cpu_level() -> i32:
    words = buffer(16)
    cpuid(0, 0, words)
    if u64(i32[words]) < 7:
        return 0
    cpuid(1, 0, words)
    if u64(i32[words + 8]) & V3_FEATURES_1 != V3_FEATURES_1:
        return 0
    kept = u64(xgetbv())
    if kept & 6 != 6:
        return 0
    cpuid(u32_extended(), 0, words)
    if u64(i32[words + 8]) & 32 == 0:
        return 0
    cpuid(7, 0, words)
    found = u64(i32[words + 4])
    if found & V3_FEATURES_7 != V3_FEATURES_7:
        return 0
    if found & V4_FEATURES_7 != V4_FEATURES_7 or kept & 0xE6 != 0xE6:
        return 1
    return 2

@inline
def u32_extended() -> i32:
    return i32(i64(0x80000001))
'''
NO_LEVEL = '''
def cpu_level() -> i32:
    return 0
'''


def _bits(*numbers: int) -> int:
    return sum(1 << n for n in numbers)


X86_CONSTANTS = {
    "V3_FEATURES_1": _bits(0, 12, 20, 22, 23, 27, 28, 29),  # sse3 fma sse4.2 movbe popcnt osxsave avx f16c
    "V3_FEATURES_7": _bits(3, 5, 8),  # bmi avx2 bmi2
    "V4_FEATURES_7": _bits(16, 17, 28, 30, 31),  # avx512 f dq cd bw vl
}
# Two functions as the bytes that they are, since LLVM needs an assembler for such instructions:
# cpuid(leaf, part, four words) and the low word of xgetbv(0).
X86_RAW = r"""
define internal void @cpuid(i32 %leaf, i32 %part, ptr %words) #0 noinline prologue [27 x i8]
  c"\53\89\F8\89\F1\49\89\D0\0F\A2\41\89\00\41\89\58\04\41\89\48\08\41\89\50\0C\5B\C3" { unreachable }
define internal i32 @xgetbv() #0 noinline prologue [6 x i8] c"\31\C9\0F\01\D0\C3" { unreachable }
"""
X86_KNOWN = {
    "cpuid": "def cpuid(leaf: i32, part: i32, words: ptr): ...",
    "xgetbv": "def xgetbv() -> i32: ...",
}
