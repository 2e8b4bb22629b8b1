"""`torch.cuda.amp`, the older place of autocast and the scaler: without a CUDA device, disabled."""

from __future__ import annotations

from typing import Any

from fanal import amp
from fanal.amp import custom_bwd, custom_fwd
from fanal.core.dtypes import DType

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd"]


class autocast(amp.autocast):
    """`fanal.amp.autocast("cuda", …)`."""

    def __init__(
        self, enabled: bool = True, dtype: DType | None = None, cache_enabled: bool = True
    ) -> None:
        super().__init__("cuda", dtype, enabled, cache_enabled)


class GradScaler(amp.GradScaler):
    """`fanal.amp.GradScaler("cuda", …)`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("cuda", *args, **kwargs)
