"""Convolution layers whose in_channels are those of their first input."""

from __future__ import annotations

from typing import Any

from fanal.core.dtypes import DType
from fanal.nn.modules import conv
from fanal.nn.modules.lazy import LazyModuleMixin
from fanal.nn.parameter import UninitializedParameter


class _LazyConvXdMixin(LazyModuleMixin):
    in_channels: int
    out_channels: int
    groups: int
    weight: Any
    bias: Any
    transposed: bool
    kernel_size: tuple[int, ...]
    _spatial: int

    def _wait(self, out_channels: int, bias: bool, device: Any, dtype: DType | None) -> None:
        factory = {"device": device, "dtype": dtype}
        self.out_channels = out_channels
        self.weight = UninitializedParameter(**factory)
        if bias:
            self.bias = UninitializedParameter(**factory)

    def reset_parameters(self) -> None:
        if not self.has_uninitialized_params() and self.in_channels != 0:
            super().reset_parameters()  # type: ignore[misc]

    def initialize_parameters(self, input: Any, *args: Any, **kwargs: Any) -> None:
        if not self.has_uninitialized_params():
            return
        n = self._spatial
        if input.ndim not in (n + 1, n + 2):
            raise RuntimeError(
                f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to "
                f"{type(self).__name__}, but got input of size: {input.shape}"
            )
        self.in_channels = input.shape[input.ndim - n - 1]
        if self.in_channels % self.groups:
            raise ValueError("in_channels must be divisible by groups")
        outer, inner = self.in_channels, self.out_channels // self.groups
        if not self.transposed:
            outer, inner = self.out_channels, self.in_channels // self.groups
        self.weight.materialize((outer, inner, *self.kernel_size))
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()


class _LazyConvolution(_LazyConvXdMixin):
    def __init__(
        self, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros",
        device: Any = None, dtype: DType | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode, device,
            dtype,
        )  # fmt: skip
        self._wait(out_channels, bias, device, dtype)


class _LazyConvTranspose(_LazyConvXdMixin):
    def __init__(
        self, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        output_padding: Any = 0, groups: int = 1, bias: bool = True, dilation: Any = 1,
        padding_mode: str = "zeros", device: Any = None, dtype: DType | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            0, 0, kernel_size, stride, padding, output_padding, groups, False, dilation,
            padding_mode, device, dtype,
        )  # fmt: skip
        self._wait(out_channels, bias, device, dtype)


def _lazy(mixin: type, base: type) -> type:
    doc = f"A `{base.__name__}` whose in_channels are those of its first input."
    body = {"cls_to_become": base, "__doc__": doc, "__module__": __name__}
    return type(f"Lazy{base.__name__}", (mixin, base), body)


LazyConv1d = _lazy(_LazyConvolution, conv.Conv1d)
LazyConv2d = _lazy(_LazyConvolution, conv.Conv2d)
LazyConv3d = _lazy(_LazyConvolution, conv.Conv3d)
LazyConvTranspose1d = _lazy(_LazyConvTranspose, conv.ConvTranspose1d)
LazyConvTranspose2d = _lazy(_LazyConvTranspose, conv.ConvTranspose2d)
LazyConvTranspose3d = _lazy(_LazyConvTranspose, conv.ConvTranspose3d)
