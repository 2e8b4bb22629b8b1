"""Watching a call instruction by instruction.

The call itself is run by Python as ever. Before each instruction of its own functions the observer
looks at the instruction's operands: a read from outside becomes a guard, a write to outside or a call
of something that is not known to only compute is the reason why the call can't be replayed.

An object is from *outside* (old) if the call got it from there: an argument, a global, a variable of
an enclosing function, and all that is read from old objects. What the call makes itself is its own.
"""

from __future__ import annotations

import dis
import sys
import sysconfig
import types
from collections.abc import Callable
from typing import Any

from fanal.compiler.observer import calls, frames
from fanal.compiler.observer.guards import MISSING, PLAIN, Guards
from fanal.compiler.observer.objects import in_class, is_data_descriptor, understood
from fanal.compiler.observer.package import Package
from fanal.compiler.observer.values import Values
from fanal.core import watching
from fanal.tensor.tensor import Tensor

_LIBRARY = tuple({sysconfig.get_path(n) for n in ("stdlib", "platstdlib", "purelib", "platlib")})
_PACKAGE = __name__.split(".", 1)[0] + "."
Handler = Callable[["Observer", types.FrameType, dis.Instruction], None]
HANDLERS: dict[str, Handler] = {}
# Instructions that move, build and jump: what they take was judged when it was loaded.
QUIET = set(
    ["CACHE", "RESUME", "NOP", "POP_TOP", "PUSH_NULL", "COPY", "SWAP", "LOAD_CONST", "LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_AND_CLEAR", "LOAD_FAST_LOAD_FAST", "STORE_FAST", "STORE_FAST_LOAD_FAST", "STORE_FAST_STORE_FAST", "DELETE_FAST", "LOAD_CLOSURE", "MAKE_CELL", "COPY_FREE_VARS", "MAKE_FUNCTION", "SET_FUNCTION_ATTRIBUTE", "BUILD_TUPLE", "BUILD_LIST", "BUILD_SET", "BUILD_MAP", "BUILD_CONST_KEY_MAP", "BUILD_STRING", "BUILD_SLICE", "LIST_APPEND", "SET_ADD", "MAP_ADD", "LIST_TO_TUPLE", "RETURN_VALUE", "RETURN_CONST", "RETURN_GENERATOR", "YIELD_VALUE", "SEND", "END_SEND", "END_FOR", "JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT", "EXTENDED_ARG", "KW_NAMES", "PRECALL", "CHECK_EXC_MATCH", "PUSH_EXC_INFO", "POP_EXCEPT", "RERAISE", "RAISE_VARARGS", "LOAD_ASSERTION_ERROR", "WITH_EXCEPT_START", "BEFORE_WITH", "INTERPRETER_EXIT", "IS_OP", "IMPORT_NAME", "IMPORT_FROM", "GET_YIELD_FROM_ITER", "UNARY_NEGATIVE", "UNARY_INVERT", "UNARY_POSITIVE", "CALL_INTRINSIC_1", "CONVERT_VALUE", "FORMAT_SIMPLE", "FORMAT_WITH_SPEC", "FORMAT_VALUE", "GET_LEN", "MATCH_MAPPING", "MATCH_SEQUENCE", "FOR_ITER", "ASYNC_GEN_WRAP", "POP_JUMP_FORWARD_IF_NONE", "POP_JUMP_FORWARD_IF_NOT_NONE", "POP_JUMP_BACKWARD_IF_NONE", "POP_JUMP_BACKWARD_IF_NOT_NONE", "POP_JUMP_IF_NONE", "POP_JUMP_IF_NOT_NONE"]
)


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Register what looks at certain instructions."""

    def register(function: Handler) -> Handler:
        for name in names:
            HANDLERS[name] = function
        return function

    return register


def _instructions(code: types.CodeType) -> dict[int, tuple[dis.Instruction, int]]:
    """A function's instructions by offset, and each one's next offset. What is said of an instruction's
    EXTENDED_ARG, the only one of the two that is reported, is said of the instruction."""
    found: dict[int, tuple[dis.Instruction, int]] = {}
    extended: list[int] = []
    listed = list(dis.get_instructions(code))
    for i, after in zip(listed, [*listed[1:], None], strict=True):
        if i.opname == "EXTENDED_ARG":
            extended.append(i.offset)
            continue
        for offset in (*extended, i.offset):
            found[offset] = (i, -1 if after is None else after.offset)
        extended.clear()
    return found


class Observer:
    """Watches this thread between `start` and `stop`.

    `guards`: what was read. `impure`: why the call can't be replayed, and the line (None: it can).
    """

    def __init__(self, package: Package, function: Any = None) -> None:
        self.package = package
        forward = getattr(type(function), "forward", None)  # of a module
        self._root = getattr(function, "__code__", None) or getattr(forward, "__code__", None)
        self.guards = Guards()
        self.impure: tuple[str, tuple[str, int] | None] | None = None
        self.appended: dict[int, Any] = {}  # lists from outside that the call appends to
        self._old: dict[int, Any] = {}
        self.values = Values(self)
        self._code: dict[types.CodeType, dict[int, tuple[dis.Instruction, int]]] = {}
        self._seen: tuple[int, int] | None = None  # an instruction that was looked at before its turn
        self._cells: dict[int, types.CellType] = {}  # made by watched frames
        self._before: Any = None

    # -- on and off --------------------------------------------------------------------------------

    def start(self) -> None:
        """Watch the functions that are called from now on."""
        self._before = sys.gettrace()
        if self._before is not None or not frames.available():
            self.refuse("a debugger is watching" if self._before else "this Python can't be watched")
            return
        frames.traced(self._called)
        watching.active.watcher = self

    def stop(self) -> None:
        """Watch no longer. The call's own variables are let go, so that they keep no tensor alive."""
        watching.active.watcher = None
        self._cells.clear()
        self.values.forget()
        if self._before is None:
            sys.settrace(None)

    def pause(self) -> None:
        """Look away for a while; see `core.watching`."""
        sys.settrace(None)

    def resume(self) -> None:
        """Watch again, unless it is known by now that the call can't be replayed."""
        if self.impure is None:
            frames.traced(self._called)

    def refuse(self, why: str, frame: types.FrameType | None = None) -> None:
        """Note why the call can't be replayed; the first reason stays."""
        if self.impure is None:
            line = None if frame is None else (frame.f_code.co_filename, frame.f_lineno)
            self.impure = (why, line)
            self.stop()

    # -- old and own ---------------------------------------------------------------------------------

    def adopt(
        self, x: Any, frame: types.FrameType | None = None, argument: bool = False
    ) -> None:  # fmt: skip
        """An object came from outside (as an argument, or in one)."""
        if type(x) in PLAIN:
            return
        if isinstance(x, Tensor) and not argument:
            self.package.tensor(x)
        if id(x) in self._old:
            return
        self._old[id(x)] = x
        if not understood(x):
            self.refuse(f"an object of {type(x).__module__}.{type(x).__qualname__} from outside", frame)
        elif isinstance(x, tuple):
            for y in x:
                self.adopt(y, frame, argument)
        elif isinstance(x, types.BuiltinFunctionType):
            if x.__self__ is not None and not isinstance(x.__self__, types.ModuleType):
                self.adopt(x.__self__, frame)
        elif isinstance(x, types.MethodType):
            self.adopt(x.__self__, frame)
            self.adopt(x.__func__, frame)

    def is_old(self, x: Any) -> bool:
        """Whether an object existed before the call."""
        return id(x) in self._old or isinstance(x, types.ModuleType | type)

    def contents(self, x: Any, frame: types.FrameType) -> None:
        """All that a container from outside holds is read."""
        if isinstance(x, type({}.keys()) | type({}.values()) | type({}.items())):
            x = x.mapping
        if not self.is_old(x):
            return
        if id(x) in self.appended:
            self.refuse(f"a {type(x).__name__} from outside is read that the call appends to", frame)
            return
        if isinstance(x, (*calls.CONTAINERS, frozenset, types.MappingProxyType)):
            if isinstance(x, dict):
                children = [*x.keys(), *x.values()]
            else:
                children = list(x)
            if not self.package.covers_container(x):
                self.guards.content(x, type(x).__name__)
            argument = self.package.covers_container(x)
            for y in children:
                self.adopt(y, frame, argument)
                if type(y) in (list, dict, set) and id(y) not in self.guards.named:
                    self.contents(y, frame)

    def appends(self, container: Any, x: Any) -> bool:
        """Something is appended to a list from outside; whether replays can do so. What the list holds
        must not matter to the call."""
        if id(container) in self.guards.named or self.package.covers_container(container):
            return False
        if not (isinstance(x, Tensor) or type(x) in PLAIN):
            return False
        self.appended[id(container)] = container
        self.values.path.effects.append((container, x))
        return True

    # -- frames ----------------------------------------------------------------------------------------

    def _called(self, frame: types.FrameType, event: str, _: Any) -> Any:
        if event != "call":
            return None
        name = frame.f_globals.get("__name__") or ""
        if name.startswith(_PACKAGE):
            self.package.entered(frame)
            return None
        if self._is_library(frame):
            return None
        if frame.f_code.co_flags & 0x280:  # a coroutine, an asynchronous generator
            self.refuse("asynchronous code", frame)
            return None
        if self.values.outermost is None:
            self.values.outermost = id(frame) if frame.f_code is self._root else 0
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        for number in frames.own_cells(frame.f_code):  # a call is reported when they are made
            cell = frames.local(frame, number)
            if isinstance(cell, types.CellType):
                self._cells[id(cell)] = cell
        self._defaults(frame)
        return self._watched

    def _is_library(self, frame: types.FrameType) -> bool:
        """Whether a frame is a library's, called by this package for its own purposes."""
        if not frame.f_code.co_filename.startswith((*_LIBRARY, "<frozen ")):
            return False
        caller = frame.f_back
        while caller is not None:
            if caller.f_trace == self._watched:
                return False
            if (caller.f_globals.get("__name__") or "").startswith(_PACKAGE):
                return True
            caller = caller.f_back
        return False

    def _defaults(self, frame: types.FrameType) -> None:
        """Default arguments come from outside with a function that does."""
        function = frames.function_of(frame)
        if isinstance(function, types.FunctionType) and self.is_old(function):
            for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
                self.adopt(default, frame)
            if function.__defaults__ or function.__kwdefaults__:
                name = f"the defaults of {function.__qualname__}"
                self.guards.attribute(function, "__defaults__", name)
                self.guards.attribute(function, "__kwdefaults__", name)
                if function.__kwdefaults__:
                    self.guards.content(function.__kwdefaults__, name)

    def _watched(self, frame: types.FrameType, event: str, _: Any) -> Any:
        if event == "opcode" and self.impure is None:
            try:
                self._instruction(frame)
            except Exception as error:  # not understood: then it is not replayed
                self.refuse(f"an instruction was not understood ({error!r})", frame)
        return self._watched

    def _instruction(self, frame: types.FrameType) -> None:
        code = frame.f_code
        table = self._code.get(code)
        if table is None:
            table = self._code[code] = _instructions(code)
        instruction, following = table[frame.f_lasti]
        if self._seen is not None:
            seen, self._seen = self._seen, None
            if seen[0] == id(frame) and seen[1] == frame.f_lasti:
                return
        if instruction.offset != frame.f_lasti:
            self._seen = (id(frame), instruction.offset)
        self.values.before(frame, instruction, following)
        if self.impure is not None:
            return
        name = instruction.opname
        handler = HANDLERS.get(name)
        if handler is not None:
            handler(self, frame, instruction)
        elif name not in QUIET:
            self.refuse(f"the instruction {name}", frame)

    def following(self, frame: types.FrameType) -> int:
        """The offset of the instruction after the one that a frame is about to carry out."""
        return self._code[frame.f_code][frame.f_lasti][1]

    # -- reads ---------------------------------------------------------------------------------------

    def attribute(self, x: Any, name: str, frame: types.FrameType) -> None:
        """`x.name` is read: guard the place where it stands, and adopt what is there."""
        if isinstance(x, Tensor):
            self._tensor_attribute(x, name, frame)
            return
        if isinstance(x, super) or not self.is_old(x):
            return
        if isinstance(x, types.ModuleType):
            if name in x.__dict__:
                if not x.__name__.startswith(_PACKAGE):
                    self.guards.item(x.__dict__, name, f"{x.__name__}.{name}")
                self.adopt(x.__dict__[name], frame)
            return
        if isinstance(x, type):
            self._class_attribute(x, name, frame)
            return
        found, owner = in_class(type(x), name)
        if owner is not None and is_data_descriptor(found):
            if isinstance(found, types.MemberDescriptorType):  # a slot
                value = getattr(x, name, MISSING)
                self.guards.attribute(x, name, f"{type(x).__name__}.{name}")
                self.adopt(value, frame)
            elif not isinstance(
                found, property | types.GetSetDescriptorType
            ) and not self.package.owns(type(x)):
                self.adopt(found, frame)
            return
        own = getattr(x, "__dict__", None) if not isinstance(x, types.FunctionType) else {}
        if own is not None:
            if not self.package.covers(x):
                self.guards.item(own, name, f"{type(x).__name__}.{name}")
            if name in own:
                self.adopt(own[name], frame, self.package.covers_container(x))
                return
        if owner is not None:
            self._class_attribute(type(x), name, frame)
        else:
            value = self.package.member(x, name)
            if value is not MISSING:
                self.adopt(value, frame)

    def _class_attribute(self, kind: type, name: str, frame: types.FrameType) -> None:
        found, owner = in_class(kind, name)
        if owner is None:
            return
        if not self.package.owns(owner) and owner.__flags__ & (1 << 9):
            for c in kind.__mro__[: kind.__mro__.index(owner) + 1]:
                if c.__flags__ & (1 << 9) and not self.package.owns(c):
                    self.guards.item(c.__dict__, name, f"{c.__name__}.{name}")
        if isinstance(found, staticmethod | classmethod):
            found = found.__func__
        self.adopt(found, frame)

    def _tensor_attribute(self, x: Tensor, name: str, frame: types.FrameType) -> None:
        why = self.package.tensor_attribute(x, name)
        if why is not None and self.is_old(x):
            self.refuse(why, frame)

    def global_(self, frame: types.FrameType, name: str) -> None:
        """A global (or built-in) name is read."""
        variables = frame.f_globals
        self.guards.item(variables, name, f"the global {name}")
        if name in variables:
            self.adopt(variables[name], frame)

    def item(self, x: Any, key: Any, frame: types.FrameType) -> None:
        """`x[key]` is read."""
        if not self.is_old(x) or isinstance(x, Tensor | type):
            return
        if isinstance(x, dict):
            if key not in x and type(x) is not dict:
                self.refuse(f"a missing key of a {type(x).__name__} from outside", frame)
                return
            argument = self.package.covers_container(x)
            if not argument:
                self.guards.item(x, key, f"an item {key!r}" if type(key) in PLAIN else "an item")
            self.adopt(x.get(key), frame, argument)
        elif isinstance(x, list | tuple) or type(x).__name__ == "deque":
            if type(x) is not tuple:
                self.contents(x, frame)
            try:
                self.adopt(x[key], frame, self.package.covers_container(x))
            except (IndexError, TypeError):
                return
