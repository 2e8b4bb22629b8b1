"""lgamma, digamma, trigamma; float32 computes in double with fewer terms.

[½, 16) in pieces (relative accuracy also at the roots 1, 2 and 1.4616), Stirling's series beyond,
one step of the recurrence below ½, and for negative arguments the reflection (DLMF 5.5.3, 5.15.6),
written so that nothing cancels but the function itself:
  log|Γ(-a)| = log π - log a - log|sin πa| - log Γ(a)
  ψ(-a) = ψ(1+a) + π·cot πa,  ψ'(-a) = π²/sin²πa - ψ'(1+a).
Near the roots between negative integers the error is absolute: small against log|Γ(a)| or ψ(a).
"""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.vecmath.coefficients import gamma as table
from fanal.backends.native.vecmath.coefficients.inverse_trigonometric import PI_F64 as PI
from fanal.backends.native.vecmath.core import (
    F32,
    INF,
    NAN,
    choose,
    const,
    format_of,
    horner,
    is_negative_zero_or_less,
    narrow,
    widen,
)
from fanal.backends.native.vecmath.exponential import clamp
from fanal.backends.native.vecmath.extended import (
    Pair,
    add,
    multiply,
    pair_of,
    two_sum,
)
from fanal.backends.native.vecmath.logarithm import log, log_pair
from fanal.backends.native.vecmath.pieces import Rows, evaluate, geometric
from fanal.backends.native.vecmath.trigonometric import half_turns

_LOW, _HIGH = 0.5, 16.0
# Terms that leave 2^-30: pieces are narrow, so coefficients fall fast (less so at lgamma's roots,
# where the anchor is the piece's end).
_SHORT = {"lgamma": 10, "digamma": 10, "trigamma": 8}


def _middle(b: Builder, name: str, rows: Rows, v: V, short: bool) -> V:
    """The function on [½, 16); v beyond gives the end's value."""
    v = clamp(b, v, _LOW, _HIGH - 2.0**-49)
    index = geometric(b, v, _LOW, 3, len(rows))
    return evaluate(b, f"vecmath_{name}", rows, v, index, _SHORT[name] if short else None)


def lgamma_of_one_plus(b: Builder, a: V) -> V:
    """log Γ(1 + a) for double 0 ≤ a ≤ 1, right relative to itself."""
    near = a.lt(0.125)  # the piece that begins at its root 1
    v = clamp(b, a + 1.0, 1.0, 2.0)
    index = geometric(b, v, _LOW, 3, len(table.LGAMMA))
    index = b.select(near, (index & 0) + 8, index)
    return evaluate(b, "vecmath_lgamma", table.LGAMMA, v, index, None, (near, a))


def lgamma(b: Builder, x: V) -> V:
    """log|Γ(x)|; infinite at 0, the negative integers and both infinities."""
    if format_of(x) is F32:
        return narrow(_lgamma(b, widen(x), True))
    return _lgamma(b, x, False)


def _lgamma(b: Builder, x: V, short: bool) -> V:
    a = b.abs(x)
    positive = b.select(a.gt(0.0) & a.lt(INF), a, const(x, 1.0))
    negative = x.lt(0.0)
    small, large = a.lt(_LOW), a.ge(_HIGH)
    middle = _middle(b, "lgamma", table.LGAMMA, b.select(small, a + 1.0, a), short)

    def outside() -> V:
        value = _lgamma_positive(b, positive, middle)
        return choose(
            b, negative, lambda: _lgamma_reflected(b, positive, value), value.hi + value.lo
        )

    y = choose(b, small | large | negative, outside, middle)
    y = b.select(a.eq(0.0), const(x, INF), y)
    return b.select(a.lt(INF), y, a)


def _lgamma_positive(b: Builder, a: V, middle: V) -> Pair:
    """log Γ(a) for a > 0, where `middle` is right between ½ and 16 and log Γ(1+a) below ½."""
    small, large = a.lt(_LOW), a.ge(_HIGH)
    logarithm = log_pair(b, a)
    far = _stirling(b, a, logarithm)
    near = two_sum(-logarithm.hi, middle)
    zero = const(a, 0.0)
    return Pair(
        b.select(large, far.hi, b.select(small, near.hi, middle)),
        b.select(large, far.lo, b.select(small, near.lo - logarithm.lo, zero)),
    )


