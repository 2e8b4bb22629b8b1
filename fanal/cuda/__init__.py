"""`fanal.cuda`: says truthfully that there is none, so that programs which ask take their CPU path.

What only makes sense with a GPU raises an error that names what exists today.
"""

from __future__ import annotations

from typing import Any

from fanal.core.device import device


def is_available() -> bool:
    """Whether there is a CUDA device: no."""
    return False


def device_count() -> int:
    """Number of CUDA devices: 0."""
    return 0


def is_initialized() -> bool:
    """Whether CUDA was used: no."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether CUDA devices compute in bfloat16: there are none."""
    return False


def manual_seed(seed: int) -> None:
    """Seeds nothing, as there is no device."""


def manual_seed_all(seed: int) -> None:
    """Seeds nothing, as there is no device."""


def empty_cache() -> None:
    """Frees nothing, as there is no device."""


def _absent(name: str) -> Any:
    def function(*args: Any, **kwargs: Any) -> Any:
        device("cuda")

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "Raises RuntimeError: there is no CUDA device; the CPU is the only one."
    return function


current_device = _absent("current_device")
get_device_name = _absent("get_device_name")
get_device_properties = _absent("get_device_properties")
set_device = _absent("set_device")
synchronize = _absent("synchronize")
