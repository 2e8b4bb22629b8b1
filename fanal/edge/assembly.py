"""The library's own module: its driver, its tables, and the functions of its C interface, as LLVM IR."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from fanal.backends.native.codegen import small_object_of
from fanal.backends.native.jit import processor
from fanal.backends.native.runtime.control import SOURCE as CONTROL
from fanal.backends.native.runtime.dialect import translate
from fanal.backends.native.runtime.layout import CONSTANTS as LAYOUT
from fanal.backends.native.runtime.system import RAW, float_control
from fanal.edge import driver
from fanal.edge.expressions import CODES as OPERATIONS
from fanal.edge.interface import MOST_DIMS
from fanal.edge.levels import Machine, module_flags
from fanal.edge.objects import with_constants
from fanal.edge.statuses import CONSTANTS as STATUSES
from fanal.edge.statuses import texts
from fanal.edge.tables import CONSTANTS as PROGRAM

ABI = 1
# An entry of `signatures`: the places of its tables by level, how many dimensions it takes, and which.
_LEVELS = 4
SIGNATURE_BYTES = 4 * (_LEVELS + 1 + MOST_DIMS)
_NAMES = ("tables", "kernels", "signatures", "ranges", "texts", "weights_data")


@dataclass(slots=True)
class Library:
    """All numbers that a library holds. `tables` are words; `signatures` give, for each level of the machine,
    the byte in them where the table begins (-1: none)."""

    prefix: str
    machine: Machine
    kernels: list[str]
    tables: list[int]
    signatures: dict[str, list[int]]
    stateful: set[str]
    ranges: list[tuple[int, int]]  # of the dimensions
    dims: dict[str, list[int]]  # those that each signature takes
    values: int  # the most that are computed to know an arena's size
    arena_bytes: int
    identity: int
    state_bytes: int
    state_initial: int
    has_weights: bool
    embedded: bytes = b""
    constants: dict[str, int] = field(default_factory=dict)


def module(library: Library) -> str:
    """The text of the module."""
    wasm = library.machine.is_wasm
    size = "i32" if library.machine.pointer_bytes == 4 else "i64"
    raw, control = float_control(library.machine.levels[0].triple)
    x86 = library.machine.levels[0].triple.startswith("x86_64")
    sized = bool(library.ranges)
    parts = {
        "control": CONTROL,
        "sizes": driver.SIZED if sized else driver.UNSIZED,
        "kernel": driver.NUMBERED if wasm else driver.NEAR,
        "run": driver.RUN.replace("#SIZES\n", driver.SIZES if sized else ""),
        "level": driver.X86_LEVEL if x86 else driver.NO_LEVEL,
        "selftest": driver.SELFTEST,
    }
    parts = {name: re.sub(r"\bSIZE(_AT)?\b", size, text) for name, text in parts.items()}
    known = {name: RAW[name] for name in ("fp_control", "fp_set_control")}
    constants = _constants(library) | control
    if x86:
        raw += driver.X86_RAW
        known |= driver.X86_KNOWN
        constants |= driver.X86_CONSTANTS
    if sized:
        parts["quotient"] = driver.LONG_QUOTIENT if library.machine.pointer_bytes == 4 and not wasm else driver.QUOTIENT
        raw += driver.REAL_RAW
        known |= driver.REAL_KNOWN
    body = translate(parts, constants, known, _NAMES)
    attributes = 'attributes #0 = { nounwind optsize "no-builtins" }\n'
    text = _data(library) + raw + body + "\n".join(_interface(library, size)) + "\n" + attributes
    text += module_flags(library.machine.levels[0])
    return f'target triple = "{library.machine.levels[0].triple}"\n{text}'


def _constants(library: Library) -> dict[str, int]:
    return {
        **{name: n for name, n in LAYOUT.items() if name.startswith("CONTROL_")},
        **STATUSES,
        "POINTER": library.machine.pointer_bytes,
        "LEVELS": len(library.machine.levels),
        "SIGNATURE_BYTES": SIGNATURE_BYTES,
        "SIGNATURE_DIMS": 4 * _LEVELS,
        "SIGNATURES": len(library.signatures),
        "DIMS": len(library.ranges),
        "VALUE_BYTES": 8 * library.values,
        "ARENA_BYTES": library.arena_bytes,
        **PROGRAM,
        **OPERATIONS,
        "EMBEDDED": int(bool(library.embedded)),
        "HAS_WEIGHTS": int(library.has_weights),
        "IDENTITY": library.identity,
        "HAS_STATE": int(library.state_bytes > 0),
        "STATE_BYTES": library.state_bytes,
        "STATE_INITIAL": library.state_initial,
        "GOLDEN_MAGIC": int.from_bytes(b"FANALGV1", "little"),
        **library.constants,
    }


def _data(library: Library) -> str:
    """Tables, kernels' places, weights if they are embedded: all of it constant."""
    signatures: list[int] = []
    for name, places in library.signatures.items():
        dims = library.dims[name]
        signatures += [*places, *[-1] * (_LEVELS - len(places)), len(dims), *dims, *[0] * (MOST_DIMS - len(dims))]
    ranges = [n for span in library.ranges for n in span]
    lines = [
        _array("tables", "i64", library.tables or [0], 64),
        _array("signatures", "i32", signatures, 16),
        _array("ranges", "i64", ranges or [0], 16),
        _bytes("texts", texts(), 1),
        _bytes("weights_data", library.embedded or b"\0", 64),
    ]
    lines += [f"declare hidden void @{name}(ptr, ptr, i64, ptr)" for name in library.kernels]
    if library.machine.is_wasm:
        kind, items = "ptr", [f"ptr @{name}" for name in library.kernels]
    else:
        kind, items = "i32", [f"i32 {_distance(name, library.machine)}" for name in library.kernels]
    items = items or [f"{kind} zeroinitializer"]
    lines.append(
        f"@kernels = internal constant [{len(items)} x {kind}] [{', '.join(items)}], "
        'section ".rodata.fanal", align 8'
    )
    return "\n".join(lines) + "\n"


