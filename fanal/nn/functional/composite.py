"""`@composite`: a fused function that computes 16-bit floats in float32.

float16 and bfloat16 are storage: a primitive rounds its result, so a formula of many primitives
would round many times. A composite widens its 16-bit inputs once, and rounds its results once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import fused
from fanal.core.dtypes import DType
from fanal.graph.ir import Value
from fanal.ops.promotion import cast
from fanal.tensor import inplace as inplace_writes
from fanal.tensor.tensor import Tensor

Function = Callable[..., Any]


def is_narrow(x: Any) -> bool:
    """Whether a value holds 16-bit floats."""
    return isinstance(x, Value) and x.dtype.kind == "f" and x.dtype.bits == 16


def _widened(x: Any) -> Any:
    if is_narrow(x):
        return cast(x, dtypes.float32)
    if isinstance(x, tuple | list):
        return type(x)(_widened(v) for v in x)
    return x


def _narrowed(y: Any, dtype: DType) -> Any:
    if isinstance(y, Value):
        return cast(y, dtype) if y.dtype is dtypes.float32 else y
    if isinstance(y, tuple | list):
        parts = [_narrowed(v, dtype) for v in y]
        return type(y)(*parts) if hasattr(y, "_fields") else type(y)(parts)
    return y


def _first(values: Any) -> Any:
    for v in values:
        if isinstance(v, Value) and v.dtype.kind == "f" and not v.weak:
            return v
        if isinstance(v, tuple | list):
            found = _first(v)
            if found is not None:
                return found
    return None


def composite(function: Function | None = None, *, scalars: tuple[str, ...] = ()) -> Any:
    """Mark a formula: one native program each way (see `fused`), 16-bit floats in float32.

    The results have the dtype of the first floating argument.
    """
    if function is None:
        return lambda f: composite(f, scalars=scalars)
    formula = function

    @functools.wraps(formula)
    def body(*args: Any, **kwargs: Any) -> Any:
        first = _first((*args, *kwargs.values()))
        if first is None or not any(map(_holds_narrow, (*args, *kwargs.values()))):
            return formula(*args, **kwargs)
        wide = {k: _widened(v) for k, v in kwargs.items()}
        result = formula(*(_widened(a) for a in args), **wide)
        return _narrowed(result, first.dtype) if is_narrow(first) else result

    return fused(body, scalars=scalars)


def _holds_narrow(x: Any) -> bool:
    return any(map(_holds_narrow, x)) if isinstance(x, tuple | list) else is_narrow(x)


def maybe_in_place(function: Any, input: Any, inplace: bool, *args: Any) -> Any:
    """`function(input, *args)`, written into the input's memory where `inplace` asks for it."""
    if inplace and isinstance(input, Tensor):
        return inplace_writes.apply(function.fused, input, args, {})
    return function(input, *args)
