"""Instructions, blocks and conversions: the lowest layer of the runtime's dialect.

An `Emitter` writes one function's instructions into `lines` and its locals into `entry`, and knows
the types of values. What they mean in the source is the business of `expressions.py`.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NamedTuple

from fanal.backends.native.runtime.signature import DialectError

if TYPE_CHECKING:
    from fanal.backends.native.runtime.dialect import Unit

WIDTH = {"i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64}


class Value(NamedTuple):
    """An operand: `str()` of it is what an instruction takes, e.g. `i64 %3`."""

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind} {self.text}"


class Emitter:
    """Writes instructions; `ended` says whether the current block has its terminator."""

    def __init__(self, unit: Unit, where: str):
        self.unit = unit
        self.where = where
        self.entry: list[str] = []
        self.lines: list[str] = []
        self.locals: dict[str, str] = {}
        self.counter = 0
        self.ended = False

    def put(self, line: str) -> None:
        self.lines.append("  " + line)

    def make(self, kind: str, instruction: str) -> Value:
        self.counter += 1
        self.put(f"%v{self.counter} = {instruction}")
        return Value(kind, f"%v{self.counter}")

    def label(self, stem: str) -> str:
        self.counter += 1
        return f"{stem}.{self.counter}"

    def start(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.ended = False

    def end(self, terminator: str) -> None:
        self.put(terminator)
        self.ended = True

    def jump(self, label: str) -> None:
        if not self.ended:
            self.end(f"br label %{label}")

    def declare(self, name: str, kind: str) -> None:
        if self.locals.setdefault(name, kind) != kind:
            raise DialectError(self.where, ast.Name(id=name), "two types for one local")
        line = f"  %{name}.at = alloca {kind}"
        if line not in self.entry:
            self.entry.append(line)

    def as_type(self, value: Value, kind: str, node: ast.AST) -> Value:
        if value.kind == kind:
            return value
        if value.kind == "int" and kind in WIDTH:
            return Value(kind, value.text)
        if value.kind == "int" and kind == "ptr" and value.text == "0":
            return Value(kind, "null")
        raise DialectError(self.where, node, f"expected {kind}, found {value.kind}")

    def cast(self, value: Value, name: str, node: ast.AST) -> Value:
        """`i32(x)`, `u64(x)`, `ptr(x)`: one instruction, chosen by both types."""
        kind = "i64" if name == "u64" else name
        if value.kind in ("int", kind):
            if kind == "ptr" and value.kind == "int" and value.text != "0":
                value = Value("i64", value.text)
            else:
                return self.as_type(value, kind, node)
        match value.kind, kind:
            case "ptr", _:
                operation = "ptrtoint"
            case _, "ptr":
                operation = "inttoptr"
            case ("double", "i64") | ("i64", "double"):
                operation = "bitcast"
            case _ if WIDTH[value.kind] > WIDTH[kind]:
                operation = "trunc"
            case _:
                operation = "zext" if name == "u64" or value.kind == "i1" else "sext"
        return self.make(kind, f"{operation} {value} to {kind}")

    def truth(self, value: Value, node: ast.AST) -> Value:
        if value.kind == "i1":
            return value
        if value.kind == "int":
            return Value("i1", "true" if value.text != "0" else "false")
        zero = "null" if value.kind == "ptr" else "0"
        return self.make("i1", f"icmp ne {value}, {zero}")
