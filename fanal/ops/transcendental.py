"""Elementwise primitives of analysis: exponentials, logarithms, circular, hyperbolic, error, gamma
and Bessel functions. References are SciPy's where NumPy has none (tests only)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fanal.core.dispatch import bind
from fanal.ops.primitive import FLOATS, Primitive, elementwise


def _scipy(name: str) -> Callable[..., Any]:
    def reference(*xs: Any) -> Any:
        from scipy import special  # an extra of the tests

        return getattr(special, name)(*xs)

    return reference


def _unary(
    name: str, reference: Callable[..., Any], partial: Callable[..., Any] | None, **fields: Any
) -> Primitive:
    partials = None if partial is None else lambda x, y: (partial(x, y),)
    return elementwise(name, reference, arity=1, dtypes_=FLOATS, partials=partials, **fields)


def _sqrt(v: Any) -> Any:
    return bind(sqrt_p, v)


def _log1pexp_sigmoid(x: Any) -> Any:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


_TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)

sqrt_p = _unary("sqrt", np.sqrt, lambda x, y: 0.5 / y, domain=(0.1, 4), doc="√x")
rsqrt_p = _unary(
    "rsqrt", lambda x: 1 / np.sqrt(x), lambda x, y: -0.5 * y / x, domain=(0.1, 4), ulp=2,
    doc="1/√x",
)  # fmt: skip
exp_p = _unary("exp", np.exp, lambda x, y: y, ulp=2, doc="eˣ")
exp2_p = _unary("exp2", np.exp2, lambda x, y: y * math.log(2), ulp=2, doc="2ˣ")
expm1_p = _unary("expm1", np.expm1, lambda x, y: y + 1, ulp=2, doc="eˣ - 1")
log_p = _unary("log", np.log, lambda x, y: 1 / x, domain=(0.1, 4), ulp=2, doc="natural logarithm")
log2_p = _unary(
    "log2", np.log2, lambda x, y: 1 / (x * math.log(2)), domain=(0.1, 4), ulp=2, doc="log₂ x"
)
log10_p = _unary(
    "log10", np.log10, lambda x, y: 1 / (x * math.log(10)), domain=(0.1, 4), ulp=2, doc="log₁₀ x"
)
log1p_p = _unary(
    "log1p", np.log1p, lambda x, y: 1 / (1 + x), domain=(-0.9, 4), ulp=2, doc="log(1 + x)"
)
sin_p = _unary("sin", np.sin, lambda x, y: bind(cos_p, x), ulp=2, doc="sin x")
cos_p: Primitive = _unary("cos", np.cos, lambda x, y: -bind(sin_p, x), ulp=2, doc="cos x")
tan_p = _unary("tan", np.tan, lambda x, y: 1 + y * y, domain=(-1.4, 1.4), ulp=2, doc="tan x")
asin_p = _unary(
    "asin", np.arcsin, lambda x, y: 1 / _sqrt(1 - x * x), domain=(-0.9, 0.9), ulp=2, doc="arcsin x"
)
acos_p = _unary(
    "acos", np.arccos, lambda x, y: -1 / _sqrt(1 - x * x), domain=(-0.9, 0.9), ulp=2, doc="arccos x"
)
atan_p = _unary("atan", np.arctan, lambda x, y: 1 / (1 + x * x), ulp=2, doc="arctan x")
sinh_p = _unary("sinh", np.sinh, lambda x, y: bind(cosh_p, x), ulp=2, doc="sinh x")
cosh_p: Primitive = _unary("cosh", np.cosh, lambda x, y: bind(sinh_p, x), ulp=2, doc="cosh x")
tanh_p = _unary("tanh", np.tanh, lambda x, y: 1 - y * y, ulp=2, doc="tanh x")
asinh_p = _unary("asinh", np.arcsinh, lambda x, y: 1 / _sqrt(1 + x * x), ulp=2, doc="arsinh x")
acosh_p = _unary(
    "acosh", np.arccosh, lambda x, y: 1 / _sqrt(x * x - 1), domain=(1.1, 4), ulp=2, doc="arcosh x"
)
atanh_p = _unary(
    "atanh", np.arctanh, lambda x, y: 1 / (1 - x * x), domain=(-0.9, 0.9), ulp=2, doc="artanh x"
)
sigmoid_p = _unary(
    "sigmoid", _log1pexp_sigmoid, lambda x, y: y * (1 - y), ulp=2, doc="1 / (1 + e⁻ˣ)"
)
erf_p = _unary(
    "erf", _scipy("erf"), lambda x, y: _TWO_OVER_ROOT_PI * bind(exp_p, -(x * x)), ulp=2,
    doc="2/√π ∫₀ˣ e^(-t²) dt",
)  # fmt: skip
erfc_p = _unary(
    "erfc", _scipy("erfc"), lambda x, y: -_TWO_OVER_ROOT_PI * bind(exp_p, -(x * x)), ulp=4,
    doc="1 - erf x",
)  # fmt: skip
erfinv_p = _unary(
    "erfinv", _scipy("erfinv"),
    lambda x, y: (math.sqrt(math.pi) / 2) * bind(exp_p, y * y),
    domain=(-0.9, 0.9), ulp=4, doc="the inverse of erf",
)  # fmt: skip
lgamma_p = _unary(
    "lgamma", _scipy("gammaln"), lambda x, y: bind(digamma_p, x), domain=(0.5, 6), ulp=8,
    doc="log |Γ(x)|",
)  # fmt: skip
digamma_p: Primitive = _unary(
    "digamma", _scipy("digamma"), lambda x, y: bind(zeta_p, one_like(x) * 2, x), domain=(0.5, 6),
    ulp=8, doc="Γ'(x) / Γ(x)",
)  # fmt: skip
i0_p = _unary("i0", _scipy("i0"), lambda x, y: bind(i1_p, x), ulp=8, doc="Bessel function I₀")
i0e_p = _unary(
    "i0e", _scipy("i0e"), lambda x, y: bind(i1e_p, x) - _sgn(x) * y, ulp=8, doc="e^(-|x|) I₀(x)"
)
i1_p: Primitive = _unary(
    "i1", _scipy("i1"), lambda x, y: bind(i0_p, x) - _over(y, x), ulp=8, doc="Bessel function I₁"
)
i1e_p: Primitive = _unary(
    "i1e", _scipy("i1e"), lambda x, y: bind(i0e_p, x) - y * _sgn(x) - _over(y, x), ulp=8,
    doc="e^(-|x|) I₁(x)",
)  # fmt: skip
ndtri_p = _unary(
    "ndtri", _scipy("ndtri"),
    lambda x, y: math.sqrt(2 * math.pi) * bind(exp_p, y * y * 0.5),
    domain=(0.05, 0.95), ulp=8, doc="the inverse of the normal distribution function",
)  # fmt: skip
log_ndtr_p = _unary(
    "log_ndtr", _scipy("log_ndtr"),
    lambda x, y: bind(exp_p, x * x * -0.5 - y) * (1 / math.sqrt(2 * math.pi)),
    ulp=8, doc="logarithm of the normal distribution function",
)  # fmt: skip
bessel_j0_p = _unary(
    "bessel_j0", _scipy("j0"), lambda x, y: -bind(bessel_j1_p, x), ulp=16, doc="Bessel function J₀"
)
bessel_j1_p: Primitive = _unary(
    "bessel_j1", _scipy("j1"), lambda x, y: bind(bessel_j0_p, x) - _over(y, x), ulp=16,
    doc="Bessel function J₁",
)  # fmt: skip
bessel_y0_p = _unary(
    "bessel_y0", _scipy("y0"), lambda x, y: -bind(bessel_y1_p, x), ulp=16, domain=(0.5, 6),
    doc="Bessel function Y₀",
)  # fmt: skip
bessel_y1_p: Primitive = _unary(
    "bessel_y1", _scipy("y1"), lambda x, y: bind(bessel_y0_p, x) - y / x, ulp=16, domain=(0.5, 6),
    doc="Bessel function Y₁",
)  # fmt: skip


def one_like(v: Any) -> Any:
    """A graph constant 1 of a value's type."""
    from fanal.ops.arithmetic import one

    return one(v)


