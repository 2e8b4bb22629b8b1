"""Linear and bilinear maps and convolutions (the ops layer's, under this package's names)."""

from __future__ import annotations

from typing import Any

from fanal.core.errors import message
from fanal.nn.functional.composite import composite
from fanal.ops.convolution import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from fanal.ops.linear import linear, matmul
from fanal.ops.reductions import sum as sum_op
from fanal.ops.shape import permute, permuted, reshaped

__all__ = [
    "bilinear", "conv1d", "conv2d", "conv3d", "conv_tbc", "conv_transpose1d", "conv_transpose2d",
    "conv_transpose3d", "linear",
]  # fmt: skip


@composite
def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """y_k = x₁ᵀ W_k x₂ + b_k. Shapes: (…, I), (…, J), W (K, I, J), b (K,) → (…, K)."""
    k, i, j = weight.shape
    if input1.shape[:-1] != input2.shape[:-1] or input1.shape[-1] != i or input2.shape[-1] != j:
        raise RuntimeError(
            message(
                "bilinear", "shapes don't fit",
                f"{tuple(input1.shape)}, {tuple(input2.shape)}, weight {tuple(weight.shape)}",
                f"(…, {i}) and (…, {j})",
            )
        )
    # x₁ W_k for all k at once, then the product with x₂.
    flat = reshaped(permuted(weight, (1, 0, 2)), (i, k * j))
    left = reshaped(matmul(input1, flat), (*input1.shape[:-1], k, j))
    right = reshaped(input2, (*input2.shape[:-1], 1, j))
    out = sum_op(left * right, left.ndim - 1, dtype=input1.dtype)
    return out if bias is None else out + bias


def conv_tbc(input: Any, weight: Any, bias: Any, pad: int = 0) -> Any:
    """1-d convolution over time first: input (T, B, C), weight (kernel, C, O) → (T', B, O)."""
    x = permute(input, (1, 2, 0))
    w = permute(weight, (2, 1, 0))
    return permute(conv1d(x, w, bias, padding=pad), (2, 0, 1))
