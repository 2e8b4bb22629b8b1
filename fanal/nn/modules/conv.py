"""Convolution layers, ordinary and transposed, in one, two and three dimensions."""

from __future__ import annotations

import math
from typing import Any

from fanal.core.dtypes import DType
from fanal.nn import functional as F
from fanal.nn import init
from fanal.nn.module import Module
from fanal.nn.modules.tuples import ntuple, reversed_twice
from fanal.nn.parameter import Parameter
from fanal.tensor.creation import empty
from fanal.tensor.tensor import Tensor

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
Ints = tuple[int, ...]


class _ConvNd(Module):
    """Weight (out, in / groups, kernel…), transposed (in, out / groups, kernel…), and bias (out,).

    They begin uniform in ±1/√(fan-in).
    """

    weight: Any
    bias: Any

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Ints, stride: Ints,
        padding: str | Ints, dilation: Ints, transposed: bool, output_padding: Ints, groups: int,
        bias: bool, padding_mode: str, device: Any = None, dtype: DType | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        _check(in_channels, out_channels, groups, padding, stride, padding_mode)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.transposed = transposed
        self.output_padding = output_padding
        self.groups = groups
        self.padding_mode = padding_mode
        self._reversed_padding_repeated_twice = _pads(padding, kernel_size, dilation)
        outer, inner = in_channels, out_channels // groups
        if not transposed:
            outer, inner = out_channels, in_channels // groups
        factory = {"device": device, "dtype": dtype}
        self.weight = Parameter(empty(outer, inner, *kernel_size, **factory))
        if bias:
            self.bias = Parameter(empty(out_channels, **factory))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in != 0:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        s = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        if self.padding != (0,) * len(self.padding):
            s += f", padding={self.padding}"
        if self.dilation != (1,) * len(self.dilation):
            s += f", dilation={self.dilation}"
        if self.output_padding != (0,) * len(self.output_padding):
            s += f", output_padding={self.output_padding}"
        if self.groups != 1:
            s += f", groups={self.groups}"
        if self.bias is None:
            s += ", bias=False"
        if self.padding_mode != "zeros":
            s += f", padding_mode={self.padding_mode}"
        return s


def _check(
    in_channels: int, out_channels: int, groups: int, padding: Any, stride: Ints, mode: str
) -> None:
    if groups <= 0:
        raise ValueError("groups must be a positive integer")
    if in_channels % groups != 0:
        raise ValueError("in_channels must be divisible by groups")
    if out_channels % groups != 0:
        raise ValueError("out_channels must be divisible by groups")
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(
                f"Invalid padding string {padding!r}, should be one of 'same', 'valid'"
            )
        if padding == "same" and any(s != 1 for s in stride):
            raise ValueError("padding='same' is not supported for strided convolutions")
    if mode not in PADDING_MODES:
        raise ValueError(
            f"padding_mode must be one of {PADDING_MODES}, but got padding_mode='{mode}'"
        )


def _pads(padding: str | Ints, kernel: Ints, dilation: Ints) -> Ints:
    """The padding in the order of `F.pad`."""
    if not isinstance(padding, str):
        return reversed_twice(padding)
    if padding == "valid":
        return (0, 0) * len(kernel)
    totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    return tuple(p for t in reversed(totals) for p in (t // 2, t - t // 2))


class _Convolution(_ConvNd):
    """An ordinary convolution in `_spatial` dimensions."""

    _spatial: int

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1,
        padding: Any = 0, dilation: Any = 1, groups: int = 1, bias: bool = True,
        padding_mode: str = "zeros", device: Any = None, dtype: DType | None = None,
    ) -> None:  # fmt: skip
        n = self._spatial
        super().__init__(
            in_channels, out_channels, ntuple(kernel_size, n), ntuple(stride, n),
            padding if isinstance(padding, str) else ntuple(padding, n), ntuple(dilation, n),
            False, (0,) * n, groups, bias, padding_mode, device, dtype,
        )  # fmt: skip

    def _conv_forward(self, input: Any, weight: Any, bias: Any) -> Any:
        convolve = _CONVOLVE[self._spatial]
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = (0,) * self._spatial
        return convolve(
            input, weight, bias, self.stride, padding, self.dilation, self.groups
        )

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)


class Conv1d(_Convolution):
    """Convolution of (N, C, L) or (C, L)."""

    _spatial = 1


class Conv2d(_Convolution):
    """Convolution of (N, C, H, W) or (C, H, W).

    padding: a number, one a dimension, "same" or "valid"; padding_mode: what is added around.
    """

    _spatial = 2


class Conv3d(_Convolution):
    """Convolution of (N, C, D, H, W) or (C, D, H, W)."""

    _spatial = 3


class _ConvTransposeNd(_ConvNd):
    """A transposed convolution in `_spatial` dimensions: the gradient of a convolution's input."""

    _spatial: int

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1,
        padding: Any = 0, output_padding: Any = 0, groups: int = 1, bias: bool = True,
        dilation: Any = 1, padding_mode: str = "zeros", device: Any = None,
        dtype: DType | None = None,
    ) -> None:  # fmt: skip
        if padding_mode != "zeros":
            raise ValueError(
                f'Only "zeros" padding mode is supported for {type(self).__name__}'
            )
        n = self._spatial
        super().__init__(
            in_channels, out_channels, ntuple(kernel_size, n), ntuple(stride, n),
            ntuple(padding, n), ntuple(dilation, n), True, ntuple(output_padding, n), groups,
            bias, padding_mode, device, dtype,
        )  # fmt: skip

    def _output_padding(self, input: Any, output_size: Any) -> Ints:
        """What to add at the ends for a given output size; ValueError where none fits."""
        if output_size is None:
            return self.output_padding
        n = self._spatial
        lead = input.ndim - n
        size = [int(v) for v in output_size]
        size = size[lead:] if len(size) == lead + n else size
        if len(size) != n:
            raise ValueError(
                f"ConvTranspose{n}D: for {input.ndim}D input, output_size must have {n} or "
                f"{lead + n} elements (got {len(size)})"
            )
        padding: Any = self.padding
        smallest = [
            (m - 1) * s - 2 * int(p) + d * (k - 1) + 1
            for m, s, p, d, k in zip(
                input.shape[lead:], self.stride, padding, self.dilation, self.kernel_size,
                strict=True,
            )
        ]  # fmt: skip
        largest = [m + s - 1 for m, s in zip(smallest, self.stride, strict=True)]
        if any(not a <= v <= b for a, v, b in zip(smallest, size, largest, strict=True)):
            raise ValueError(
                f"requested an output size of {size}, but valid sizes range from {smallest} to "
                f"{largest} (for an input of {tuple(input.shape[2:])})"
            )
        return tuple(v - m for v, m in zip(size, smallest, strict=True))

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        convolve = _TRANSPOSED[self._spatial]
        extra = self._output_padding(input, output_size)
        return convolve(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups,
            self.dilation,
        )  # fmt: skip


class ConvTranspose1d(_ConvTransposeNd):
    """Transposed convolution of (N, C, L) or (C, L)."""

    _spatial = 1


class ConvTranspose2d(_ConvTransposeNd):
    """Transposed convolution of (N, C, H, W) or (C, H, W)."""

    _spatial = 2


class ConvTranspose3d(_ConvTransposeNd):
    """Transposed convolution of (N, C, D, H, W) or (C, D, H, W)."""

    _spatial = 3


_CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
