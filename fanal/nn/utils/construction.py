"""Modules made without drawing initial values."""

from __future__ import annotations

import inspect
from typing import Any

from fanal.nn import init


def skip_init(module_cls: type, *args: Any, **kwargs: Any) -> Any:
    """A module whose parameters are whatever is in memory: `skip_init(nn.Linear, 784, 10)`."""
    from fanal.nn.module import Module

    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    with init.skipped():
        return module_cls(*args, **kwargs)
