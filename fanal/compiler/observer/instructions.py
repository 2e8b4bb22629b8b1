"""What each kind of instruction reads, writes and calls."""

from __future__ import annotations

import dis
import functools
import types
from collections import deque
from typing import Any

from fanal.compiler.observer import calls, frames
from fanal.compiler.observer.frames import Null, operands
from fanal.compiler.observer.package import UNKNOWN
from fanal.compiler.observer.watch import Observer, handles
from fanal.tensor.tensor import Tensor

Frame = types.FrameType
Instruction = dis.Instruction


# -- reads ---------------------------------------------------------------------------------------------


@handles("LOAD_GLOBAL", "LOAD_NAME")
def _global(o: Observer, frame: Frame, i: Instruction) -> None:
    o.global_(frame, i.argval)


@handles("LOAD_DEREF", "LOAD_CLASSDEREF")
def _cell(o: Observer, frame: Frame, i: Instruction) -> None:
    assert i.arg is not None
    cell = frames.local(frame, i.arg)
    if id(cell) in o._cells or not isinstance(cell, types.CellType):
        return
    o.guards.cell(cell, f"the variable {i.argval}")
    o.adopt(cell.cell_contents, frame)


@handles("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR")
def _attribute(o: Observer, frame: Frame, i: Instruction) -> None:
    if i.opname == "LOAD_SUPER_ATTR":
        return
    o.attribute(operands(frame, 1)[0], i.argval, frame)


@handles("BINARY_SUBSCR")
def _item(o: Observer, frame: Frame, i: Instruction) -> None:
    x, key = operands(frame, 2)
    o.item(x, key, frame)


@handles("BINARY_SLICE")
def _slice(o: Observer, frame: Frame, i: Instruction) -> None:
    o.contents(operands(frame, 3)[0], frame)


@handles("GET_ITER")
def _iterate(o: Observer, frame: Frame, i: Instruction) -> None:
    (x,) = operands(frame, 1)
    if o.is_old(x) and hasattr(x, "__next__"):
        o.refuse("an iterator from outside is advanced", frame)
    o.contents(x, frame)


@handles("UNPACK_SEQUENCE", "UNPACK_EX", "UNARY_NOT", "TO_BOOL", "LIST_EXTEND", "SET_UPDATE",
         "DICT_UPDATE", "DICT_MERGE", "POP_JUMP_FORWARD_IF_TRUE", "POP_JUMP_FORWARD_IF_FALSE",
         "POP_JUMP_BACKWARD_IF_TRUE", "POP_JUMP_BACKWARD_IF_FALSE", "POP_JUMP_IF_TRUE",
         "POP_JUMP_IF_FALSE", "JUMP_IF_TRUE_OR_POP", "JUMP_IF_FALSE_OR_POP", "MATCH_CLASS",
         "MATCH_KEYS")  # fmt: skip
def _whole(o: Observer, frame: Frame, i: Instruction) -> None:
    for x in operands(frame, 2 if i.opname.startswith("MATCH") else 1):
        if o.is_old(x) and hasattr(x, "__next__"):
            o.refuse("an iterator from outside is advanced", frame)
        o.contents(x, frame)


@handles("CONTAINS_OP", "COMPARE_OP")
def _compare(o: Observer, frame: Frame, i: Instruction) -> None:
    for x in operands(frame, 2):
        o.contents(x, frame)


@handles("BINARY_OP")
def _operator(o: Observer, frame: Frame, i: Instruction) -> None:
    left, right = operands(frame, 2)
    in_place = (i.argrepr or "").endswith("=")
    if in_place and o.is_old(left) and isinstance(left, calls.CONTAINERS):
        o.refuse(f"a {type(left).__name__} from outside is changed", frame)
        return
    for x in (left, right):
        o.contents(x, frame)


# -- writes --------------------------------------------------------------------------------------------


@handles("STORE_ATTR", "DELETE_ATTR")
def _set_attribute(o: Observer, frame: Frame, i: Instruction) -> None:
    (x,) = operands(frame, 1)
    if isinstance(x, Tensor) and i.argval == "grad" and i.opname == "STORE_ATTR":
        return  # the recorder knows
    if o.is_old(x):
        o.refuse(f"the attribute {i.argval} of a {type(x).__name__} from outside is changed", frame)


@handles("STORE_SUBSCR", "DELETE_SUBSCR")
def _set_item(o: Observer, frame: Frame, i: Instruction) -> None:
    x = operands(frame, 2)[0]
    if o.is_old(x) and not isinstance(x, Tensor):
        o.refuse(f"an item of a {type(x).__name__} from outside is changed", frame)


@handles("STORE_SLICE")
def _set_slice(o: Observer, frame: Frame, i: Instruction) -> None:
    x = operands(frame, 3)[0]
    if o.is_old(x) and not isinstance(x, Tensor):
        o.refuse(f"a part of a {type(x).__name__} from outside is changed", frame)


@handles("STORE_GLOBAL", "DELETE_GLOBAL", "STORE_NAME", "DELETE_NAME")
def _set_global(o: Observer, frame: Frame, i: Instruction) -> None:
    o.refuse(f"the global {i.argval} is changed", frame)


@handles("STORE_DEREF", "DELETE_DEREF")
def _set_cell(o: Observer, frame: Frame, i: Instruction) -> None:
    assert i.arg is not None
    cell = frames.local(frame, i.arg)
    if id(cell) not in o._cells:
        o.refuse(f"the variable {i.argval} of an enclosing function is changed", frame)


# -- calls -----------------------------------------------------------------------------------------------


