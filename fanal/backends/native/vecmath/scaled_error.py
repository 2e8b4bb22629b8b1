"""erfcx(x) = e^x²·erfc(x): the tail of the error function without its underflow; float32 in double."""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V
from fanal.backends.native.vecmath.core import INF, choose, const, through_double
from fanal.backends.native.vecmath.error_function import NEAR, erf_near
from fanal.backends.native.vecmath.error_function import erfcx as tail
from fanal.backends.native.vecmath.exponential import clamp, exp
from fanal.backends.native.vecmath.extended import two_product


@through_double
def erfcx(b: Builder, x: V) -> V:
    """e^x²·erfc(x); ∞ below -26.7, 1/(√π·x) far above."""
    a = b.abs(x)
    far = tail(b, clamp(b, b.select(a.lt(NEAR), const(x, NEAR), a), NEAR, 1e60), False)
    # 1/(√π·x) to the last bit long before the clamp.
    large = 0.5641895835477563 / b.select(a.gt(1e10), a, const(x, 1.0))
    y = b.select(a.gt(1e10), large, far.hi + far.lo)

    def with_exponential() -> V:
        limited = clamp(b, x, -27.0, NEAR)
        square = two_product(b, limited, limited)
        grown = exp(b, square.hi)
        grown = b.select(grown.lt(INF), b.fma(grown, square.lo, grown), grown)
        near = grown * (const(x, 1.0) - erf_near(b, clamp(b, x, -NEAR, NEAR), False))
        return b.select(a.lt(NEAR), near, (grown + grown) - y)

    y = choose(b, x.lt(NEAR), with_exponential, y)
    return b.select(x.isnan(), x, y)
