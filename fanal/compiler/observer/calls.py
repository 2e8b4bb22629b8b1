"""Which callables do nothing but compute: known by name, everything else is not.

What a captured call calls is of three kinds. Functions written in Python are watched themselves;
functions of this package are known; functions written in C are looked up here. A function that reads
the clock, a file, a random state or an iterator gives another answer each time, so a call that uses
one runs its Python every time.
"""

from __future__ import annotations

import builtins
import functools
import math
import operator
import types
from collections import OrderedDict, defaultdict, deque
from typing import Any

# Built-in functions and types that only compute from their arguments (containers are read).
PURE = {
    getattr(builtins, n)
    for n in ["abs", "all", "any", "ascii", "bin", "bool", "bytes", "callable", "chr", "complex", "dict", "divmod", "enumerate", "filter", "float", "format", "frozenset", "hasattr", "hash", "hex", "int", "isinstance", "issubclass", "len", "list", "map", "max", "min", "oct", "ord", "pow", "property", "range", "repr", "reversed", "round", "set", "slice", "sorted", "staticmethod", "classmethod", "str", "sum", "super", "tuple", "type", "zip", "getattr", "iter", "print", "object"]
}
# `print` is allowed to happen at capture only.
_MODULES = {math.__name__, operator.__name__, "_operator", "_functools", "itertools", "_collections", "_abc"}
_FRESH_ONLY = {
    list: set(["append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse"]),
    dict: set(["update", "setdefault", "pop", "popitem", "clear"]),
    set: set(
        ["add", "update", "discard", "remove", "pop", "clear", "difference_update", "intersection_update", "symmetric_difference_update"]
    ),
    deque: set(["append", "appendleft", "extend", "extendleft", "pop", "popleft", "rotate", "clear", "insert", "remove"]),
}
CONTAINERS = (list, dict, set, deque, OrderedDict, defaultdict)
_PURE_SELF: tuple[Any, ...] = (
    str, bytes, int, float, complex, bool, tuple, list, dict, set, frozenset, deque, range, slice,
    type(None), type({}.keys()), type({}.values()), type({}.items()), type, BaseException,
    types.MappingProxyType, types.FunctionType, types.MethodType, types.ModuleType, property,
)  # fmt: skip
_NEVER = set(["__setattr__", "__delattr__", "__setitem__", "__delitem__", "__iadd__", "__dict__", "__reduce__"])
C_FUNCTIONS = (
    types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType,
    types.MethodWrapperType, types.ClassMethodDescriptorType,
)  # fmt: skip


def is_pure_type(kind: type) -> bool:
    """Whether making an instance of a type written in C only computes."""
    return kind in PURE or (isinstance(kind, type) and issubclass(kind, BaseException))


def judge(function: Any, self: Any, old: Any) -> str | None:
    """Why a call of a C function can't be replayed; None if it can.

    `self` is what it is a method of (or the first argument); `old(x)` tells whether an object existed
    before the captured call.
    """
    name = getattr(function, "__name__", repr(function))
    if name in _NEVER and old(self):
        return f"{name} of an object from outside"
    if isinstance(function, types.BuiltinFunctionType) and (
        function.__self__ is None or isinstance(function.__self__, types.ModuleType)
    ):
        module = function.__module__ or ""
        if function is builtins.next or name == "next":
            return "next() of an iterator from outside" if old(self) else None
        if name == "setattr":
            return "setattr of an object from outside" if old(self) else None
        if function in PURE or module in _MODULES:
            return None
        return f"{module}.{name}()"
    kind = type(self)
    for base, names in _FRESH_ONLY.items():
        if isinstance(self, base) and name in names:
            return f"{base.__name__}.{name}() of a {base.__name__} from outside" if old(self) else None
    if isinstance(self, (*_PURE_SELF, type)):
        return None
    if not old(self):
        return None
    if isinstance(function, types.WrapperDescriptorType | types.MethodWrapperType):
        owner = getattr(function, "__objclass__", kind)
        if owner in (object, type):
            return None
    return f"{kind.__name__}.{name}()"


def unwrapped(function: Any) -> Any:
    """What a partial or bound method calls in the end."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, types.MethodType):
            function = function.__func__
        else:
            return function
