"""Which numbers of a watched call are values that it asked a tensor for, and what becomes of them.

A float that `.item()` gave is an object of its own, so it is known by identity wherever Python moves it.
Arithmetic makes further values, comparisons decisions: of these only the outcome counts. Wherever such
a float goes that is not known here (a text, a container, a function written in C), its very value counts
from then on: another value is another way, and correct for that.
"""

from __future__ import annotations

import dis
import functools
import inspect
import math
import operator
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fanal.compiler.observer import frames
from fanal.compiler.observer.frames import operands
from fanal.compiler.values import Slot, exact, kind_of
from fanal.tensor.interop import item
from fanal.tensor.tensor import Tensor

if TYPE_CHECKING:
    from fanal.compiler.observer.watch import Observer
    from fanal.compiler.path import Path

Frame = types.FrameType
Instruction = dis.Instruction
_PLAIN = (float, int, bool)
_PACKAGE = __name__.split(".", 1)[0] + "."
# Instructions that move objects without looking at them.
_MOVES = {
    "CACHE", "RESUME", "NOP", "POP_TOP", "PUSH_NULL", "COPY", "SWAP", "LOAD_CONST", "LOAD_FAST",
    "LOAD_FAST_CHECK", "LOAD_FAST_AND_CLEAR", "LOAD_FAST_LOAD_FAST", "STORE_FAST",
    "STORE_FAST_LOAD_FAST", "STORE_FAST_STORE_FAST", "DELETE_FAST", "LOAD_CLOSURE", "MAKE_CELL",
    "COPY_FREE_VARS", "LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "STORE_DEREF", "DELETE_DEREF",
    "JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT", "EXTENDED_ARG", "KW_NAMES", "PRECALL",
    "POP_JUMP_FORWARD_IF_NONE", "POP_JUMP_FORWARD_IF_NOT_NONE", "POP_JUMP_BACKWARD_IF_NONE",
    "POP_JUMP_BACKWARD_IF_NOT_NONE", "POP_JUMP_IF_NONE", "POP_JUMP_IF_NOT_NONE", "IS_OP", "FOR_ITER",
    "END_FOR", "PUSH_EXC_INFO", "POP_EXCEPT", "IMPORT_NAME", "IMPORT_FROM", "RETURN_CONST",
}  # fmt: skip
# How many values other instructions take; all of the stack where that is not known.
_TAKES = {
    "LOAD_ATTR": 1, "LOAD_METHOD": 1, "STORE_ATTR": 2, "DELETE_ATTR": 1, "STORE_SUBSCR": 3, "GET_ITER": 1,
    "DELETE_SUBSCR": 2, "CONTAINS_OP": 2, "YIELD_VALUE": 1, "LIST_EXTEND": 1, "BINARY_SLICE": 3,
    "BEFORE_WITH": 1, "SET_ADD": 1, "MAP_ADD": 2, "CHECK_EXC_MATCH": 2, "STORE_GLOBAL": 1,
    "DICT_MERGE": 1, "DICT_UPDATE": 1, "SET_UPDATE": 1, "LIST_TO_TUPLE": 1, "UNPACK_EX": 1,
    "UNARY_INVERT": 1, "UNARY_POSITIVE": 1,
}  # fmt: skip
_TAKES_BY_ARGUMENT: dict[str, Callable[[int], int]] = {
    "MAKE_FUNCTION": lambda flags: 1 + (flags & 15).bit_count(), "BUILD_SLICE": lambda count: count,
    "BUILD_STRING": lambda count: count, "BUILD_SET": lambda count: count,
    "FORMAT_VALUE": lambda flags: 1 + (flags >> 2 & 1), "RAISE_VARARGS": lambda count: count,
    "CALL_FUNCTION_EX": lambda flags: 3 + (flags & 1),
}  # fmt: skip
_COMPARE = {
    "<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">": operator.gt,
    ">=": operator.ge,
}  # fmt: skip
_ARITHMETIC = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
    "//": operator.floordiv, "%": operator.mod, "**": operator.pow,
}  # fmt: skip
# Functions of numbers that only compute and give a number of their own.
_FUNCTIONS = {
    abs, float, int, bool, round, *(
        getattr(math, n)
        for n in ("isnan", "isinf", "isfinite", "sqrt", "exp", "log", "log2", "log10", "log1p", "floor",
                  "ceil", "trunc", "tanh", "sin", "cos", "fabs", "copysign", "pow", "isclose", "fmod")
    ),
}  # fmt: skip