def _sgn(v: Any) -> Any:
    from fanal.ops.arithmetic import sign_p

    return bind(sign_p, v)


def _over(y: Any, x: Any) -> Any:
    """y / x where the limit at x = 0 is 1/2 (I₁ and J₁ near zero)."""
    from fanal.ops.arithmetic import eq_p, where_p

    one, zero = one_like(x), one_like(x) * 0.0
    at_zero = bind(eq_p, x, zero)
    return bind(where_p, at_zero, one * 0.5, y / bind(where_p, at_zero, one, x))


def _binary(name: str, reference: Any, partials: Any, **fields: Any) -> Primitive:
    return elementwise(name, reference, arity=2, dtypes_=FLOATS, partials=partials, **fields)


atan2_p = _binary(
    "atan2", np.arctan2,
    lambda a, b, y: (b / (a * a + b * b), -a / (a * a + b * b)),
    ulp=2, doc="the angle of the point (b, a)",
)  # fmt: skip
hypot_p = _binary("hypot", np.hypot, lambda a, b, y: (a / y, b / y), ulp=2, doc="√(a² + b²)")
zeta_p: Primitive = _binary(
    "zeta", _scipy("zeta"), lambda a, b, y: (None, -a * bind(zeta_p, a + 1, b)), ulp=16,
    domain=(1.5, 6), doc="Hurwitz zeta Σ (k + b)^(-a); not differentiable in a",
)  # fmt: skip


def _gamma_density(a: Any, x: Any) -> Any:
    return bind(exp_p, (a - 1) * bind(log_p, x) - x - bind(lgamma_p, a))


gammainc_p = _binary(
    "gammainc", _scipy("gammainc"), lambda a, x, y: (None, _gamma_density(a, x)), ulp=32,
    domain=(0.5, 6), doc="lower incomplete gamma, regularised; not differentiable in a",
)  # fmt: skip
gammaincc_p = _binary(
    "gammaincc", _scipy("gammaincc"), lambda a, x, y: (None, -_gamma_density(a, x)), ulp=32,
    domain=(0.5, 6), doc="upper incomplete gamma, regularised; not differentiable in a",
)  # fmt: skip
