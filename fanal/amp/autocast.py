"""`autocast`: the permission to compute in a narrower dtype.

It is a permission only: on the CPU Fanal computes in the dtype of the operands, which is at least as
exact, and says so once. What a program does around it (scaled gradients, casts of its own) is unchanged.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from fanal.core.dtypes import DType
from fanal.core.errors import message

KINDS = ("cpu", "cuda", "xpu", "mps", "hpu", "xla", "mtia", "ipu", "privateuseone")
_said = False


def is_autocast_available(device_type: str) -> bool:
    """Whether `autocast` is accepted for a device: for the CPU."""
    return device_type == "cpu"


class autocast:
    """A context manager and decorator: `with autocast("cpu", dtype=fanal.bfloat16): …`."""

    def __init__(
        self,
        device_type: str,
        dtype: DType | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if device_type not in KINDS:
            raise RuntimeError(message("autocast", "unknown device type", repr(device_type), str(KINDS)))
        self.device, self.fast_dtype = device_type, dtype
        if enabled and device_type != "cpu":
            warnings.warn(
                f"User provided device_type of '{device_type}', but {device_type.upper()} is not "
                "available. Disabling",
                stacklevel=2,
            )
            enabled = False
        self._enabled = enabled

    def __enter__(self) -> autocast:
        global _said
        if self._enabled and not _said:
            _said = True
            warnings.warn("autocast: Fanal computes in the operands' own dtype on the CPU", stacklevel=2)
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return wrapper


def custom_fwd(
    fwd: Callable[..., Any] | None = None, *, device_type: str = "cpu", cast_inputs: DType | None = None
) -> Any:
    """Marks the forward of an `autograd.Function`; nothing is cast."""
    if fwd is None:
        return lambda function: function
    return fwd


def custom_bwd(bwd: Callable[..., Any] | None = None, *, device_type: str = "cpu") -> Any:
    """Marks the backward of an `autograd.Function`; nothing is cast."""
    if bwd is None:
        return lambda function: function
    return bwd
