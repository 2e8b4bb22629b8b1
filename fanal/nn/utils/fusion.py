"""Batch normalisation folded into the layer before it, for evaluation."""

from __future__ import annotations

import copy
from typing import Any

from fanal.autograd.mode import no_grad
from fanal.nn.module import Module
from fanal.nn.parameter import Parameter
from fanal.tensor.creation import ones_like, zeros_like


def _folded(
    weight: Any, bias: Any, mean: Any, var: Any, eps: float, gamma: Any, beta: Any,
    channel_dim: int,
) -> tuple[Parameter, Parameter]:  # fmt: skip
    """w · γ / √(var + eps) along the output channels, and (b - mean) · γ / √(var + eps) + β."""
    dtype = weight.dtype
    with no_grad():
        bias = zeros_like(mean) if bias is None else bias
        gamma = ones_like(mean) if gamma is None else gamma
        beta = zeros_like(mean) if beta is None else beta
        factor = gamma * (var + eps).rsqrt()
        shape = [1] * weight.ndim
        shape[channel_dim] = -1
        new_weight = (weight * factor.reshape(*shape)).to(dtype)
        new_bias = ((bias - mean) * factor + beta).to(bias.dtype)
    return (
        Parameter(new_weight, weight.requires_grad),
        Parameter(new_bias, bias.requires_grad),
    )


def fuse_conv_bn_weights(
    conv_w: Any, conv_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:  # fmt: skip
    """Weight and bias of a convolution that does what convolution and batch norm did."""
    return _folded(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 1 if transpose else 0)


def fuse_linear_bn_weights(
    linear_w: Any, linear_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a linear layer that does what linear layer and batch norm did."""
    return _folded(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 0)


def _check(first: Module, bn: Any) -> None:
    if first.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("BatchNorm running statistics are required for fusion")


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A copy of a convolution with the batch norm behind it folded in (both in eval mode)."""
    _check(conv, bn)
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias,
        transpose,
    )  # fmt: skip
    return fused


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A copy of a linear layer with the batch norm behind it folded in (both in eval mode)."""
    _check(linear, bn)
    if linear.out_features != bn.num_features and bn.num_features != 1:
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1"
        )
    fused = copy.deepcopy(linear)
    fused.weight, fused.bias = fuse_linear_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    return fused
