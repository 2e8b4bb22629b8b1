"""Public convolutions with PyTorch's signatures, over the primitives of `conv`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.core.dispatch import bind, fused
from fanal.core.errors import message
from fanal.graph.ir import Value
from fanal.ops.conv import conv_input_grad_p, conv_p
from fanal.ops.layout import pad_p
from fanal.ops.shape import reshaped

IntOrInts = int | Sequence[int]


def each(value: IntOrInts, n: int, name: str, what: str) -> tuple[int, ...]:
    """One number for each spatial dimension."""
    if isinstance(value, int):
        return (value,) * n
    found = tuple(int(v) for v in value)
    if len(found) == 1:
        return found * n
    if len(found) != n:
        raise RuntimeError(message(name, f"wrong number of values for {what}", found, f"{n}"))
    return found


def paddings(
    padding: str | IntOrInts, n: int, kernel: Sequence[int], dilation: Sequence[int],
    stride: Sequence[int], name: str,
) -> tuple[tuple[int, int], ...]:  # fmt: skip
    """(low, high) of each spatial dimension, from a number, numbers, 'same' or 'valid'."""
    if padding == "valid":
        return ((0, 0),) * n
    if padding == "same":
        if any(s != 1 for s in stride):
            raise RuntimeError(message(name, "padding='same' needs stride 1", tuple(stride)))
        total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple((t // 2, t - t // 2) for t in total)
    if isinstance(padding, str):
        raise ValueError(message(name, "unknown padding", padding, "'same', 'valid' or numbers"))
    found = each(padding, n, name, "padding")
    if any(p < 0 for p in found):
        raise RuntimeError(message(name, "negative padding is not supported", found, "0 or more"))
    return tuple((p, p) for p in found)


def _positive(name: str, strides: Sequence[int], dilations: Sequence[int]) -> None:
    for what, values in (("stride", strides), ("dilation", dilations)):
        if any(v < 1 for v in values):
            raise RuntimeError(message(name, f"{what} should be greater than zero", tuple(values)))


def _convolve(
    n: int, x: Value, weight: Value, bias: Value | None, stride: IntOrInts,
    padding: str | IntOrInts, dilation: IntOrInts, groups: int,
) -> Value:  # fmt: skip
    name = f"conv{n}d"
    single = x.ndim == n + 1
    if x.ndim not in (n + 1, n + 2):
        raise RuntimeError(
            message(
                name, "wrong number of dimensions", f"input {tuple(x.shape)}",
                f"{n + 2} (batch, channels, {n} spatial) or {n + 1} without batch",
            )
        )
    if x.dtype is not weight.dtype:
        raise RuntimeError(
            message(name, "input and weight have different dtypes", f"{x.dtype!r}, {weight.dtype!r}")
        )
    if weight.ndim != n + 2:
        raise RuntimeError(
            message(name, "wrong number of dimensions", f"weight {tuple(weight.shape)}", f"{n + 2}")
        )
    if single:
        x = reshaped(x, (1, *x.shape))
    if x.shape[1] != weight.shape[1] * groups:
        raise RuntimeError(
            message(
                name, "the input's channels don't fit the weight",
                f"input {tuple(x.shape)}, weight {tuple(weight.shape)}, groups={groups}",
                f"{weight.shape[1] * groups} channels, not {x.shape[1]}",
            )
        )
    strides = each(stride, n, name, "stride")
    dilations = each(dilation, n, name, "dilation")
    _positive(name, strides, dilations)
    if bias is not None and bias.dtype is not x.dtype:
        raise RuntimeError(
            message(name, "input and bias have different dtypes", f"{x.dtype!r}, {bias.dtype!r}")
        )
    pads = paddings(padding, n, weight.shape[2:], dilations, strides, name)
    y = bind(conv_p, x, weight, stride=strides, padding=pads, dilation=dilations, groups=groups)
    if bias is not None:
        y = y + reshaped(bias, (1, bias.shape[0], *(1,) * n))
    return reshaped(y, y.shape[1:]) if single else y


def _transposed(
    n: int, x: Value, weight: Value, bias: Value | None, stride: IntOrInts, padding: IntOrInts,
    output_padding: IntOrInts, groups: int, dilation: IntOrInts,
) -> Value:  # fmt: skip
    name = f"conv_transpose{n}d"
    single = x.ndim == n + 1
    if single:
        x = reshaped(x, (1, *x.shape))
    if x.ndim != n + 2 or x.shape[1] != weight.shape[0]:
        raise RuntimeError(
            message(
                name, "the input's channels don't fit the weight",
                f"input {tuple(x.shape)}, weight {tuple(weight.shape)}",
                f"{weight.shape[0]} channels",
            )
        )
    s = each(stride, n, name, "stride")
    d = each(dilation, n, name, "dilation")
    p = each(padding, n, name, "padding")
    _positive(name, s, d)
    extra = each(output_padding, n, name, "output_padding")
    if any(e >= max(a, b) for e, a, b in zip(extra, s, d, strict=True)):
        raise RuntimeError(
            message(name, "output_padding must be smaller than stride or dilation", extra)
        )
    kernel = weight.shape[2:]
    # Where output_padding is a whole stride or more, the input reaches less of the result than it
    # has: less is cut off at the end, and what no window reaches is zero.
    beyond = tuple(e if e >= a else 0 for e, a in zip(extra, s, strict=True))
    high = tuple(max(q - e, 0) for q, e in zip(p, beyond, strict=True))
    zeros = tuple(max(e - q, 0) for q, e in zip(p, beyond, strict=True))
    shape = tuple(
        (m - 1) * a - q - h + b * (k - 1) + (e if e < a else 0) + 1
        for m, a, q, h, b, k, e in zip(x.shape[2:], s, p, high, d, kernel, extra, strict=True)
    )
    pads = tuple(zip(p, high, strict=True))
    y = bind(
        conv_input_grad_p, x, weight, shape=shape, stride=s, padding=pads, dilation=d, groups=groups
    )
    if any(zeros):
        none = (0,) * y.ndim
        y = bind(pad_p, y, low=none, high=(0, 0, *zeros), interior=none, value=0)
    if bias is not None:
        y = y + reshaped(bias, (1, bias.shape[0], *(1,) * n))
    return reshaped(y, y.shape[1:]) if single else y


def _make(n: int) -> tuple[Any, Any]:
    spatial = {1: "L", 2: "H, W", 3: "D, H, W"}[n]

    def conv(
        input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: int = 1,
    ) -> Any:  # fmt: skip
        return _convolve(n, input, weight, bias, stride, padding, dilation, groups)

    conv.__name__ = conv.__qualname__ = f"conv{n}d"
    conv.__doc__ = (
        f"{n}-d convolution. Shapes: input (N, C, {spatial}) or (C, {spatial}), weight "
        f"(O, C/groups, kernel…), bias (O,) → (N, O, …). padding: numbers, 'same' or 'valid'."
    )

    def conv_transpose(
        input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
        output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
    ) -> Any:  # fmt: skip
        return _transposed(
            n, input, weight, bias, stride, padding, output_padding, groups, dilation
        )

    conv_transpose.__name__ = conv_transpose.__qualname__ = f"conv_transpose{n}d"
    conv_transpose.__doc__ = (
        f"{n}-d transposed convolution: the gradient of conv{n}d in its input. Shapes: input "
        f"(N, C, {spatial}), weight (C, O/groups, kernel…) → (N, O, …)."
    )
    return fused(conv), fused(conv_transpose)


conv1d, conv_transpose1d = _make(1)
conv2d, conv_transpose2d = _make(2)
conv3d, conv_transpose3d = _make(3)
