"""The states of parameters: the container, and how a loaded value becomes a state."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from fanal.tensor.tensor import Tensor


class States(defaultdict[Any, Any]):
    """The states by parameter, `defaultdict(dict)`; `changes` counts what comes and goes."""

    def __init__(self, *args: Any):
        super().__init__(*(args or (dict,)))
        self.changes = 0

    def __setitem__(self, key: Any, value: Any) -> None:
        self.changes += 1
        super().__setitem__(key, value)

    def __delitem__(self, key: Any) -> None:
        self.changes += 1
        super().__delitem__(key)

    def __ior__(self, other: Any) -> Any:  # type: ignore[misc]
        self.changes += 1
        return super().__ior__(other)

    def clear(self) -> None:
        self.changes += 1
        super().clear()

    def pop(self, *args: Any) -> Any:
        self.changes += 1
        return super().pop(*args)

    def popitem(self) -> Any:
        self.changes += 1
        return super().popitem()

    def update(self, *args: Any, **kwargs: Any) -> None:
        self.changes += 1
        super().update(*args, **kwargs)


def adapted(param: Tensor, value: Any, key: str | None = None) -> Any:
    """A loaded value as state of a parameter: a copy; floating state takes the parameter's dtype
    (all but the counter `step`)."""
    if isinstance(value, Tensor):
        value = value.detach().clone()
        floating = param.dtype.kind == "f" and value.dtype.kind == "f"
        return value.to(param.dtype) if floating and key != "step" else value
    if isinstance(value, dict):
        return {k: adapted(param, v, k) for k, v in value.items()}
    if isinstance(value, list | tuple | set):
        return type(value)(adapted(param, v) for v in value)
    return value