@handles("CALL", "CALL_KW")
def _call(o: Observer, frame: Frame, i: Instruction) -> None:
    count = i.arg or 0
    extra = 1 if i.opname == "CALL_KW" else 0
    taken = operands(frame, count + 2 + extra)
    first, second, *args = taken[: count + 2]
    if isinstance(first, type) and first is Null:  # 3.11, 3.12: an empty place before the callable
        function, given = second, args
    elif second is Null:  # 3.13: behind it
        function, given = first, args
    else:
        function, given = first, [second, *args]
    o.values.calling(frame, o.following(frame), function)
    if _appends(o, function, given):
        return
    o.values.call(frame, o.following(frame), function, given, taken)
    called(o, frame, function, given)


def _appends(o: Observer, function: Any, given: list[Any]) -> bool:
    """Whether a call appends something to a list from outside that a replay can append, too."""
    if not isinstance(function, types.MethodDescriptorType | types.BuiltinFunctionType):
        return False
    if function.__name__ != "append" or not 1 <= len(given) <= 2:
        return False
    bound = getattr(function, "__self__", None)
    owner, x = (given[0] if len(given) == 2 else bound), given[-1]
    return type(owner) in (list, deque) and o.is_old(owner) and o.appends(owner, x)


@handles("CALL_FUNCTION_EX")
def _call_with(o: Observer, frame: Frame, i: Instruction) -> None:
    has_names = bool((i.arg or 0) & 1)
    taken = operands(frame, 3 + has_names)
    function = next(x for x in taken[:2] if x is not Null)
    packed, names = taken[2], taken[3] if has_names else {}
    o.values.calling(frame, o.following(frame), function)
    o.contents(packed, frame)
    o.contents(names, frame)
    given = list(packed) if isinstance(packed, list | tuple) else []
    called(o, frame, function, [*given, *(names.values() if isinstance(names, dict) else ())])


def called(o: Observer, frame: Frame, function: Any, args: list[Any]) -> None:
    """A call: of a watched function, of one that is known, or a reason."""
    if isinstance(function, functools.partial):
        o.adopt(function.func, frame)
        for x in (*function.args, *function.keywords.values()):
            o.adopt(x, frame)
        called(o, frame, function.func, [*function.args, *args])
        return
    if isinstance(function, types.MethodType):
        called(o, frame, function.__func__, [function.__self__, *args])
        return
    why = o.package.judge(function, args)
    if why is not UNKNOWN:
        if why is not None:
            o.refuse(str(why), frame)
        for x in args:
            _read(o, frame, x)
        return
    if isinstance(function, types.FunctionType):
        return  # watched itself
    if isinstance(function, type):
        _made(o, frame, function, args)
        return
    if isinstance(function, calls.C_FUNCTIONS):
        _c_call(o, frame, function, args)
        return
    if type(function).__flags__ & (1 << 9) and not isinstance(function, functools._lru_cache_wrapper):
        return  # an object with a __call__ that is watched
    o.refuse(f"a call of {type(function).__module__}.{type(function).__qualname__}", frame)


def _read(o: Observer, frame: Frame, x: Any) -> None:
    """What a function of this package is given: it reads containers, also those within others."""
    if o.is_old(x):
        if isinstance(x, (*calls.CONTAINERS, frozenset)):
            o.contents(x, frame)
        elif hasattr(type(x), "__next__"):
            o.refuse("an iterator from outside is advanced", frame)
    if type(x) in (list, tuple, dict) and (type(x) is tuple or not o.is_old(x)):
        for y in x.values() if type(x) is dict else x:
            if not isinstance(y, Tensor):
                _read(o, frame, y)


def _made(o: Observer, frame: Frame, kind: type, args: list[Any]) -> None:
    """An object is made: by a type that only computes, or by a class whose methods are watched."""
    if kind.__flags__ & (1 << 9) or calls.is_pure_type(kind):
        for x in args:
            _argument(o, frame, x)
        return
    if kind.__module__ in ("itertools", "collections", "_collections", "types", "numpy"):
        for x in args:
            _argument(o, frame, x)
        return
    o.refuse(f"a call of {kind.__module__}.{kind.__qualname__}", frame)


def _c_call(o: Observer, frame: Frame, function: Any, args: list[Any]) -> None:
    self = getattr(function, "__self__", None)
    bound = self is not None and not isinstance(self, types.ModuleType)
    owner = self if bound else (args[0] if args else None)
    why = calls.judge(function, owner, o.is_old)
    if why is not None:
        o.refuse(why, frame)
        return
    if function is print:
        o.values.path.happened("print() in a call that asks for the value of a tensor", frame)
    name = getattr(function, "__name__", "")
    given = [owner, *args] if bound else args
    if name in ("getattr", "hasattr") and len(args) > 1:
        o.attribute(args[0], args[1], frame)
        return
    if name in ("get", "__getitem__") and isinstance(given[0], dict) and len(given) > 1:
        o.item(given[0], given[1], frame) if given[1] in given[0] or type(given[0]) is dict else None
        return
    for x in given:
        _argument(o, frame, x)


def _argument(o: Observer, frame: Frame, x: Any) -> None:
    """What a function written in C is given: containers are read, functions may be called."""
    if o.is_old(x) and hasattr(x, "__next__"):
        o.refuse("an iterator from outside is advanced", frame)
    o.contents(x, frame)
    plain = calls.unwrapped(x)
    if isinstance(plain, calls.C_FUNCTIONS):
        why = calls.judge(plain, getattr(plain, "__self__", None), o.is_old)
        if why is not None:
            o.refuse(why, frame)

