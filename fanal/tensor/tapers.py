"""Window functions of signal processing: bartlett, blackman, hamming, hann, kaiser."""

from __future__ import annotations

import math
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused
from fanal.core.dtypes import DType
from fanal.core.errors import message
from fanal.graph.ir import Value
from fanal.ops.create import iota_p
from fanal.ops.pointwise import abs as absolute
from fanal.ops.pointwise import cos, i0, maximum, sqrt
from fanal.ops.promotion import cast, constant
from fanal.tensor.creation import check_options
from fanal.tensor.factory import factory
from fanal.tensor.tensor import Tensor


@fused
def _cosines(count: int, span: int, weights: tuple[float, ...], dtype: DType) -> Any:
    """Σ weights[k] · cos(2πk i / span)."""
    angle = _places(count) * (2 * math.pi / span)
    total = constant(weights[0], dtypes.float64, (count,))
    for k, w in enumerate(weights[1:], 1):
        total = total + cos(angle * float(k)) * w
    return cast(total, dtype)


@fused
def _tent(count: int, span: int, dtype: DType) -> Any:
    return cast(1.0 - absolute(_places(count) * (2 / span) - 1.0), dtype)


@fused
def _kaiser(count: int, span: int, beta: float, dtype: DType) -> Any:
    x = _places(count) * (2 / span) - 1.0
    root = sqrt(maximum(1.0 - x * x, 0.0))
    return cast(i0(root * beta) / i0(constant(beta, dtypes.float64, (count,))), dtype)


def _places(count: int) -> Value:
    return bind(iota_p, shape=(count,), dim=0, dtype=dtypes.float64)


def _made(
    function: Any, name: str, length: int, periodic: bool, parameters: tuple[Any, ...],
    dtype: DType | None, device: Any, requires_grad: bool,
) -> Tensor:  # fmt: skip
    kind = check_options(dtype, device)
    if length < 0 or kind.kind != "f":
        raise RuntimeError(
            message(name, "a length of 0 or more and a floating dtype are needed", (length, kind))
        )
    from fanal.tensor.creation import ones

    if length < 2:
        made: Tensor = ones(length, dtype=kind)
    else:
        made = function(length, length if periodic else length - 1, *parameters, kind)
    return made.requires_grad_() if requires_grad else made


@factory
def bartlett_window(
    window_length: int, periodic: bool = True, *, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """1 - |2 i/N - 1|: a triangle."""
    return _made(
        _tent, "bartlett_window", window_length, periodic, (), dtype, device, requires_grad
    )


@factory
def hann_window(
    window_length: int, periodic: bool = True, *, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """½ - ½ cos(2πi/N)."""
    return _made(
        _cosines, "hann_window", window_length, periodic, ((0.5, -0.5),), dtype, device,
        requires_grad,
    )  # fmt: skip


@factory
def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, *,
    dtype: DType | None = None, device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """alpha - beta cos(2πi/N)."""
    return _made(
        _cosines, "hamming_window", window_length, periodic, ((alpha, -beta),), dtype, device,
        requires_grad,
    )  # fmt: skip


@factory
def blackman_window(
    window_length: int, periodic: bool = True, *, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """0.42 - ½ cos(2πi/N) + 0.08 cos(4πi/N)."""
    return _made(
        _cosines, "blackman_window", window_length, periodic, ((0.42, -0.5, 0.08),), dtype, device,
        requires_grad,
    )  # fmt: skip


@factory
def kaiser_window(
    window_length: int, periodic: bool = True, beta: float = 12.0, *, dtype: DType | None = None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """I₀(beta √(1 - (2i/N - 1)²)) / I₀(beta)."""
    return _made(
        _kaiser, "kaiser_window", window_length, periodic, (float(beta),), dtype, device,
        requires_grad,
    )  # fmt: skip
