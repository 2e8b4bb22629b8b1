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
from fanal.ops.promotion import cast, result_type

Function = Callable[..., Any]


def is_narrow(x: Any) -> bool:
    """Whether a value holds 16-bit floats."""
    return isinstance(x, Value) and x.dtype.kind == "f" and x.dtype.bits == 16


def holds_narrow(x: Any) -> bool:
    """Whether there are 16-bit floats in a value or in nested sequences of values."""
    return any(map(holds_narrow, x)) if isinstance(x, tuple | list) else is_narrow(x)


def _widened(x: Any) -> Any:
    if is_narrow(x):
        return cast(x, dtypes.float32)
    if isinstance(x, tuple | list) and holds_narrow(x):
        return type(x)(_widened(v) for v in x)
    return x


def _narrowed(y: Any, dtype: DType) -> Any:
    if isinstance(y, Value):
        return cast(y, dtype) if y.dtype is dtypes.float32 else y
    if isinstance(y, tuple | list):
        parts = [_narrowed(v, dtype) for v in y]
        return type(y)(*parts) if hasattr(y, "_fields") else type(y)(parts)
    return y


def first_float(values: Any) -> Any:
    """The first floating value in nested sequences that is not a Python number's; None if none."""
    for v in values:
        if isinstance(v, Value) and v.dtype.kind == "f" and not v.weak:
            return v
        if isinstance(v, tuple | list):
            found = first_float(v)
            if found is not None:
                return found
    return None


def _common(values: Any) -> DType:
    return result_type(*[v for v in values if isinstance(v, Value)])


def composite(
    function: Function | None = None, *, scalars: tuple[str, ...] = (), promote: bool = False
) -> Any:
    """Mark a formula: one native program each way (see `fused`), 16-bit floats in float32.

    The results have the dtype of the first floating argument; with `promote`, the common dtype.
    """
    if function is None:
        return lambda f: composite(f, scalars=scalars, promote=promote)
    formula = function

    @functools.wraps(formula)
    def body(*args: Any, **kwargs: Any) -> Any:
        values = (*args, *kwargs.values())
        first = first_float(values)
        if first is None or not any(map(holds_narrow, values)):
            return formula(*args, **kwargs)
        dtype = _common(values) if promote else first.dtype
        wide = {k: _widened(v) for k, v in kwargs.items()}
        result = formula(*(_widened(a) for a in args), **wide)
        return _narrowed(result, dtype) if dtype.bits == 16 else result

    return fused(body, scalars=scalars)
