"""The small language that the runtime is written in: Python syntax, machine types, LLVM IR out.

The allocator, the thread pool and the launcher are loops, loads and atomics. Written as raw LLVM IR
they would be a thousand numbered lines that nobody reviews, so they are written as text in this
dialect (see `allocator.py`, `pool.py`, `launch.py`) and translated here, statement by statement.

Types are `i1 i8 i16 i32 i64 double ptr void`; integers are signed; `i64[p + 8]` is a typed load or
store; a `ptr` plus an integer counts bytes; a function whose body is `...` is external. The
translation is deliberately literal (every local is an `alloca`): LLVM's `sroa` makes it good.
`expressions.py` holds what has a value, this file what has an effect, `emitter.py` what both need.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from fanal.backends.native.runtime.emitter import Value
from fanal.backends.native.runtime.expressions import Expressions
from fanal.backends.native.runtime.signature import (
    TYPES,
    DialectError,
    Signature,
    c_string,
    signature_of,
)

_LINKAGE = {"export": "", "inline": "internal ", "cold": "internal "}
_ATTRIBUTES = {"inline": " alwaysinline", "cold": " noinline cold"}


@dataclass
class Unit:
    """Everything that one module of IR knows by name: functions, globals, constants, strings."""

    constants: dict[str, int]
    functions: dict[str, Signature] = field(default_factory=dict)
    symbols: set[str] = field(default_factory=set)
    strings: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def string(self, text: str) -> str:
        """The symbol of a private, zero-terminated copy of `text`."""
        if text not in self.strings:
            name = f"@.str.{len(self.strings)}"
            constant = c_string(text)
            self.lines.append(f"{name} = private unnamed_addr constant {constant}, align 1")
            self.strings[text] = name
        return self.strings[text]


def translate(
    parts: dict[str, str],
    constants: dict[str, int],
    known: dict[str, str] | None = None,
    symbols: tuple[str, ...] = (),
) -> str:
    """LLVM IR for the dialect sources `parts` (file name -> text), which may call one another.

    `known` gives the signatures of functions that are defined elsewhere as raw IR, in the dialect's
    own syntax (name -> `def name(x: i64) -> ptr: ...`); `symbols` are data defined there.
    """
    unit = Unit(dict(constants), symbols=set(symbols))
    trees = {name: ast.parse(text, filename=name) for name, text in parts.items()}
    for name, text in (known or {}).items():
        unit.functions[name] = signature_of(ast.parse(text).body[0], "known")
    for name, tree in trees.items():
        for node in tree.body:
            _declare(unit, node, name)
    for name, tree in trees.items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and not unit.functions[node.name].external:
                unit.lines.extend(_Function(unit, node, name).emit())
    return "\n".join(unit.lines) + "\n"


def _declare(unit: Unit, node: ast.stmt, where: str) -> None:
    """Pass one: note a function or emit a global, so that order in the source is free."""
    match node:
        case ast.FunctionDef():
            signature = signature_of(node, where)
            unit.functions[node.name] = signature
            if signature.external:
                unit.lines.append(
                    f"declare {signature.returns} @{node.name}({signature.declared()}) #0"
                )
        case ast.Assign(
            targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id="zeros"), args=[size])
        ):
            count = Expressions(unit, where).value(size).text
            unit.symbols.add(name)
            unit.lines.append(f"@{name} = internal global [{count} x i8] zeroinitializer, align 64")
        case ast.AnnAssign(target=ast.Name(id=name), annotation=ast.Name(id="external")):
            unit.symbols.add(name)
            unit.lines.append(f"@{name} = external global ptr")
        case ast.Expr(value=ast.Constant(value=str())):
            pass  # a docstring
        case _:
            raise DialectError(where, node, "a module holds functions, zeros(...) and externals")


class _Function(Expressions):
    """Emits one function: statements here, expressions in the base class."""

    def __init__(self, unit: Unit, node: ast.FunctionDef, where: str):
        super().__init__(unit, where)
        self.node = node
        self.signature = unit.functions[node.name]
        self.loops: list[tuple[str, str]] = []

    def emit(self) -> list[str]:
        for name, kind in self.signature.parameters:
            self.declare(name, kind)
            self.put(f"store {kind} %{name}, ptr %{name}.at")
        self.body(self.node.body)
        if not self.ended:
            if self.signature.returns != "void":
                raise DialectError(self.where, self.node, "a path ends without a return")
            self.put("ret void")
        marks = self.signature.marks
        linkage = next((_LINKAGE[m] for m in marks if m in _LINKAGE), "internal ")
        extra = "".join(_ATTRIBUTES.get(m, "") for m in marks)
        head = (
            f"define {linkage}{self.signature.returns} @{self.node.name}"
            f"({self.signature.defined()}) #0{extra} {{"
        )
        return [head, "entry.0:", *self.entry, "  br label %begin.0", "begin.0:", *self.lines, "}"]

    def body(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            if self.ended:
                raise DialectError(self.where, statement, "unreachable statement")
            handler = getattr(self, f"do_{type(statement).__name__}", None)
            if handler is None:
                raise DialectError(self.where, statement, "this statement is not in the dialect")
            handler(statement)

    def do_Pass(self, node: ast.Pass) -> None:
        pass

    def do_Expr(self, node: ast.Expr) -> None:
        if not (isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)):
            self.value(node.value, allow_void=True)

    def do_Return(self, node: ast.Return) -> None:
        if node.value is None:
            self.end("ret void")
        else:
            result = self.as_type(self.value(node.value), self.signature.returns, node)
            self.end(f"ret {result}")

    def do_Assign(self, node: ast.Assign) -> None:
        (target,) = node.targets
        self.assign(target, self.value(node.value))

    def do_AnnAssign(self, node: ast.AnnAssign) -> None:
        if not (isinstance(node.target, ast.Name) and isinstance(node.annotation, ast.Name)):
            raise DialectError(self.where, node, "expected `name: type = value`")
        kind = node.annotation.id
        if kind not in TYPES or node.value is None:
            raise DialectError(self.where, node, f"unknown type {kind!r}, or no value")
        value = self.as_type(self.value(node.value), kind, node)
        self.declare(node.target.id, kind)
        self.assign(node.target, value)

    def do_AugAssign(self, node: ast.AugAssign) -> None:
        left = ast.copy_location(ast.parse(ast.unparse(node.target), mode="eval").body, node)
        self.assign(
            node.target, self.binary(node.op, self.value(left), self.value(node.value), node)
        )

    def assign(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Subscript):
            kind, address = self.place(target)
            self.put(f"store {self.as_type(value, kind, target)}, ptr {address}")
        elif isinstance(target, ast.Name):
            if target.id not in self.locals:
                self.declare(target.id, "i64" if value.kind == "int" else value.kind)
            stored = self.as_type(value, self.locals[target.id], target)
            self.put(f"store {stored}, ptr %{target.id}.at")
        else:
            raise DialectError(self.where, target, "cannot assign to this")

    def do_If(self, node: ast.If) -> None:
        then, other, done = self.label("then"), self.label("else"), self.label("endif")
        self.branch(node.test, then, other if node.orelse else done)
        self.start(then)
        self.body(node.body)
        reached = not self.ended or not node.orelse
        self.jump(done)
        if node.orelse:
            self.start(other)
            self.body(node.orelse)
            reached = reached or not self.ended
            self.jump(done)
        if reached:
            self.start(done)

    def do_While(self, node: ast.While) -> None:
        top, inside, done = self.label("while"), self.label("do"), self.label("done")
        self.jump(top)
        self.start(top)
        forever = isinstance(node.test, ast.Constant) and node.test.value is True
        if forever:
            self.jump(inside)
        else:
            self.branch(node.test, inside, done)
        self.loops.append((top, done))
        self.start(inside)
        self.body(node.body)
        self.jump(top)
        self.loops.pop()
        if not forever or f"label %{done}" in "\n".join(self.lines):
            self.start(done)

    def do_Break(self, node: ast.Break) -> None:
        self.jump(self.loops[-1][1])

    def do_Continue(self, node: ast.Continue) -> None:
        self.jump(self.loops[-1][0])
