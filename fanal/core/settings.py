"""Switches that PyTorch's users set, and what they mean here.

Most ask for what Fanal always does: results do not depend on threads, and float32 products are
computed in float32. They are kept, so that programs which set and read them run unchanged.
"""

from __future__ import annotations

from typing import Any

from fanal.core import dtypes
from fanal.core.device import CPU, device
from fanal.core.errors import message

_state: dict[str, Any] = {
    "deterministic": False, "deterministic_warn": False, "matmul_precision": "highest",
    "warn_always": False, "interop_threads": 1,
}  # fmt: skip


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Ask for results that do not vary between runs. Here they never do; the wish is remembered."""
    _state["deterministic"], _state["deterministic_warn"] = bool(mode), bool(warn_only)


def are_deterministic_algorithms_enabled() -> bool:
    """What `use_deterministic_algorithms` was last asked for."""
    return bool(_state["deterministic"])


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """The `warn_only` of `use_deterministic_algorithms`."""
    return bool(_state["deterministic"] and _state["deterministic_warn"])


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """"default" (0), "warn" (1) or "error" (2)."""
    names = ("default", "warn", "error")
    number = names.index(debug_mode) if debug_mode in names else debug_mode
    if number not in (0, 1, 2):
        raise RuntimeError(message("set_deterministic_debug_mode", "unknown mode", repr(debug_mode)))
    use_deterministic_algorithms(number != 0, warn_only=number == 1)


def get_deterministic_debug_mode() -> int:
    """0, 1 or 2; see `set_deterministic_debug_mode`."""
    if not _state["deterministic"]:
        return 0
    return 1 if _state["deterministic_warn"] else 2


def set_float32_matmul_precision(precision: str) -> None:
    """"highest", "high" or "medium". Here float32 products are always of the highest precision."""
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(
            message("set_float32_matmul_precision", "unknown precision", repr(precision),
                    "'highest', 'high' or 'medium'")
        )
    _state["matmul_precision"] = precision


def get_float32_matmul_precision() -> str:
    """What `set_float32_matmul_precision` was last given."""
    return str(_state["matmul_precision"])


def set_flush_denormal(mode: bool) -> bool:
    """Subnormal numbers are never flushed to zero: returns whether that is what was asked for."""
    return not mode


def set_warn_always(b: bool) -> None:
    """Whether a warning is given each time; kept for programs that set it."""
    _state["warn_always"] = bool(b)


def is_warn_always_enabled() -> bool:
    """What `set_warn_always` was last given."""
    return bool(_state["warn_always"])


def set_num_interop_threads(num: int) -> None:
    """Operations run one after another here; the number is remembered."""
    if num < 1:
        raise RuntimeError(message("set_num_interop_threads", "not a positive number", num))
    _state["interop_threads"] = num


def get_num_interop_threads() -> int:
    """What `set_num_interop_threads` was last given."""
    return int(_state["interop_threads"])


def set_default_device(device: Any) -> None:
    """Choose where new tensors live; today that is the CPU. Raises RuntimeError for others."""
    _device("cpu" if device is None else device)


_device = device


def get_default_device() -> device:
    """Where new tensors live: the CPU."""
    return CPU


def set_default_tensor_type(t: Any) -> None:
    """The old way to set the default dtype: "torch.FloatTensor", "torch.DoubleTensor", …"""
    name = str(t).rsplit(".", 1)[-1]
    kinds = {
        "FloatTensor": dtypes.float32, "DoubleTensor": dtypes.float64, "HalfTensor": dtypes.float16,
        "BFloat16Tensor": dtypes.bfloat16,
    }  # fmt: skip
    if name not in kinds:
        raise TypeError(
            message("set_default_tensor_type", "not a floating tensor type", repr(t),
                    ", ".join(kinds), "set_default_dtype()")
        )
    dtypes.set_default_dtype(kinds[name])
