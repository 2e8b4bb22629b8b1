"""float16 between memory and registers: by the processor's instruction, else with integers.

No number on the way is subnormal in float32 that is not so in float16, and none is multiplied while
it is: vector instructions of ARMv7 take subnormal numbers for zero.
"""

from __future__ import annotations

from fanal.backends.native.emit.value import V, vector


def half_to_float(x: V) -> V:
    """The bits of float16 numbers as float32 numbers."""
    b = x.b
    if b.target.f16:
        return x.bitcast(vector("half", x.lanes)).cast("fpext", "float")
    bits = x.cast("zext", "i32")
    magnitude = (bits & 0x7FFF) << 13
    exponent = bits & 0x7C00
    # Exponents move by 112. Subnormal numbers become the fraction of 2^-14, which is taken off again.
    small = ((magnitude | (113 << 23)).as_float() - 2.0**-14).bits()
    large = magnitude + b.select(exponent.eq(0x7C00), b.const(bits.type, 224 << 23), 112 << 23)
    return (b.select(exponent.eq(0), small, large) | ((bits & 0x8000) << 16)).as_float()


def float_to_half(x: V) -> V:
    """The bits of the nearest float16 numbers, ties to even."""
    b = x.b
    if b.target.f16:
        return x.cast("fptrunc", "half").bitcast(vector("i16", x.lanes))
    bits = x.bits()
    sign = bits.lshr(16) & 0x8000
    magnitude = bits & 0x7FFFFFFF
    # Normal numbers: round the 13 bits that fall away to nearest even, rebias the exponent.
    odd = magnitude.lshr(13) & 1
    normal = (magnitude + odd + 0xFFF - (112 << 23)).lshr(13)
    # Small numbers: adding 0.5 aligns the fraction so that the addition itself rounds.
    small = (magnitude.as_float() + 0.5).bits() - 0x3F000000
    result = b.select(magnitude.lt(0x38800000), small, normal)
    result = b.select(magnitude.ge(0x477FF000), b.const(bits.type, 0x7C00), result)
    nan = (magnitude.lshr(13) & 0x3FF) | 0x7E00
    result = b.select(magnitude.gt(0x7F800000), nan, result)
    return (result | sign).cast("trunc", "i16")
