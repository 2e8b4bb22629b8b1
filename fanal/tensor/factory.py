"""What all functions that make tensors take: `out`, `layout`, `pin_memory`, `memory_format`, `size`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from fanal.core.errors import message
from fanal.core.memory_format import channels_last, channels_last_3d, strided

_EXTRA = {"out": None, "layout": None, "pin_memory": False}
_LIKE = {"layout": None, "memory_format": None, "pin_memory": False}


def factory(function: Callable[..., Any]) -> Any:
    """Give a function that makes tensors PyTorch's common options.

    `size=` stands for positional sizes. Pinned memory is ordinary memory here.
    """
    name = function.__name__
    found = inspect.signature(function)
    like = name.endswith("_like")
    given = list(found.parameters.values())
    extra = _LIKE if like else _EXTRA | ({"memory_format": None} if name == "empty" else {})
    options = [
        inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=d)
        for n, d in extra.items()
        if n not in found.parameters
    ]
    sized = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in given)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if not kwargs:
            return function(*args)
        out, memory_format = kwargs.pop("out", None), kwargs.pop("memory_format", None)
        layout = kwargs.pop("layout", None)
        kwargs.pop("pin_memory", None)
        if layout is not None and layout is not strided:
            raise RuntimeError(
                message(name, "no such layout here", repr(layout), "fanal.strided, the only one")
            )
        if sized and "size" in kwargs:
            args = (*args, kwargs.pop("size"))
        if out is None:
            made = function(*args, **kwargs)
        else:
            from fanal.tensor.outputs import written

            kwargs.setdefault("dtype", out.dtype)
            made = written(name, function(*args, **kwargs), out)
        if memory_format in (channels_last, channels_last_3d):
            made = made.contiguous(memory_format=memory_format)
        return made

    wrapper.__signature__ = found.replace(parameters=[*given, *options])  # type: ignore[attr-defined]
    return wrapper
