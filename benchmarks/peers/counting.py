"""How much work a case is: floating-point operations of its products, and the bytes that they move.

Counted by hooks on the modules that are products (dense, convolutional, recurrent, attention), from
the shapes that pass through. A multiply-add is two operations. Backward takes as much again for the
gradient of the weights and, where the input wants one, as much again for that of the input. Bytes
are what these products read and write if each array passes once between memory and processor, and
in training what AdamW does (seven arrays of the parameters' size): a network whose arrays stay in
the cache needs fewer, so a share of the memory's bandwidth above 100 % is possible. Elementwise
work is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

ADAMW_ARRAYS = 7  # read p, g, m, v; write p, m, v


def work(lib: Any, model: Any, inputs: list[Any]) -> dict[str, float]:
    """Operations and bytes of one forward pass, or of one step if the model is in training mode."""
    total = {"flops": 0.0, "bytes": 0.0}

    def seen(module: Any, arrays: tuple[Any, ...], output: Any) -> None:
        count = COUNTS[type(module).__name__]
        output = output[0] if isinstance(output, tuple) else output
        flops, weights = count(module, arrays, output)
        size_in, size_out = sum(a.numel() for a in arrays), output.numel()
        total["flops"] += flops
        total["bytes"] += 4.0 * (size_in + size_out + weights)
        if model.training:
            # Attention has no weights, but two operands in each of its products.
            wanted = any(a.requires_grad for a in arrays)
            passes = bool(weights) + wanted if weights else 2 * wanted
            total["flops"] += flops * passes
            total["bytes"] += 4.0 * passes * (size_in + size_out + weights)

    hooks = [m.register_forward_hook(seen) for m in model.modules() if type(m).__name__ in COUNTS]
    with lib.set_grad_enabled(model.training):
        model(*inputs)
    for hook in hooks:
        hook.remove()
    if model.training:
        total["bytes"] += 4.0 * ADAMW_ARRAYS * sum(p.numel() for p in model.parameters())
    return total


Count = Callable[[Any, tuple[Any, ...], Any], tuple[float, int]]


def _linear(module: Any, arrays: tuple[Any, ...], output: Any) -> tuple[float, int]:
    return 2.0 * output.numel() * module.in_features, module.weight.numel()


def _conv(module: Any, arrays: tuple[Any, ...], output: Any) -> tuple[float, int]:
    return 2.0 * output.numel() * math.prod(module.weight.shape[1:]), module.weight.numel()


def _transposed(module: Any, arrays: tuple[Any, ...], output: Any) -> tuple[float, int]:
    return 2.0 * arrays[0].numel() * math.prod(module.weight.shape[1:]), module.weight.numel()


def _lstm(module: Any, arrays: tuple[Any, ...], output: Any) -> tuple[float, int]:
    weights = module.weight_ih_l0.numel() + module.weight_hh_l0.numel()
    return 2.0 * weights * arrays[0].shape[0] * arrays[0].shape[1], weights


def _attention(module: Any, arrays: tuple[Any, ...], output: Any) -> tuple[float, int]:
    """Two products; of a causal one only the half below the diagonal is needed."""
    *lead, steps, width = arrays[0].shape
    full = 4.0 * math.prod(lead) * steps * steps * width
    return full * ((steps + 1) / (2 * steps) if module.causal else 1.0), 0


COUNTS: dict[str, Count] = {
    "Linear": _linear, "Conv1d": _conv, "Conv2d": _conv, "ConvTranspose2d": _transposed,
    "LSTM": _lstm, "Attention": _attention,
}  # fmt: skip