_SAFE = {operator.add, operator.sub, operator.mul, operator.neg, abs, float, bool, math.isnan, math.isinf,
         math.isfinite, math.fabs, math.copysign}  # fmt: skip


# Operators and methods of tensors that pass a number on as it is, as an input of what is computed.
_BY_VALUE = {"+", "-", "*", "/"}


@functools.cache
def _methods() -> frozenset[Any]:
    names = ("add", "sub", "mul", "div", "multiply", "true_divide")
    return frozenset(getattr(Tensor, name + end) for name in names for end in ("", "_"))


class Values:
    """The values of one watched call. `path` notes what becomes of them."""

    path: Path

    def __init__(self, observer: Observer):
        self._observer = observer
        self._slots: dict[int, tuple[float, Slot]] = {}
        # Nothing is held here but numbers: what the call holds, and when, must not depend on being watched.
        self._holders: set[int] = set()  # tuples, lists and dicts of the call that hold some
        self._next: tuple[int, int, Slot | None] | None = None  # where a new one is on top of the stack
        self._called: dict[int, tuple[types.CodeType, range, Any]] = {}  # what frames are calling
        self.outermost: int | None = None  # the frame of the captured function, if it is one

    def forget(self) -> None:
        """The call is over; only which numbers are values is still of interest."""
        self._holders.clear()
        self._called.clear()
        self._next = None

    def slot(self, x: Any) -> Any:
        """The number of the value that an object is; None mostly."""
        found = self._slots.get(id(x)) if type(x) is float else None
        return None if found is None else found[1].number

    def track(self, x: float, slot: Slot) -> None:
        """A float is a value."""
        self._slots[id(x)] = (x, slot)

    # -- calls ------------------------------------------------------------------------------------------

    def calling(self, frame: Frame, following: int, function: Any) -> None:
        """A watched frame is about to call something."""
        if isinstance(function, types.MethodType):
            function = function.__func__
        what = function if function is float else getattr(function, "__code__", None)
        # A call that is under way is known by a place behind its instruction, among its caches.
        self._called[id(frame)] = (frame.f_code, range(frame.f_lasti, following), what)

    def _called_by(self, frame: Frame | None) -> Any:
        """What a frame is calling at this moment by an instruction for calls: a function's code, or float."""
        code, places, what = self._called.get(id(frame), (None, (), None))
        return what if frame is not None and frame.f_code is code and frame.f_lasti in places else None

    def is_direct(self) -> bool:
        """Whether a tensor's number goes to a watched frame as it is: nobody else sees it before."""
        frame: Any = inspect.currentframe()
        while frame is not None and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
            frame = frame.f_back
        what = self._called_by(frame)
        return what is float or what is item.__code__

    # -- instructions -------------------------------------------------------------------------------------

    def before(self, frame: Frame, instruction: Instruction, following: int) -> None:
        """A watched frame is about to carry out an instruction; `following` is the next one's offset."""
        if self._next is not None:
            where, offset, slot = self._next
            self._next = None
            if where != id(frame) or offset != instruction.offset:
                self._observer.refuse("a computation with a tensor's value ends with an error", frame)
                return
            (top,) = operands(frame, 1)
            if slot is None:
                self._holders.add(id(top))
            elif type(top) is float:
                self._slots[id(top)] = (top, slot)
        if not self._slots:
            return
        name = instruction.opname
        if name in _MOVES:
            return
        look = _LOOKS.get(name)
        if look is not None:
            look(self, frame, instruction, following)
        elif name in _JUMPS:
            self._truth(frame)
        else:
            count = _TAKES.get(name)
            if count is None and name in _TAKES_BY_ARGUMENT:
                count = _TAKES_BY_ARGUMENT[name](instruction.arg or 0)
            self._exact(frames.stack(frame) if count is None else operands(frame, count))

    def _is(self, x: Any) -> bool:
        return type(x) is float and id(x) in self._slots

    def _holds(self, x: Any) -> bool:
        if id(x) not in self._holders or type(x) not in (tuple, list, dict):
            return False
        return any(self._is(y) or self._holds(y) for y in _items(x))

    def _exact(self, some: Any) -> None:
        """The very values of some objects count from now on."""
        for x in some:
            if self._is(x):
                _, slot = self._slots.pop(id(x))
                self.path.decided(exact, [slot])
            elif self._holds(x):
                self._exact(_items(x))

    def _slotted(self, some: Any) -> list[Any]:
        return [self._slots[id(x)][1] if self._is(x) else x for x in some]

    def _computes(self, frame: Frame, following: int, function: Any, args: list[Any]) -> None:
        """A function of numbers, some of them values: a further value, or a decision."""
        places = self._slotted(args)
        if not _is_safe(function, args, places):
            self.path.decided(kind_of(function), places)
        try:
            found = function(*args)
        except Exception:
            return  # the instruction will raise it
        if type(found) is not float:
            self.path.decided(function, places)
        elif not any(found is x for x in args):
            self._next = (id(frame), following, self.path.computed(function, places, found))

    def _truth(self, frame: Frame) -> None:
        (x,) = operands(frame, 1)
        if self._is(x):
            self.path.decided(bool, self._slotted([x]))

    def _compare(self, frame: Frame, i: Instruction, following: int) -> None:
        args = operands(frame, 2)
        function = _COMPARE.get(i.argval)
        if function is not None and _with_tensor(args):
            return
        if function is None or not all(type(x) in _PLAIN for x in args):
            self._exact(args)
        elif any(map(self._is, args)):
            self.path.decided(function, self._slotted(args))

    def _operator(self, frame: Frame, i: Instruction, following: int) -> None:
        args = operands(frame, 2)
        name = (i.argrepr or "").removesuffix("=")
        function = _ARITHMETIC.get(name)
        if name in _BY_VALUE and _with_tensor(args):
            return
        if function is None or not all(type(x) in _PLAIN for x in args):
            self._exact(args)
        elif any(map(self._is, args)):
            self._computes(frame, following, function, args)

    def _negative(self, frame: Frame, i: Instruction, following: int) -> None:
        args = operands(frame, 1)
        if self._is(args[0]):
            self._computes(frame, following, operator.neg, args)

    def _build(self, frame: Frame, i: Instruction, following: int) -> None:
        count = i.arg or 0
        items = operands(frame, 2 * count if i.opname == "BUILD_MAP" else count)
        if i.opname == "BUILD_MAP":
            self._exact(items[::2])
        if any(self._is(x) or self._holds(x) for x in items):
            self._next = (id(frame), following, None)

    def _build_named(self, frame: Frame, i: Instruction, following: int) -> None:
        items = operands(frame, (i.arg or 0) + 1)
        if any(self._is(x) or self._holds(x) for x in items[:-1]):
            self._next = (id(frame), following, None)

    def _append(self, frame: Frame, i: Instruction, following: int) -> None:
        made, *_, x = operands(frame, (i.arg or 1) + 1)
        if (self._is(x) or self._holds(x)) and type(made) is list:
            self._holders.add(id(made))

    def _unpack(self, frame: Frame, i: Instruction, following: int) -> None:
        """Unpacking gives the very objects."""

    def _item(self, frame: Frame, i: Instruction, following: int) -> None:
        x, key = operands(frame, 2)
        if self._is(key) or (self._holds(x) and type(key) not in (int, str)):
            self._exact((x, key))

    def _return(self, frame: Frame, i: Instruction, following: int) -> None:
        (x,) = operands(frame, 1)
        if id(frame) == self.outermost:
            self.outermost = 0  # it is the result
            return
        if not (self._is(x) or self._holds(x)):
            return
        if self._called_by(frame.f_back) is not frame.f_code:
            self._exact([x])  # a function written in C gets it

    def call(
        self, frame: Frame, following: int, function: Any, args: list[Any], stack: list[Any]
    ) -> None:
        """A call: of a function on numbers, of a watched function, or of something that may look at
        whatever it is given."""
        if not self._slots or not any(self._is(x) or self._holds(x) for x in stack):
            return
        plain = function.__func__ if isinstance(function, types.MethodType) else function
        if isinstance(plain, types.FunctionType):
            packed = plain.__code__.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
            if not packed and not (plain.__module__ or "").startswith(_PACKAGE):
                return
            given = [function.__self__, *args] if plain is not function else args
            if plain in _methods() and self._by_value(plain.__name__, given):
                return
        elif all(type(x) in _PLAIN for x in args):
            if (plain is min or plain is max) and len(args) == 2:
                # One of the two comes out: which one is the decision.
                self.path.decided(_first_of if plain is min else _last_of, self._slotted(args))
                return
            if isinstance(plain, types.BuiltinFunctionType | type) and plain in _FUNCTIONS:
                self._computes(frame, following, plain, args)
                return
        self._exact(stack)

    def _by_value(self, name: str, given: list[Any]) -> bool:
        """Whether a method of tensors takes a number as an input: its other operand, or alpha."""
        if len(given) == 2:
            return _with_tensor(given)
        if len(given) != 3 or name.rstrip("_") not in ("add", "sub"):
            return False
        return all(isinstance(x, Tensor) for x in given[:2]) and self._is(given[2])