def _lgamma_reflected(b: Builder, a: V, value: Pair) -> V:
    """log|Γ(-a)| from log Γ(a)."""
    sin, cos, n = half_turns(b, a)
    s = b.abs(b.select((n & 1).ne(0), cos.hi, sin.hi))
    logs = add(log_pair(b, a), log_pair(b, b.select(s.gt(0.0), s, const(a, 1.0))))
    both = add(logs, value)
    total = add(pair_of(a, table.LOG_PI), Pair(-both.hi, -both.lo))
    return b.select(s.gt(0.0), total.hi + total.lo, const(a, INF))


def _stirling(b: Builder, x: V, logarithm: Pair) -> Pair:
    """(x - ½)·(log x - 1) + (log 2π - 1)/2 + S(1/x²)/x for x ≥ 16."""
    inverse = const(x, 1.0) / x
    less = two_sum(logarithm.hi, const(x, -1.0))
    less = Pair(less.hi, less.lo + logarithm.lo)
    main = multiply(b, two_sum(x, const(x, -0.5)), less)
    main = add(main, pair_of(x, table.HALF_LOG_2PI_LESS))
    tail = inverse * horner(b, inverse * inverse, table.STIRLING)
    # Beyond 2^1000 the product may overflow, and its low part is then not a number.
    finite = main.hi.lt(INF) & main.lo.eq(main.lo)
    return Pair(
        b.select(finite, main.hi, x * less.hi), b.select(finite, main.lo + tail, const(x, 0.0))
    )


def digamma(b: Builder, x: V) -> V:
    """ψ(x) = Γ'(x)/Γ(x); ∓∞ at ±0, NaN at the negative integers and -∞."""
    if format_of(x) is F32:
        return narrow(_digamma(b, widen(x), True))
    return _digamma(b, x, False)


def _digamma(b: Builder, x: V, short: bool) -> V:
    a = b.abs(x)
    small, large = a.lt(_LOW), a.ge(_HIGH)
    middle = _middle(b, "digamma", table.DIGAMMA, b.select(small, a + 1.0, a), short)
    inverse = const(x, 1.0) / a

    def far() -> V:
        square = inverse * inverse
        rest = square * horner(b, square, table.DIGAMMA_FAR)
        return (log(b, a) - inverse * 0.5) - rest

    # ψ(a) for a ≥ ½ and ψ(1 + a) below.
    core = choose(b, large, far, middle)

    def reflected() -> V:
        sin, cos, n = half_turns(b, a)
        odd = (n & 1).ne(0)
        below = b.select(odd, cos.hi, sin.hi)
        cotangent = b.select(odd, -sin.hi, cos.hi) / below
        y = b.select(small, core, core + inverse) + cotangent * PI[0]
        return b.select(below.eq(0.0), const(x, NAN), y)

    y = b.select(small, core - inverse, core)
    y = choose(b, is_negative_zero_or_less(x), reflected, y)
    y = b.select(a.eq(0.0), b.copysign(const(x, INF), -x), y)
    return b.select(x.eq(-INF), const(x, NAN), y)


def trigamma(b: Builder, x: V) -> V:
    """ψ'(x); +∞ at 0 and the negative integers."""
    if format_of(x) is F32:
        return narrow(_trigamma(b, widen(x), True))
    return _trigamma(b, x, False)


def _trigamma(b: Builder, x: V, short: bool) -> V:
    a = b.abs(x)
    small, large = a.lt(_LOW), a.ge(_HIGH)
    middle = _middle(b, "trigamma", table.TRIGAMMA, b.select(small, a + 1.0, a), short)
    inverse = const(x, 1.0) / a
    square = inverse * inverse
    rest = b.fma(inverse, horner(b, square, table.TRIGAMMA_FAR), const(x, 0.5))
    core = b.select(large, b.fma(square, rest, inverse), middle)

    def reflected() -> V:
        sin, cos, n = half_turns(b, a)
        s = const(x, PI[0]) / b.select((n & 1).ne(0), cos.hi, sin.hi)
        return s * s - b.select(small, core, core - square)

    y = choose(b, x.lt(0.0), reflected, b.select(small, core + square, core))
    return b.select(x.eq(-INF), const(x, INF), y)
