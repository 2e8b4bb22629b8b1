"""Layers that add elements around the spatial dimensions."""

from __future__ import annotations

from typing import Any

from fanal.nn import functional as F
from fanal.nn.module import Module
from fanal.nn.modules.tuples import ntuple
from fanal.tensor.tensor import Tensor


class _Pad(Module):
    """Padding (left, right, top, bottom, …) of `_spatial` dimensions, by the rule `_mode`."""

    _spatial: int
    _mode: str

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = ntuple(padding, 2 * self._spatial)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPadNd(_Pad):
    _mode = "constant"
    value: float

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPadNd):
    """One value around (N, C, L)."""

    _spatial = 1


class ConstantPad2d(_ConstantPadNd):
    """One value around (N, C, H, W)."""

    _spatial = 2


class ConstantPad3d(_ConstantPadNd):
    """One value around (N, C, D, H, W)."""

    _spatial = 3


class _ZeroPadNd(_ConstantPadNd):
    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad1d(_ZeroPadNd, ConstantPad1d):
    """Zeros around (N, C, L)."""


class ZeroPad2d(_ZeroPadNd, ConstantPad2d):
    """Zeros around (N, C, H, W)."""


class ZeroPad3d(_ZeroPadNd, ConstantPad3d):
    """Zeros around (N, C, D, H, W)."""


class ReflectionPad1d(_Pad):
    """The input mirrored at its edges, (N, C, L)."""

    _spatial, _mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """The input mirrored at its edges, (N, C, H, W)."""

    _spatial, _mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """The input mirrored at its edges, (N, C, D, H, W)."""

    _spatial, _mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """The edge repeated, (N, C, L)."""

    _spatial, _mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """The edge repeated, (N, C, H, W)."""

    _spatial, _mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """The edge repeated, (N, C, D, H, W)."""

    _spatial, _mode = 3, "replicate"


class _CircularPad(_Pad):
    _mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        n = self._spatial
        if input.ndim not in (n + 1, n + 2):
            raise ValueError(f"expected {n + 1}D or {n + 2}D input (got {input.ndim}D input)")
        return super().forward(input)


class CircularPad1d(_CircularPad):
    """The input continued from its other end, (N, C, L)."""

    _spatial = 1


class CircularPad2d(_CircularPad):
    """The input continued from its other end, (N, C, H, W)."""

    _spatial = 2


class CircularPad3d(_CircularPad):
    """The input continued from its other end, (N, C, D, H, W)."""

    _spatial = 3
