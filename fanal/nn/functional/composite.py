"""`@composite` for layers and functions: see `fanal.ops.composite`; and what `inplace=True` means."""

from __future__ import annotations

from typing import Any

from fanal.ops.composite import composite, is_narrow
from fanal.tensor import inplace as inplace_writes
from fanal.tensor.tensor import Tensor


def maybe_in_place(function: Any, input: Any, inplace: bool, *args: Any) -> Any:
    """`function(input, *args)`, written into the input's memory where `inplace` asks for it."""
    if inplace and isinstance(input, Tensor):
        return inplace_writes.apply(function.fused, input, args, {})
    return function(input, *args)


__all__ = ["composite", "is_narrow", "maybe_in_place"]
