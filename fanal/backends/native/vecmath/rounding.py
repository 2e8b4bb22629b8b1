"""floor, ceil, trunc, round (to even), copysign.

Where the processor has no rounding instruction, adding and subtracting 2^mantissa rounds to an
integer (ties to even), and one correction makes floor, ceil and trunc of it.
"""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.target import Target
from fanal.backends.native.vecmath.core import format_of, with_sign_of


def rounds_in_hardware(target: Target) -> bool:
    """Whether `llvm.floor` and its kin are instructions there (SSE4.1, NEON of ARMv8, wasm)."""
    return target.triple.startswith(("aarch64", "arm64", "wasm")) or "avx" in target.features


def _nearest(b: Builder, x: V) -> V:
    """x rounded to an integer, ties to even, with the sign of x."""
    a = b.abs(x)
    large = 2.0 ** format_of(x).mantissa
    return b.select(a.lt(large), with_sign_of(b, (a + large) - large, x), x)


def round_(b: Builder, x: V) -> V:
    """The nearest integer, ties to even."""
    if rounds_in_hardware(b.target):
        return b.intrinsic("nearbyint", x)
    return _nearest(b, x)


def floor(b: Builder, x: V) -> V:
    """The largest integer not above x."""
    if rounds_in_hardware(b.target):
        return b.intrinsic("floor", x)
    n = _nearest(b, x)
    return b.select(n.gt(x), n - 1.0, n)


def ceil(b: Builder, x: V) -> V:
    """The smallest integer not below x; -0 between -1 and 0."""
    if rounds_in_hardware(b.target):
        return b.intrinsic("ceil", x)
    n = _nearest(b, x)
    return b.copysign(b.select(n.lt(x), n + 1.0, n), x)


def trunc(b: Builder, x: V) -> V:
    """The integer part."""
    if rounds_in_hardware(b.target):
        return b.intrinsic("trunc", x)
    a = b.abs(x)
    n = _nearest(b, a)
    return with_sign_of(b, b.select(n.gt(a), n - 1.0, n), x)


def copysign(b: Builder, magnitude: V, sign: V) -> V:
    """|magnitude| with the sign of `sign`."""
    return b.copysign(magnitude, sign)