def _distance(name: str, machine: Machine) -> str:
    word = "i64" if machine.pointer_bytes == 8 else "i32"
    places = [f"{word} ptrtoint (ptr @{x} to {word})" for x in (name, "kernels")]
    difference = f"sub ({places[0]}, {places[1]})"
    return f"trunc (i64 {difference} to i32)" if word == "i64" else difference


def _array(name: str, kind: str, numbers: Sequence[int], align: int) -> str:
    items = ", ".join(f"{kind} {n}" for n in numbers)
    return f"@{name} = internal constant [{len(numbers)} x {kind}] [{items}], align {align}"


def _bytes(name: str, data: bytes, align: int) -> str:
    text = "\\" + data.hex("\\")
    return f'@{name} = internal constant [{len(data)} x i8] c"{text}", align {align}'


def _interface(library: Library, size: str) -> list[str]:
    """The functions that others call."""
    p = library.prefix
    lines = [
        f"define i32 @{p}_abi() #0 {{\n  ret i32 {ABI}\n}}",
        _wrapped(f"i32 @{p}_cpu_level()", [], "i32", "cpu_level", []),
        _wrapped(
            f"ptr @{p}_status_text(i32 signext %status)", ["%wide = sext i32 %status to i64"], "ptr",
            "status_text", ["i64 %wide"],
        ),
        _wrapped(
            f"i32 @{p}_selftest(ptr %golden, {size} %length, ptr %arena, {size} %bytes, ptr %weights, "
            "ptr %how, ptr %which)",
            [_wide("length", size), _wide("bytes", size)], "i32", "selftest",
            ["ptr %golden", "i64 %length.wide", "ptr %arena", "i64 %bytes.wide", "ptr %weights", "ptr %how",
             "ptr %which"],
        ),
        *_about_sizes(library, size),
    ]  # fmt: skip
    if library.state_bytes:
        lines.append(
            f"define void @{p}_state_init(ptr %state, ptr %weights) #0 {{\n"
            "  tail call void @state_init(ptr %state, ptr %weights)\n  ret void\n}"
        )
    for number, name in enumerate(library.signatures):
        state = "ptr %state, " if name in library.stateful else ""
        own = "ptr %state" if state else "ptr null"
        lines.append(
            _wrapped(
                f"i32 @{p}_{name}(ptr %in, ptr %out, {state}ptr %arena, {size} %bytes, ptr %weights, ptr %how)",
                [_wide("bytes", size),
                 f"%entry = getelementptr i8, ptr @signatures, {size} {number * SIGNATURE_BYTES}"],
                "i32", "run",
                ["ptr %entry", "ptr %in", "ptr %out", own, "ptr %arena", "i64 %bytes.wide", "ptr %weights",
                 "ptr %how"],
            )
        )  # fmt: skip
    return lines


def _about_sizes(library: Library, size: str) -> list[str]:
    p = library.prefix
    narrow = "trunc i64 %bytes to i32" if size == "i32" else "add i64 %bytes, 0"
    return [
        _wrapped(f"i32 @{p}_check(ptr %dims, {size} %n)", [_wide("n", size)], "i32", "check",
                 ["ptr %dims", "i64 %n.wide"]),
        f"define {size} @{p}_arena_bytes(ptr %dims, {size} %n) #0 {{\n  {_wide('n', size)}\n"
        f"  %bytes = call i64 @arena_bytes(ptr %dims, i64 %n.wide)\n  %small = {narrow}\n  ret {size} %small\n}}",
    ]  # fmt: skip


def _wide(name: str, size: str) -> str:
    operation = f"zext {size} %{name} to i64" if size != "i64" else f"add i64 %{name}, 0"
    return f"%{name}.wide = {operation}"


def _wrapped(head: str, before: Sequence[str], returns: str, callee: str, arguments: Sequence[str]) -> str:
    """A function that calls an inner one."""
    # On RISC-V, numbers of 32 bits are returned with their sign extended.
    kind = "signext i32" if head.startswith("i32") else head.split(" ", 1)[0]
    rest = head.split(" ", 1)[1]
    body = "".join(f"  {line}\n" for line in before)
    return (
        f"define {kind} {rest} #0 {{\n{body}  %result = tail call {returns} @{callee}({', '.join(arguments)})\n"
        f"  ret {returns} %result\n}}"
    )


def compiled(ir: str, machine: Machine) -> bytes:
    """The module as an object file, for the poorest level."""
    return with_constants(small_object_of(ir, *processor(machine.levels[0])))