def _with_tensor(args: list[Any]) -> bool:
    """Whether it is one number and one tensor."""
    a, b = args
    return (type(a) is float and isinstance(b, Tensor)) or (isinstance(a, Tensor) and type(b) is float)


def _is_safe(function: Any, args: list[Any], places: list[Any]) -> bool:
    """Whether a function of such numbers always gives the same kind of number."""
    if function in (operator.truediv, operator.floordiv, operator.mod):
        return not isinstance(places[1], Slot) and args[1] != 0
    return function in _SAFE


def _items(x: Any) -> Any:
    return x.values() if type(x) is dict else x


def _first_of(a: Any, b: Any) -> bool:
    """Whether min(a, b) is a."""
    return not b < a


def _last_of(a: Any, b: Any) -> bool:
    """Whether max(a, b) is a."""
    return not b > a


def _called(self: Values, frame: Frame, i: Instruction, following: int) -> None:
    """Calls are looked at where it is known what is called."""


_JUMPS = {
    "UNARY_NOT", "TO_BOOL", "POP_JUMP_FORWARD_IF_TRUE", "POP_JUMP_FORWARD_IF_FALSE",
    "POP_JUMP_BACKWARD_IF_TRUE", "POP_JUMP_BACKWARD_IF_FALSE", "POP_JUMP_IF_TRUE", "POP_JUMP_IF_FALSE",
    "JUMP_IF_TRUE_OR_POP", "JUMP_IF_FALSE_OR_POP",
}  # fmt: skip
_LOOKS: dict[str, Callable[[Values, Frame, Instruction, int], None]] = {
    "COMPARE_OP": Values._compare, "BINARY_OP": Values._operator, "UNARY_NEGATIVE": Values._negative,
    "BUILD_TUPLE": Values._build, "BUILD_LIST": Values._build, "BUILD_MAP": Values._build,
    "BUILD_CONST_KEY_MAP": Values._build_named, "LIST_APPEND": Values._append,
    "UNPACK_SEQUENCE": Values._unpack, "BINARY_SUBSCR": Values._item, "RETURN_VALUE": Values._return,
    "CALL": _called, "CALL_KW": _called,
}  # fmt: skip
