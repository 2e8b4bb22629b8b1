"""Checks of optimisers' options, and the defaults that older saved states lack."""

from __future__ import annotations

from typing import Any

from fanal.core.errors import message
from fanal.tensor.tensor import Tensor

_SWITCHES = ("maximize", "capturable", "differentiable", "foreach", "fused")


def check_lr(name: str, lr: Any) -> None:
    """ValueError unless the learning rate is a number, or tensor of one element, of 0 or more."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError(message(name, "Tensor lr must be 1-element", tuple(lr.shape)))
    at_least_zero(name, "learning rate", lr)


def at_least_zero(name: str, what: str, value: Any) -> None:
    """ValueError for an option below 0 (or NaN)."""
    if not value >= 0.0:
        raise ValueError(message(name, f"Invalid {what}", value, "0 or more"))


def check_betas(name: str, betas: Any) -> None:
    """ValueError unless each decay rate is in [0, 1)."""
    for i, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            what = f"Invalid beta parameter at index {i}"
            raise ValueError(message(name, what, beta, "0 or more, below 1"))


def check_switches(name: str, foreach: Any, fused: Any, differentiable: bool) -> None:
    """RuntimeError for switches that exclude one another."""
    if fused and differentiable:
        raise RuntimeError(message(name, "`fused` does not support `differentiable`"))
    if fused and foreach:
        raise RuntimeError(message(name, "`fused` and `foreach` cannot be `True` together"))


def number(x: Any) -> float:
    """An option as a number; a tensor of one element counts as one."""
    return x if type(x) is float else float(x)


def with_defaults(groups: list[dict[str, Any]], defaults: dict[str, Any]) -> None:
    """Give groups the switches that a state saved by an older version lacks."""
    for group in groups:
        for name in defaults:
            if name in _SWITCHES:
                group.setdefault(name, None if name in ("foreach", "fused") else False)
            elif name not in ("lr", "params"):
                group.setdefault(name, defaults[name])
