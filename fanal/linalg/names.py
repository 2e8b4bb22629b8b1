"""PyTorch's names of parameters, where one function stands in several namespaces.

`torch.linalg` documents `A` and takes `input` as well; `torch.det` calls the same parameter `input`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from fanal.core.errors import message


def also_named(function: Callable[..., Any], **names: str) -> Any:
    """Let a function take keyword arguments by other names too: `other_name="own_name"`."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            own = {names.get(k, k): v for k, v in kwargs.items()}
            if len(own) < len(kwargs):
                raise TypeError(
                    message(function.__name__, "an argument is given by two names", list(kwargs))
                )
            kwargs = own
        return function(*args, **kwargs)

    return wrapper


def renamed(function: Callable[..., Any], name: str, **names: str) -> Any:
    """A function under another name, its parameters too; the own names are taken as well."""
    wrapper = also_named(function, **names)
    wrapper.__name__ = wrapper.__qualname__ = name
    new = {own: shown for shown, own in names.items()}
    signature = inspect.signature(function)
    parameters = [p.replace(name=new.get(p.name, p.name)) for p in signature.parameters.values()]
    wrapper.__signature__ = signature.replace(parameters=parameters)
    return wrapper
