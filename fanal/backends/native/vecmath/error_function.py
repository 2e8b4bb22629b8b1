"""erf and erfc.

erf: an odd polynomial near zero, elsewhere 1 - 2^Q(|x|) with Q ≈ log2(erfc). erfc is below 0.21
where the second form begins, so the error of Q (whose last bits weigh less and less as erfc falls)
stays well under half a unit of the result.

erfc: 1 - erf below ½, elsewhere e^-x²·g(t)/(1 + 2x) with t = (x-3)/(x+3), where g varies by 13 %
over all x (after M. Shepherd and J. Laframboise, Math. Comp. 36, 1981); x² is a pair, or its
rounding would be magnified by x².
"""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.vecmath.coefficients import error_function as table
from fanal.backends.native.vecmath.coefficients import exponential as powers
from fanal.backends.native.vecmath.core import (
    F32,
    const,
    format_of,
    horner,
    narrow,
    polynomial,
    widen,
    with_sign_of,
)
from fanal.backends.native.vecmath.exponential import exp_reduced, reduce_exp, scale
from fanal.backends.native.vecmath.extended import Pair, two_product


def erf(b: Builder, x: V) -> V:
    """The error function 2/√π·∫₀ˣ e^-t² dt."""
    f = format_of(x)
    single = f is F32
    a = b.abs(x)
    square = x * x
    near = b.fma(polynomial(b, square, table.ERF_F32 if single else table.ERF_F64), a, a)
    limit = 3.95 if single else 6.0
    capped = b.select(a.gt(limit), const(a, limit), a)
    exponent = polynomial(b, capped, table.LOG_ERFC_F32 if single else table.LOG_ERFC_F64)
    magic = f.shifter + f.bias
    shifted = exponent + magic
    r = exponent - (shifted - magic)
    p = b.fma(polynomial(b, r, table.EXP2_F32 if single else powers.EXP2_F64), r, const(x, 1.0))
    factor = (shifted.bits() << f.mantissa).as_float()
    far = 1.0 - p * factor
    return with_sign_of(b, b.select(a.lt(table.ERF_REACH), near, far), x)


# The polynomial of erf may be used up to here; erfcx begins here.
NEAR = 0.5


def erf_near(b: Builder, x: V, short: bool) -> V:
    """erf(x) for double |x| ≤ 0.9."""
    square = x * x
    coefficients = table.ERF_F32 if short else table.ERF_F64
    return b.fma(horner(b, square, coefficients), x, x)


def erfcx(b: Builder, x: V, short: bool) -> Pair:
    """e^x²·erfc(x) for double x ≥ ½ as a sum (the second part up to an eighth of the first).

    With 1/(1+2x) = w and what its roundings lost, (1 + h)·w = w + (w·h + …).
    """
    one = const(x, 1.0)
    first, second = x + 3.0, b.fma(x, const(x, 2.0), one)
    if short:  # one division for both quotients
        inverse = one / (first * second)
        w = first * inverse
        h = polynomial(b, 1.0 - 6.0 * (second * inverse), table.ERFCX_SHORT)
        return Pair(w, w * h)
    t = 1.0 - 6.0 / first  # (x - 3)/(x + 3), right at infinity too
    w = one / second
    lost = (second - 1.0) - (x + x)  # of the sum; that of the division needs an exact product
    rest = w * lost
    if b.target.fma:
        rest = rest + b.fma(-second, w, one)
    return Pair(w, w * (polynomial(b, t, table.ERFCX_F64) + rest))


def exp_minus(b: Builder, square: Pair, factor: Pair | V) -> V:
    """factor·e^-square for a pair ≥ 0: down to subnormal results."""
    hi = factor.hi if isinstance(factor, Pair) else factor
    f = format_of(hi)
    limited = b.select(square.hi.lt(746.0), square.hi, const(hi, 746.0))
    r, shifted = reduce_exp(b, -limited, 2 * f.bias)
    q = exp_reduced(b, r - square.lo)
    if isinstance(factor, Pair):
        return scale(hi + b.fma(q, hi + factor.lo, factor.lo), shifted)
    return scale(b.fma(q, hi, hi), shifted)


def erfc(b: Builder, x: V) -> V:
    """1 - erf(x); float32 in double."""
    if format_of(x) is F32:
        return narrow(_erfc(b, widen(x), True))
    return _erfc(b, x, False)


def _erfc(b: Builder, x: V, short: bool) -> V:
    a = b.abs(x)
    # Beyond 28 the result is 0 (and a² must not become infinite).
    a = b.select(a.gt(28.0), const(x, 28.0), a)
    near = const(x, 1.0) - erf_near(b, x, short)
    safe = b.select(a.lt(NEAR), const(x, NEAR), a)
    tail = exp_minus(b, two_product(b, safe, safe), erfcx(b, safe, short))
    far = b.select(x.lt(0.0), 2.0 - tail, tail)
    return b.select(b.abs(x).lt(NEAR), near, far)
