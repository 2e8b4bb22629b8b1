"""Special functions of one or two numbers, element by element: one line each, as in `pointwise`."""

from __future__ import annotations

import math
from typing import Any

from fanal.core.dispatch import bind
from fanal.core.errors import message
from fanal.ops import special_records as s
from fanal.ops import transcendental as t
from fanal.ops.composite import composite
from fanal.ops.formulas import round
from fanal.ops.pointwise import abs as absolute
from fanal.ops.pointwise import (
    atanh,
    bessel_j0,
    bessel_j1,
    bessel_y0,
    bessel_y1,
    binary,
    digamma,
    eq,
    erf,
    erfc,
    erfinv,
    exp2,
    expm1,
    gammainc,
    gammaincc,
    gt,
    i0,
    i0e,
    i1,
    i1e,
    lgamma,
    log,
    log1p,
    log_ndtr,
    lt,
    ndtri,
    sigmoid,
    sin,
    unary,
    where,
    zeta,
)
from fanal.ops.promotion import cast, constant, to_float

gammaln, psi, expit = lgamma, digamma, sigmoid
modified_bessel_i0, modified_bessel_i1 = i0, i1

ndtr = unary(s.ndtr_p, "ndtr", "Standard normal distribution function.", "float")
erfcx = unary(s.erfcx_p, "erfcx", "e^(x²)·erfc(x), without underflow for large x.", "float")
entr = unary(s.entr_p, "entr", "-x·log(x); 0 at 0, -inf below.", "float")
sinc = unary(s.sinc_p, "sinc", "sin(πx)/(πx); 1 at 0.", "float")
trigamma = unary(s.trigamma_p, "trigamma", "Second derivative of lgamma.", "float")
airy_ai = unary(s.airy_ai_p, "airy_ai", "Airy function Ai; not differentiable.", "float")
modified_bessel_k0 = unary(
    s.k0_p, "modified_bessel_k0", "Modified Bessel function K₀; inf at 0, NaN below.", "float"
)
modified_bessel_k1 = unary(
    s.k1_p, "modified_bessel_k1", "Modified Bessel function K₁; inf at 0, NaN below.", "float"
)
scaled_modified_bessel_k0 = unary(
    s.k0e_p, "scaled_modified_bessel_k0", "eˣ·K₀(x); inf at 0, NaN below.", "float"
)
scaled_modified_bessel_k1 = unary(
    s.k1e_p, "scaled_modified_bessel_k1", "eˣ·K₁(x); inf at 0, NaN below.", "float"
)
xlogy = binary(s.xlogy_p, "xlogy", "input·log(other), 0 where input is 0.", "float")
xlog1py = binary(s.xlog1py_p, "xlog1py", "input·log(1 + other), 0 where input is 0.", "float")


@composite
def logit(input: Any, eps: float | None = None) -> Any:
    """log(x / (1 - x)), x first held within [eps, 1 - eps] if eps is given."""
    x = cast(input, to_float(input.dtype))
    if eps is not None:
        x = where(lt(x, eps), eps, where(gt(x, 1 - eps), 1 - eps, x))
    # Outside of [0, 1] there is no value, and no derivative either.
    x = x * where(lt(x, 0.0) | gt(x, 1.0), constant(math.nan, x.dtype), 1.0)
    # Near ½ the quotient is near 1 and its logarithm inexact; there 2x - 1 is exact.
    middle = lt(absolute(x - 0.5), 0.25)
    inner = where(middle, x, 0.5)
    outer = where(middle, 0.25, x)
    return where(middle, atanh(inner * 2 - 1) * 2, log(outer / (1 - outer)))


@composite
def spherical_bessel_j0(input: Any) -> Any:
    """sin(x)/x: the spherical Bessel function of order 0; 1 at 0."""
    x = cast(input, to_float(input.dtype))
    near = lt(absolute(x), 0.5)
    safe, small = where(near, 1.0, x), where(near, x, 0.0)
    series, square = constant(1.0, x.dtype, x.shape), small * small
    for k in (6, 5, 4, 3, 2, 1):
        series = 1 - series * square / float(2 * k * (2 * k + 1))
    far = where(eq(absolute(x), math.inf), 0.0, sin(safe) / safe)
    return where(near, series, far)


def polygamma(n: int, input: Any) -> Any:
    """Derivative of order n ≥ 0 of digamma: (-1)^(n+1)·n!·ζ(n + 1, x)."""
    if n < 0:
        raise RuntimeError(message("polygamma", "a negative order", n, "n ≥ 0"))
    if n < 2:
        return trigamma(input) if n else digamma(input)
    return _polygamma(input, n)


@composite
def _polygamma(input: Any, n: int) -> Any:
    x = cast(input, to_float(input.dtype))
    sign = 1.0 if n % 2 else -1.0
    value = bind(t.zeta_p, constant(n + 1, x.dtype, x.shape), x)
    # n! beyond the dtype's range is put on in two factors.
    first = min(n, 20)
    rest = math.exp(math.lgamma(n + 1) - math.lgamma(first + 1)) if n < 190 else math.inf
    return value * (sign * math.factorial(first)) * rest


def multigammaln(a: Any, p: int) -> Any:
    """Logarithm of the multivariate gamma function of dimension p ≥ 1."""
    if p < 1:
        raise RuntimeError(message("mvlgamma", "the dimension is not positive", p, "p ≥ 1"))
    return _multigammaln(a, p)


@composite
def _multigammaln(a: Any, p: int) -> Any:
    x = cast(a, to_float(a.dtype))
    total = constant(p * (p - 1) / 4 * math.log(math.pi), x.dtype)
    for i in range(p):
        total = total + lgamma(x - i / 2)
    return total


__all__ = [
    "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "digamma", "entr", "erf", "erfc",
    "erfcx", "erfinv", "exp2", "expit", "expm1", "gammainc", "gammaincc", "gammaln", "i0", "i0e",
    "i1", "i1e", "log1p", "log_ndtr", "logit", "modified_bessel_i0", "modified_bessel_i1",
    "modified_bessel_k0", "modified_bessel_k1", "multigammaln", "ndtr", "ndtri", "polygamma", "psi",
    "round", "scaled_modified_bessel_k0", "scaled_modified_bessel_k1", "sinc",
    "spherical_bessel_j0", "xlog1py", "xlogy", "zeta",
]  # fmt: skip
