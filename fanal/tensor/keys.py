"""The key under which a call's program is kept: layouts, and the values of everything static."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from fanal.core.dispatch import Fused, LiveNumber
from fanal.core.dtypes import DType
from fanal.core.errors import message
from fanal.core.symbols import Extent, Ratio
from fanal.tensor.tensor import Tensor

NUMBERS = frozenset({bool, int, float})  # types that may be passed by value
_AS_THEY_ARE = frozenset({type(None), str, DType})  # equal only to what means the same
NAMES = object()  # in a key: keyword arguments follow


class NumpyNumber(TypeError):
    """There is a NumPy number among the arguments: the call is to be made with `plain` ones."""


def plain(a: Any) -> Any:
    """Arguments with Python's numbers in the place of NumPy's, also inside of sequences."""
    if isinstance(a, np.generic):
        return a.item()
    if type(a) in (tuple, list):
        return type(a)(plain(x) for x in a)
    if type(a) is dict:
        return {k: plain(x) for k, x in a.items()}
    return a


def key_part(a: Any, tensors: list[Any], function: Fused, where: int | str) -> Any:
    """One argument's part of the key; tensors and by-value numbers are appended to `tensors`."""
    kind = type(a)
    if kind is int:
        if function.scalars and is_scalar(function, where):
            tensors.append(a)
            return kind
        return a
    if kind in _AS_THEY_ARE:
        return a
    if isinstance(a, Tensor):
        tensors.append(a)
        return a._layout
    if kind is LiveNumber:
        if not (function.scalars and is_scalar(function, where)):
            return (float, a.hex())
        tensors.append(a)
        return float
    if kind is bool or kind is float or kind is Extent or kind is Ratio:
        if function.scalars and is_scalar(function, where):
            tensors.append(a)
            return kind
        if kind is Extent or kind is Ratio:
            return a
        # True, 1 and 1.0 are the same dictionary key, and so are 0.0 and -0.0.
        return (kind, a) if kind is bool else (kind, a.hex())
    if kind is tuple:
        for x in a:
            if type(x) is not int:
                break
        else:
            return a
    if kind is tuple or kind is list:
        parts: list[Any] = [kind]
        for x in a:
            if type(x) is Tensor:
                tensors.append(x)
                parts.append(x._layout)
            else:
                parts.append(key_part(x, tensors, function, ""))
        return tuple(parts)
    if isinstance(a, np.generic):
        raise NumpyNumber
    if kind is np.ndarray:
        raise TypeError(
            message(
                function.name, "a NumPy array where a tensor is expected", kind.__name__,
                "a Tensor", "fanal.from_numpy(array)",
            )
        )
    return (kind, a)


def is_scalar(function: Fused, where: int | str) -> bool:
    """Whether an argument's Python number is a run-time input of the program."""
    if not function.scalars:
        return False
    if isinstance(where, str):
        return where in function.scalars
    if function.signature is None:
        names = list(inspect.signature(function.body).parameters)
        function.signature = frozenset(i for i, n in enumerate(names) if n in function.scalars)
    return where in function.signature
