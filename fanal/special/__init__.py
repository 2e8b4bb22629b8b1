"""Special functions, as `torch.special`: error, gamma, Bessel and Airy functions, entropies,
orthogonal polynomials. Integers are computed in the default floating dtype."""

from typing import Any

from fanal.core.dtypes import DType
from fanal.ops import reductions as _reductions
from fanal.special import elementwise, polynomials
from fanal.special.elementwise import *
from fanal.special.polynomials import *
from fanal.tensor.methods import attach as _attach
from fanal.tensor.methods import in_place as _in_place
from fanal.tensor.methods import in_place_of as _in_place_of
from fanal.tensor.outputs import takes_out as _takes_out

for _module in (elementwise, polynomials):
    for _name in _module.__all__:
        globals()[_name] = _takes_out(getattr(_module, _name))

logsumexp = _reductions.logsumexp


def softmax(input: Any, dim: int, *, dtype: DType | None = None) -> Any:
    """exp(x) / Σ exp(x) along a dimension."""
    return _reductions.softmax(input, dim, dtype)


def log_softmax(input: Any, dim: int, *, dtype: DType | None = None) -> Any:
    """The logarithm of softmax, without overflow."""
    return _reductions.log_softmax(input, dim, dtype)


def _polygamma(self: Any, n: int) -> Any:
    """The n-th derivative of digamma; see `fanal.special.polygamma`."""
    return elementwise.polygamma(n, self)


_attach({
    "logit": elementwise.logit, "logit_": _in_place(elementwise.logit),
    "sinc": elementwise.sinc, "sinc_": _in_place(elementwise.sinc),
    "xlogy": elementwise.xlogy, "xlogy_": _in_place(elementwise.xlogy),
    "igamma": elementwise.gammainc, "igamma_": _in_place(elementwise.gammainc),
    "igammac": elementwise.gammaincc, "igammac_": _in_place(elementwise.gammaincc),
    "mvlgamma": elementwise.multigammaln, "mvlgamma_": _in_place_of(elementwise.multigammaln),
    "polygamma": _polygamma, "polygamma_": _in_place_of(_polygamma),
})  # fmt: skip

__all__ = [*elementwise.__all__, *polynomials.__all__, "log_softmax", "logsumexp", "softmax"]
