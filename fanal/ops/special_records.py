"""Elementwise primitives of `fanal.special` beyond those of analysis: tails, entropies, the Airy and
modified Bessel functions, orthogonal polynomials. References are SciPy's (tests only)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fanal.core.dispatch import bind
from fanal.ops.arithmetic import abs_p, and_p, eq_p, le_p, lt_p, one, trunc_p, where_p
from fanal.ops.primitive import FLOATS, Primitive, elementwise
from fanal.ops.transcendental import cos_p, exp_p, log1p_p, log_p, sin_p, zeta_p


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


ndtr_p = _unary(
    "ndtr", _scipy("ndtr"),
    lambda x, y: bind(exp_p, x * x * -0.5) * (1 / math.sqrt(2 * math.pi)),
    ulp=8, domain=(-1, 4), doc="the standard normal distribution function",
)  # fmt: skip
erfcx_p = _unary(
    "erfcx", _scipy("erfcx"), lambda x, y: x * y * 2 - 2 / math.sqrt(math.pi), ulp=8,
    domain=(-1, 4), doc="e^(x²)·erfc x",
)  # fmt: skip
entr_p = _unary(
    "entr", _scipy("entr"), lambda x, y: -bind(log_p, x) - 1, ulp=8, domain=(0.1, 4),
    doc="-x·log x, 0 at 0, -∞ below",
)  # fmt: skip
trigamma_p = _unary(
    "trigamma", lambda x: _scipy("polygamma")(1, x),
    lambda x, y: bind(zeta_p, one(x) * 3, x) * -2, ulp=8, domain=(0.5, 6), doc="ψ'(x)",
)  # fmt: skip


def _sinc_partial(x: Any, y: Any) -> Any:
    # (cos πx - sinc x)/x cancels near 0: there its series.
    near = bind(lt_p, bind(abs_p, x), one(x) * 0.125)
    safe = bind(where_p, near, one(x), x)
    far = (bind(cos_p, safe * math.pi) - bind(sin_p, safe * math.pi) / (safe * math.pi)) / safe
    square, factors = x * x * math.pi**2, [-1 / 3, 1 / 30, -1 / 840, 1 / 45360, -1 / 3991680]
    series = one(x) * factors[-1]
    for c in reversed(factors[:-1]):
        series = series * square + c
    return bind(where_p, near, series * x * math.pi**2, far)


sinc_p = _unary(
    "sinc", np.sinc, _sinc_partial, ulp=4, domain=(-0.9, 0.9), doc="sin(πx)/(πx), 1 at 0"
)
k0_p = _unary(
    "modified_bessel_k0", _scipy("k0"), lambda x, y: -bind(k1_p, x), ulp=8, domain=(0.2, 6),
    doc="modified Bessel function K₀",
)  # fmt: skip
k1_p: Primitive = _unary(
    "modified_bessel_k1", _scipy("k1"), lambda x, y: -bind(k0_p, x) - y / x, ulp=8,
    domain=(0.2, 6), doc="modified Bessel function K₁",
)  # fmt: skip
k0e_p = _unary(
    "scaled_modified_bessel_k0", _scipy("k0e"), lambda x, y: y - bind(k1e_p, x), ulp=8,
    domain=(0.2, 6), doc="eˣ·K₀(x)",
)  # fmt: skip
k1e_p: Primitive = _unary(
    "scaled_modified_bessel_k1", _scipy("k1e"), lambda x, y: y - bind(k0e_p, x) - y / x, ulp=8,
    domain=(0.2, 6), doc="eˣ·K₁(x)",
)  # fmt: skip
airy_ai_p = _unary(
    "airy_ai", lambda x: _scipy("airy")(x)[0], None, ulp=64, domain=(-1.5, 4),
    doc="the Airy function Ai",
)  # fmt: skip


def _masked_log(x: Any, y: Any, edge: float, logarithm: Any) -> Any:
    """The logarithm; 0 where x is 0 and the logarithm is not finite."""
    zero = one(x) * 0.0
    flat = bind(and_p, bind(eq_p, x, zero), bind(le_p, y, one(y) * edge))
    return bind(where_p, flat, zero, bind(logarithm, bind(where_p, flat, one(y), y)))


xlogy_p = elementwise(
    "xlogy", _scipy("xlogy"), arity=2, dtypes_=FLOATS, domain=(0.1, 4), ulp=4,
    partials=lambda x, y, out: (_masked_log(x, y, 0.0, log_p), x / y),
    doc="x·log y, 0 where x is 0",
)  # fmt: skip
xlog1py_p = elementwise(
    "xlog1py", _scipy("xlog1py"), arity=2, dtypes_=FLOATS, domain=(0.1, 4), ulp=4,
    partials=lambda x, y, out: (_masked_log(x, y, -1.0, log1p_p), x / (y + 1)),
    doc="x·log(1 + y), 0 where x is 0",
)  # fmt: skip


def _polynomial(
    name: str, scipy_name: str, derivative: Callable[[Any, Any, Any], Any] | None = None
) -> Primitive:
    def reference(x: Any, n: Any) -> Any:
        degree = np.trunc(n).astype(np.int64)
        at = 2 * x - 1 if name.startswith("shifted") else x
        value = _scipy(scipy_name)(np.maximum(degree, 0), at)
        return np.where(degree < 0, 0.0, value)

    partials = None
    if derivative is not None:

        def partials(x: Any, n: Any, y: Any) -> Any:
            return derivative(x, bind(trunc_p, n), n - 1), None

    return elementwise(
        name, reference, arity=2, dtypes_=FLOATS, partials=partials, ulp=256, domain=(-1, 3.5),
        smooth=False, doc="orthogonal polynomial of degree n (cut to a whole number) at x",
    )  # fmt: skip


# SciPy has neither V nor W, which are differences and sums of neighbours of U.
def _third(sign: float, shifted: bool) -> Callable[..., Any]:
    def reference(x: Any, n: Any) -> Any:
        u = _scipy("eval_chebyu")
        degree = np.trunc(n).astype(np.int64)
        at = 2 * x - 1 if shifted else x
        value = u(np.maximum(degree, 0), at) + sign * np.where(degree > 0, u(degree - 1, at), 0.0)
        return np.where(degree < 0, 0.0, value)

    return reference


chebyshev_u_p = _polynomial("chebyshev_polynomial_u", "eval_chebyu")
shifted_chebyshev_u_p = _polynomial("shifted_chebyshev_polynomial_u", "eval_chebyu")
chebyshev_t_p = _polynomial(
    "chebyshev_polynomial_t", "eval_chebyt", lambda x, n, less: n * bind(chebyshev_u_p, x, less)
)
shifted_chebyshev_t_p = _polynomial(
    "shifted_chebyshev_polynomial_t", "eval_chebyt",
    lambda x, n, less: n * 2 * bind(shifted_chebyshev_u_p, x, less),
)  # fmt: skip
hermite_h_p: Primitive = _polynomial(
    "hermite_polynomial_h", "eval_hermite", lambda x, n, less: n * 2 * bind(hermite_h_p, x, less)
)
hermite_he_p: Primitive = _polynomial(
    "hermite_polynomial_he", "eval_hermitenorm",
    lambda x, n, less: n * bind(hermite_he_p, x, less),
)  # fmt: skip
laguerre_l_p = _polynomial("laguerre_polynomial_l", "eval_laguerre")
legendre_p_p = _polynomial("legendre_polynomial_p", "eval_legendre")
def _third_kind(letter: str, sign: float, shifted: bool) -> Primitive:
    return elementwise(
        f"{'shifted_' if shifted else ''}chebyshev_polynomial_{letter}", _third(sign, shifted),
        arity=2, dtypes_=FLOATS, ulp=256, domain=(-1, 3.5), smooth=False,
        doc="orthogonal polynomial of degree n (cut to a whole number) at x",
    )  # fmt: skip


chebyshev_v_p, chebyshev_w_p, shifted_chebyshev_v_p, shifted_chebyshev_w_p = (
    _third_kind(letter, sign, shifted)
    for shifted in (False, True)
    for letter, sign in (("v", -1.0), ("w", 1.0))
)
