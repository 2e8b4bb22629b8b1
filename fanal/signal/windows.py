"""Window functions of M points, as `torch.signal.windows`: symmetric, or periodic with `sym=False`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused
from fanal.core.dtypes import DType
from fanal.core.errors import message
from fanal.ops.create import iota_p
from fanal.ops.pointwise import abs as absolute
from fanal.ops.pointwise import exp, sin
from fanal.ops.promotion import cast
from fanal.tensor import creation, tapers
from fanal.tensor.creation import check_options
from fanal.tensor.factory import factory
from fanal.tensor.tensor import Tensor


@fused
def _exponential(count: int, center: float, tau: float, dtype: DType) -> Any:
    places = bind(iota_p, shape=(count,), dim=0, dtype=dtypes.float64)
    return cast(exp(absolute(places - center) * (-1.0 / tau)), dtype)


@fused
def _sine(count: int, span: int, dtype: DType) -> Any:
    places = bind(iota_p, shape=(count,), dim=0, dtype=dtypes.float64)
    return cast(sin((places + 0.5) * (math.pi / (span + 1))), dtype)


@fused
def _gaussian(count: int, span: int, std: float, dtype: DType) -> Any:
    places = bind(iota_p, shape=(count,), dim=0, dtype=dtypes.float64)
    away = (places - span / 2) * (1.0 / (std * math.sqrt(2)))
    return cast(exp(-(away * away)), dtype)


def _made(
    function: Any, name: str, M: int, sym: bool, parameters: tuple[Any, ...], options: Any
) -> Tensor:
    """The window of M points; of one point it is 1, of none empty."""
    dtype, device, requires_grad = options
    kind = check_options(dtype, device)
    if M < 0:
        raise ValueError(message(name, "a negative number of points", M, "0 or more"))
    if kind not in (dtypes.float32, dtypes.float64):
        raise ValueError(message(name, "the dtype is not float32 or float64", repr(kind)))
    if M < 2:
        made: Tensor = creation.ones(M, dtype=kind)
    else:
        made = function(M, M - 1 if sym else M, *parameters, kind)
    return made.requires_grad_() if requires_grad else made


@factory
def exponential(
    M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True,
    dtype: DType | None = None, device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """e^(-|i - center| / tau); the center is the middle unless given (with `sym=False`)."""
    if tau <= 0:
        raise ValueError(message("exponential", "tau is not positive", tau))
    if sym and center is not None:
        raise ValueError(message("exponential", "a center is for sym=False", center, "None"))

    def made(count: int, span: int, kind: DType) -> Any:
        return _exponential(count, span / 2 if center is None else float(center), float(tau), kind)

    return _made(made, "exponential", M, sym, (), (dtype, device, requires_grad))


@factory
def cosine(
    M: int, *, sym: bool = True, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """sin(π(i + ½) / M)."""
    options = (dtype, device, requires_grad)
    return _made(_sine, "cosine", M, sym, (), options)


@factory
def gaussian(
    M: int, *, std: float = 1.0, sym: bool = True, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """e^(-((i - middle) / std)² / 2)."""
    if std <= 0:
        raise ValueError(message("gaussian", "std is not positive", std))
    options = (dtype, device, requires_grad)
    return _made(_gaussian, "gaussian", M, sym, (float(std),), options)


@factory
def kaiser(
    M: int, *, beta: float = 12.0, sym: bool = True, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """I₀(beta √(1 - x²)) / I₀(beta), x from -1 to 1."""
    if beta < 0:
        raise ValueError(message("kaiser", "beta is negative", beta))
    options = (dtype, device, requires_grad)
    return _made(tapers._kaiser, "kaiser", M, sym, (float(beta),), options)


@factory
def bartlett(
    M: int, *, sym: bool = True, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """A triangle."""
    options = (dtype, device, requires_grad)
    return _made(tapers._tent, "bartlett", M, sym, (), options)


@factory
def general_cosine(
    M: int, *, a: Sequence[float], sym: bool = True, dtype: DType | None = None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Σ (-1)^k a[k] cos(2πk i / (M - 1))."""
    if not isinstance(a, Sequence):
        raise TypeError(message("general_cosine", "the coefficients are not a list", type(a).__name__))
    if not a:
        raise ValueError(message("general_cosine", "no coefficients"))
    weights = tuple(float(w) * (-1) ** k for k, w in enumerate(a))
    return _made(
        tapers._cosines, "general_cosine", M, sym, (weights,), (dtype, device, requires_grad)
    )


@factory
def general_hamming(
    M: int, *, alpha: float = 0.54, sym: bool = True, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """alpha - (1 - alpha) cos(2πi / (M - 1))."""
    return general_cosine(
        M, a=[alpha, 1.0 - alpha], sym=sym, dtype=dtype, device=device, requires_grad=requires_grad
    )  # fmt: skip


@factory
def hamming(
    M: int, *, sym: bool = True, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """0.54 - 0.46 cos(2πi / (M - 1))."""
    return general_cosine(
        M, a=[0.54, 0.46], sym=sym, dtype=dtype, device=device, requires_grad=requires_grad
    )  # fmt: skip


@factory
def hann(
    M: int, *, sym: bool = True, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """½ - ½ cos(2πi / (M - 1))."""
    return general_cosine(
        M, a=[0.5, 0.5], sym=sym, dtype=dtype, device=device, requires_grad=requires_grad
    )  # fmt: skip


@factory
def blackman(
    M: int, *, sym: bool = True, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """0.42 - ½ cos(2πi / (M - 1)) + 0.08 cos(4πi / (M - 1))."""
    return general_cosine(
        M, a=[0.42, 0.5, 0.08], sym=sym, dtype=dtype, device=device, requires_grad=requires_grad
    )  # fmt: skip


@factory
def nuttall(
    M: int, *, sym: bool = True, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Nuttall (1981): four cosines with a continuous first derivative."""
    return general_cosine(
        M, a=[0.3635819, 0.4891775, 0.1365995, 0.0106411], sym=sym, dtype=dtype, device=device, requires_grad=requires_grad
    )  # fmt: skip


__all__ = [
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine",
    "general_hamming", "hamming", "hann", "kaiser", "nuttall",
]  # fmt: skip
