"""Orthogonal polynomials of degree n at x; n may differ from element to element.

n is a number or a tensor, cut to a whole number; the value is 0 for a negative degree. T, H and He
are differentiable in x (the others, as in PyTorch, are not).
"""

from __future__ import annotations

from typing import Any

from fanal.ops import special_records as s
from fanal.ops.pointwise import binary


def _public(primitive: Any, doc: str) -> Any:
    return binary(primitive, primitive.name, doc, "float")


chebyshev_polynomial_t = _public(s.chebyshev_t_p, "Chebyshev polynomial of the first kind, T.")
chebyshev_polynomial_u = _public(s.chebyshev_u_p, "Chebyshev polynomial of the second kind, U.")
chebyshev_polynomial_v = _public(s.chebyshev_v_p, "Chebyshev polynomial of the third kind, V.")
chebyshev_polynomial_w = _public(s.chebyshev_w_p, "Chebyshev polynomial of the fourth kind, W.")
shifted_chebyshev_polynomial_t = _public(s.shifted_chebyshev_t_p, "T of 2x - 1.")
shifted_chebyshev_polynomial_u = _public(s.shifted_chebyshev_u_p, "U of 2x - 1.")
shifted_chebyshev_polynomial_v = _public(s.shifted_chebyshev_v_p, "V of 2x - 1.")
shifted_chebyshev_polynomial_w = _public(s.shifted_chebyshev_w_p, "W of 2x - 1.")
hermite_polynomial_h = _public(s.hermite_h_p, "Physicist's Hermite polynomial, H.")
hermite_polynomial_he = _public(s.hermite_he_p, "Probabilist's Hermite polynomial, He.")
laguerre_polynomial_l = _public(s.laguerre_l_p, "Laguerre polynomial, L.")
legendre_polynomial_p = _public(s.legendre_p_p, "Legendre polynomial, P.")

__all__ = [
    "chebyshev_polynomial_t", "chebyshev_polynomial_u", "chebyshev_polynomial_v",
    "chebyshev_polynomial_w", "hermite_polynomial_h", "hermite_polynomial_he",
    "laguerre_polynomial_l", "legendre_polynomial_p", "shifted_chebyshev_polynomial_t",
    "shifted_chebyshev_polynomial_u", "shifted_chebyshev_polynomial_v",
    "shifted_chebyshev_polynomial_w",
]  # fmt: skip
