"""Gradients cut by their common norm or by value. Pascanu et al., 2013."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Any

from fanal.autograd.mode import no_grad
from fanal.core import dtypes
from fanal.core.dispatch import fused
from fanal.core.errors import message
from fanal.nn.functional.distance import norm
from fanal.ops.comparing import isfinite
from fanal.ops.pointwise import minimum, where
from fanal.ops.promotion import cast, constant
from fanal.ops.shape import reshaped, stack
from fanal.tensor import inplace
from fanal.tensor.creation import tensor
from fanal.tensor.tensor import Tensor


@fused
def _total_norm(tensors: tuple[Any, ...], norm_type: float) -> Any:
    """The norm of the tensors' norms, computed in float32 at least, as one program."""
    parts = []
    for t in tensors:
        flat = reshaped(t, (math.prod(t.shape),))
        wide = cast(flat, dtypes.float32) if flat.dtype.bits < 32 else flat
        if flat.shape == (0,):
            parts.append(constant(0, wide.dtype))
        else:
            parts.append(norm(wide, norm_type, (0,), False))
    return norm(stack(tuple(parts), 0), norm_type, (0,), False)


@fused
def _clip_factor(total: Any, max_norm: float) -> Any:
    return minimum(max_norm / (total + 1e-6), 1.0)


@fused
def _scaled(input: Any, factor: Any) -> Any:
    return input * cast(factor, input.dtype)


@fused
def _limited(input: Any, bound: float) -> Any:
    return where(input < -bound, -bound, where(input > bound, bound, input))


def _list(parameters: Any) -> list[Tensor]:
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)


def _grads(parameters: Any) -> list[Tensor]:
    return [p.grad for p in _list(parameters) if p.grad is not None]


def get_total_norm(
    tensors: Tensor | Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:  # fmt: skip
    """The p-norm of all tensors as if they were one vector (not differentiable)."""
    given = _list(tensors)
    if not given:
        return tensor(0.0)
    with no_grad():
        total: Tensor = _total_norm(tuple(t.detach() for t in given), float(norm_type))
    if error_if_nonfinite and not bool(isfinite(total)):
        raise RuntimeError(
            f"The total norm of order {float(norm_type)} for gradients from `parameters` is "
            "non-finite, so it cannot be clipped. To disable this error and scale the gradients by "
            "the non-finite norm anyway, set `error_if_nonfinite=False`"
        )
    return total


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor,
    foreach: bool | None = None,
) -> None:  # fmt: skip
    """Multiply gradients by max_norm / total_norm where that is below 1, in place."""
    with no_grad():
        factor = _clip_factor(total_norm, float(max_norm))
        for grad in _grads(parameters):
            inplace.apply(_scaled.fused, grad, (factor,), {})


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0,
    error_if_nonfinite: bool = False, foreach: bool | None = None,
) -> Tensor:  # fmt: skip
    """Scale all gradients so that their common norm is at most `max_norm`; returns that norm."""
    given = _list(parameters)
    if not given:
        warnings.warn(
            "`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=2
        )
    total = get_total_norm(_grads(given), norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(given, max_norm, total, foreach)
    return total


def clip_grad_norm(*args: Any, **kwargs: Any) -> Tensor:
    """The old name of `clip_grad_norm_`."""
    warnings.warn(
        "`torch.nn.utils.clip_grad_norm` is now deprecated in favor of "
        "`torch.nn.utils.clip_grad_norm_`.",
        FutureWarning, stacklevel=2,
    )  # fmt: skip
    return clip_grad_norm_(*args, **kwargs)


def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Cut each gradient's elements to [-clip_value, clip_value], in place."""
    if not float(clip_value) >= 0:
        raise ValueError(
            message("clip_grad_value_", "clip_value is negative", clip_value, "0 or more")
        )
    with no_grad():
        for grad in _grads(parameters):
            inplace.apply(_limited.fused, grad, (float(clip_value),), {})
