"""erf: an odd polynomial near zero, elsewhere 1 - 2^Q(|x|) with Q ≈ log2(erfc).

erfc is below 0.21 where the second form begins, so the error of Q (whose last bits weigh less and
less as erfc falls) stays well under half a unit of the result.
"""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.vecmath.coefficients import error_function as table
from fanal.backends.native.vecmath.coefficients import exponential as powers
from fanal.backends.native.vecmath.core import F32, const, format_of, horner, paired, with_sign_of


def erf(b: Builder, x: V) -> V:
    """The error function 2/√π·∫₀ˣ e^-t² dt."""
    f = format_of(x)
    single = f is F32
    a = b.abs(x)
    square = x * x
    near = b.fma(horner(b, square, table.ERF_F32 if single else table.ERF_F64), a, a)
    limit = 3.95 if single else 6.0
    capped = b.select(a.gt(limit), const(a, limit), a)
    exponent = paired(b, capped, table.LOG_ERFC_F32 if single else table.LOG_ERFC_F64)
    magic = f.shifter + f.bias
    shifted = exponent + magic
    r = exponent - (shifted - magic)
    p = b.fma(paired(b, r, table.EXP2_F32 if single else powers.EXP2_F64), r, const(x, 1.0))
    factor = (shifted.bits() << f.mantissa).as_float()
    far = 1.0 - p * factor
    return with_sign_of(b, b.select(a.lt(table.ERF_REACH), near, far), x)
