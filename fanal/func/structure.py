"""Arguments and results of transformed functions: trees of tensors, and which of them are meant."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fanal.autograd.mode import mode
from fanal.tensor.tensor import Tensor

Function = Callable[..., Any]
Argnums = int | tuple[int, ...]


def name_of(function: Any) -> str:
    """What messages call a function."""
    if hasattr(function, "__name__"):
        return str(function.__name__)
    if isinstance(function, functools.partial):
        return f"functools.partial({name_of(function.func)}, ...)"
    return repr(function)


def wraps(function: Any) -> Callable[[Function], Function]:
    """`functools.wraps` for anything that can be called; no attributes are copied."""
    return functools.wraps(function, updated=())


@contextmanager
def transforming() -> Iterator[None]:
    """A block in which `backward()` is refused: it would write to `.grad` what belongs to a transform."""
    mode.transforms += 1
    try:
        yield
    finally:
        mode.transforms -= 1


def checked_argnums(argnums: Any, count: int) -> tuple[int, ...]:
    """Which of `count` arguments are meant."""
    if not isinstance(argnums, int | tuple) or isinstance(argnums, bool):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    given = (argnums,) if isinstance(argnums, int) else argnums
    if not given:
        raise RuntimeError("argnums must be non-empty")
    found = []
    for a in given:
        if not isinstance(a, int):
            raise RuntimeError(f"argnum must be int, got: {type(a)}")
        if not -count <= a < count:
            raise RuntimeError(f"Got argnum={a}, but only {count} positional inputs")
        found.append(a % count)
    if len(set(found)) != len(found):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")
    return tuple(found)


def check_results(api: str, leaves: list[Any]) -> None:
    """RuntimeError unless a function returned tensors."""
    if not leaves or (len(leaves) == 1 and leaves[0] is None):
        raise RuntimeError(
            f"{api}: Expected f to be a function that has non-empty output (got output = {leaves})"
        )
    for x in leaves:
        if not isinstance(x, Tensor):
            raise RuntimeError(
                f"{api}: expected f(*primals) to return only tensors, got unsupported type {type(x)}"
            )


def with_aux(api: str, result: Any) -> tuple[Any, Any]:
    """The parts of a result (output, aux)."""
    if not (isinstance(result, tuple) and len(result) == 2):
        raise RuntimeError(
            f"{api}: output of function f should be a tuple: (output, aux) if has_aux is True"
        )
    return result


def check_aux(leaves: list[Any]) -> None:
    """RuntimeError unless all that is handed through are tensors."""
    for x in leaves:
        if not isinstance(x, Tensor):
            raise RuntimeError(f"Expected tensors, got unsupported type {type(x)}")
