"""Special functions, as `torch.special`: error, gamma, Bessel and Airy functions, entropies,
orthogonal polynomials. Integers are computed in the default floating dtype."""

from typing import Any

from fanal.core.dtypes import DType
from fanal.ops import reductions as _reductions
from fanal.special import elementwise, polynomials
from fanal.special.elementwise import *
from fanal.special.polynomials import *
from fanal.tensor.methods import attach, in_place_of as _attach
from fanal.tensor.methods import in_place as _in_place

logsumexp = _reductions.logsumexp


def softmax(input: Any, dim: int, *, dtype: DType | None = None) -> Any:
    """exp(x) / Σ exp(x) along a dimension."""
    return _reductions.softmax(input, dim, dtype)


def log_softmax(input: Any, dim: int, *, dtype: DType | None = None) -> Any:
    """The logarithm of softmax, without overflow."""
    return _reductions.log_softmax(input, dim, dtype)


_def _polygamma(self: Any, n: int) -> Any:
    """The n-th derivative of digamma; see `fanal.special.polygamma`."""
    return elementwise.polygamma(n, self)


attach({
    "logit": elementwise.logit, "sinc": elementwise.sinc, "xlogy": elementwise.xlogy, "igamma": elementwise.gammainc, "igammac": elementwise.gammaincc,
    "mvlgamma": elementwise.multigammaln, "polygamma": _polygamma, "polygamma_": in_place_of(_polygamma),
    "mvlgamma_": in_place_of(elementwise.multigammaln),
    "logit_": _in_place(elementwise.logit), "sinc_": _in_place(elementwise.sinc), "xlogy_": _in_place(elementwise.xlogy),
    "igamma_": _in_place(elementwise.gammainc), "igammac_": _in_place(elementwise.gammaincc),
})  # fmt: skip

__all__ = [*elementwise.__all__, *polynomials.__all__, "log_softmax", "logsumexp", "softmax"]
