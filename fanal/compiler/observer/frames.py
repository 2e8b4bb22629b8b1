"""The operands of the instruction that a frame is about to run, read from CPython's own frame.

Python shows a frame's locals, not the values that an instruction takes from the stack. How deep the
stack is follows from the code; where it lies in memory has been the same in CPython 3.11 to 3.13.
`available` tries it out on a known function before anything relies on it. Nothing is ever written.
"""

from __future__ import annotations

import ctypes
import dis
import functools
import itertools
import sys
from collections.abc import Callable
from types import CellType, CodeType, FrameType
from typing import Any

_FRAME = 24  # PyFrameObject: address of the interpreter's frame
_LOCALSPLUS = 72  # _PyInterpreterFrame: locals, cells, free variables, then the stack
_FUNCTION = 0 if sys.version_info < (3, 12) else 16
_VERSIONS = ((3, 11), (3, 12), (3, 13))

_word = ctypes.c_void_p.from_address
_object = ctypes.py_object.from_address


class Null:
    """An empty place on the stack."""


def _inner(frame: FrameType) -> int:
    return _word(id(frame) + _FRAME).value or 0


def _value(address: int) -> Any:
    return _object(address).value if _word(address).value else Null


def operands(frame: FrameType, count: int) -> list[Any]:
    """The topmost values of a frame's stack, the last one on top; valid inside of a trace call."""
    code = frame.f_code
    places, depths = _layout(code)
    depth = depths[frame.f_lasti]
    if count > depth:
        raise IndexError(f"{count} operands of a stack of {depth}")
    first = _inner(frame) + _LOCALSPLUS + 8 * (places + depth - count)
    return [_value(first + 8 * i) for i in range(count)]


def stack(frame: FrameType) -> list[Any]:
    """All values of a frame's stack."""
    return operands(frame, _layout(frame.f_code)[1][frame.f_lasti])


def local(frame: FrameType, number: int) -> Any:
    """A fast local by number: cells are not looked through."""
    return _value(_inner(frame) + _LOCALSPLUS + 8 * number)


def function_of(frame: FrameType) -> Any:
    """The function object that a frame runs."""
    return _value(_inner(frame) + _FUNCTION)


@functools.cache
def own_cells(code: CodeType) -> tuple[int, ...]:
    """Numbers of the fast locals that are cells which a call of this code makes."""
    names = [*code.co_varnames, *(n for n in code.co_cellvars if n not in code.co_varnames)]
    return tuple(names.index(n) for n in code.co_cellvars)


@functools.cache
def _layout(code: CodeType) -> tuple[int, dict[int, int]]:
    """How many locals there are, and the depth of the stack before each instruction."""
    places = len({*code.co_varnames, *code.co_cellvars}) + len(code.co_freevars)
    for start in (0, 1):  # a generator's code may begin with what was sent
        depths = _depths(code, start)
        if min(depths.values()) >= 0:
            break
    return places, depths


def _depths(code: CodeType, start: int) -> dict[int, int]:
    found = list(dis.get_instructions(code))
    following = {a.offset: b.offset for a, b in itertools.pairwise(found)}
    by_offset = {i.offset: i for i in found}
    depths: dict[int, int] = {}
    work = [(found[0].offset, start)]
    for entry in dis.Bytecode(code).exception_entries:  # type: ignore[attr-defined]
        work.append((entry.target, entry.depth + entry.lasti + 1))
    while work:
        offset, depth = work.pop()
        if offset in depths:
            continue
        depths[offset] = depth
        i = by_offset[offset]
        if i.opcode in _JUMPS:
            work.append((i.argval, depth + _effect(i, True)))
        if i.opname not in _ENDS and offset in following:
            work.append((following[offset], depth + _effect(i, False)))
    return depths


def _effect(i: dis.Instruction, jump: bool) -> int:
    """What an instruction adds to the stack when it is run."""
    if _SPLIT_CALLS and i.opname in ("PRECALL", "CALL"):
        # The compiler counts the arguments as taken by the first of the two, which leaves them.
        return 0 if i.opname == "PRECALL" else -1 - (i.arg or 0)
    arg = i.arg if i.opcode >= dis.HAVE_ARGUMENT else None
    return dis.stack_effect(i.opcode, arg, jump=jump)


_SPLIT_CALLS = sys.version_info < (3, 12)


_JUMPS = {*dis.hasjrel, *dis.hasjabs}
_ENDS = {
    "RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE", "JUMP_FORWARD", "JUMP_BACKWARD",
    "JUMP_BACKWARD_NO_INTERRUPT", "JUMP_ABSOLUTE",
}  # fmt: skip


def traced(tracer: Callable[..., Any] | None) -> None:
    """Set this thread's trace function, for single instructions (`frame.f_trace_opcodes`)."""
    if tracer is not None:
        # From 3.12 on, instructions are reported only if some frame asked for it before.
        sys._getframe().f_trace_opcodes = True
    sys.settrace(tracer)


@functools.cache
def available() -> bool:
    """Whether frames of this interpreter are as expected."""
    if sys.version_info[:2] not in _VERSIONS or sys.implementation.name != "cpython":
        return False
    seen: list[tuple[Any, Any, Any]] = []
    cells: list[Any] = []

    def known(a: Any, b: Any) -> Any:
        inner = lambda: b  # noqa: E731 - makes `b` a cell
        return [a, inner, (a, 7)]

    def look(frame: FrameType, event: str, _: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode" and frame.f_code is known.__code__:
            if dis.opname[frame.f_code.co_code[frame.f_lasti]] == "RETURN_VALUE":
                seen.append((operands(frame, 1)[0], local(frame, 0), function_of(frame)))
            cells.extend(local(frame, i) for i in own_cells(frame.f_code))
        return look

    first, second = object(), object()
    before = sys.gettrace()
    traced(look)
    try:
        made = known(first, second)
    finally:
        sys.settrace(before)
    return (
        len(seen) == 1
        and seen[0][0] is made and seen[0][1] is first and seen[0][2] is known
        and any(isinstance(c, CellType) and c.cell_contents is second for c in cells)
    )  # fmt: skip
