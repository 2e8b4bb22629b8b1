"""The views of other modules with memory of their own: `permute_copy`, `unbind_copy`, …"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from fanal.ops import diagonals, rearranging, shape
from fanal.tensor import conversion, strided, toplevel
from fanal.tensor.outputs import takes_out
from fanal.tensor.tensor import Tensor


def _slice(
    input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    found: Tensor = input[(slice(None),) * (dim % input.ndim) + (slice(start, end, step),)]
    return found


def _copy_of(view: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(view)
    def function(*args: Any, **kwargs: Any) -> Any:
        found = view(*args, **kwargs)
        if isinstance(found, tuple):
            return tuple(shape.clone(t) for t in found)
        return shape.clone(found)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{name.removesuffix('_copy')}` in memory of its own."
    return function


def _taking_out(view: Callable[..., Any], name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = takes_out(_copy_of(view, name))
    return found


COPIES = {
    f"{name}_copy": _taking_out(view, f"{name}_copy")
    for name, view in {
        "alias": shape.alias, "as_strided": strided.as_strided, "detach": Tensor.detach,
        "expand": shape.expand, "permute": shape.permute, "select": shape.select, "slice": _slice,
        "split": shape.split, "split_with_sizes": toplevel.split_with_sizes,
        "squeeze": shape.squeeze, "t": shape.t, "transpose": shape.transpose,
        "unbind": shape.unbind, "unfold": rearranging.unfold, "unsqueeze": shape.unsqueeze,
        "view": conversion.view, "narrow": toplevel.narrow,
    }.items()
} | {"diagonal_copy": takes_out(diagonals.diagonal_copy)}  # fmt: skip
