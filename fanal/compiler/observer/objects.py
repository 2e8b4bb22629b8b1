"""Kinds of objects from outside, and how their attributes are read without running anything."""

from __future__ import annotations

import enum
import types
from collections import OrderedDict, defaultdict, deque
from typing import Any

import numpy as np

from fanal.compiler.observer.guards import MISSING, PLAIN
from fanal.tensor.tensor import Tensor

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class written in Python (or like one)
_UNDERSTOOD: tuple[Any, ...] = (
    Tensor, list, tuple, dict, set, frozenset, deque, range, slice, type, types.ModuleType,
    types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.MethodDescriptorType,
    types.WrapperDescriptorType, types.MethodWrapperType, types.ClassMethodDescriptorType,
    types.GetSetDescriptorType, types.MemberDescriptorType,
    types.SimpleNamespace, types.MappingProxyType, types.CellType, types.GenericAlias, types.UnionType,
    property, staticmethod, classmethod, super, enum.Enum, np.dtype, np.generic, np.ufunc,
    type({}.keys()), type({}.values()), type({}.items()), BaseException,
)  # fmt: skip
_BASES = {object, list, tuple, dict, set, frozenset, int, float, str, bytes, deque, OrderedDict, defaultdict}


def understood(x: Any) -> bool:
    """Whether all that an object can do is seen: not so of files, iterators, arrays, generators, …"""
    kind = type(x)
    if kind in PLAIN or isinstance(x, _UNDERSTOOD):
        return True
    if kind.__module__.split(".", 1)[0] == "fanal":
        return True
    return all(c in _BASES or c.__flags__ & _HEAP_TYPE for c in kind.__mro__) and not isinstance(
        x, types.GeneratorType
    )


def in_class(kind: type, name: str) -> tuple[Any, type | None]:
    """What a class (or a base of it) has under a name, and which of them has it."""
    for c in kind.__mro__:
        if name in c.__dict__:
            return c.__dict__[name], c
    return MISSING, None


def is_data_descriptor(x: Any) -> bool:
    return hasattr(type(x), "__set__") or hasattr(type(x), "__delete__")
