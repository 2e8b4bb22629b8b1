"""Expressions of the runtime's dialect: what has a value (see `dialect.py`).

An integer literal has no type of its own: it takes that of the other operand, of the parameter or
of the place it is stored in, and is an `i64` otherwise. Everything else is typed, and narrowing or
widening is always written out (`i32(x)`, `i64(x)` extends the sign, `u64(x)` fills with zeros).
"""

from __future__ import annotations

import ast
import operator

from fanal.backends.native.runtime.emitter import WIDTH, Emitter, Value
from fanal.backends.native.runtime.signature import TYPES, DialectError

_BINARY = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.FloorDiv: "sdiv", ast.Mod: "srem",
    ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor", ast.LShift: "shl", ast.RShift: "lshr",
}  # fmt: skip
_FOLD = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.BitOr: operator.or_,
    ast.FloorDiv: operator.floordiv, ast.BitAnd: operator.and_, ast.LShift: operator.lshift,
}  # fmt: skip
_COMPARE = {
    ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "slt", ast.LtE: "sle", ast.Gt: "sgt", ast.GtE: "sge",
    ast.Is: "eq", ast.IsNot: "ne",
}  # fmt: skip


class Expressions(Emitter):
    """Turns an expression of the source into a `Value`, emitting what it takes."""

    def value(self, node: ast.expr, allow_void: bool = False) -> Value:
        handler = getattr(self, f"of_{type(node).__name__}", None)
        if handler is None:
            raise DialectError(self.where, node, "this expression is not in the dialect")
        result: Value = handler(node)
        if result.kind == "void" and not allow_void:
            raise DialectError(self.where, node, "this call has no value")
        return result

    def branch(self, test: ast.expr, then: str, other: str) -> None:
        condition = self.truth(self.value(test), test)
        self.end(f"br {condition}, label %{then}, label %{other}")

    def of_Constant(self, node: ast.Constant) -> Value:
        match node.value:
            case bool():
                return Value("i1", str(node.value).lower())
            case int():
                return Value("int", str(node.value))
            case str():
                return Value("ptr", self.unit.string(node.value))
            case None:
                return Value("ptr", "null")
        raise DialectError(self.where, node, "unknown literal")

    def of_Name(self, node: ast.Name) -> Value:
        if node.id in self.locals:
            kind = self.locals[node.id]
            return self.make(kind, f"load {kind}, ptr %{node.id}.at")
        if node.id in self.unit.constants:
            return Value("int", str(self.unit.constants[node.id]))
        if node.id in self.unit.symbols or node.id in self.unit.functions:
            return Value("ptr", f"@{node.id}")
        raise DialectError(self.where, node, "unknown name")

    def place(self, node: ast.Subscript) -> tuple[str, str]:
        """The type and address of `i64[p]`."""
        if not (isinstance(node.value, ast.Name) and node.value.id in TYPES):
            raise DialectError(self.where, node, "a load or store is written type[address]")
        address = self.as_type(self.value(node.slice), "ptr", node)
        return node.value.id, address.text

    def of_Subscript(self, node: ast.Subscript) -> Value:
        kind, address = self.place(node)
        return self.make(kind, f"load {kind}, ptr {address}")

    def of_UnaryOp(self, node: ast.UnaryOp) -> Value:
        value = self.value(node.operand)
        match node.op:
            case ast.Not():
                return self.make("i1", f"xor {self.truth(value, node)}, true")
            case ast.USub() if value.kind == "int":
                return Value("int", str(-int(value.text)))
            case ast.USub():
                return self.make(value.kind, f"sub {value.kind} 0, {value.text}")
            case ast.Invert() if value.kind == "int":
                return Value("int", str(~int(value.text)))
            case ast.Invert():
                return self.make(value.kind, f"xor {value}, -1")
        raise DialectError(self.where, node, "unknown operator")

    def of_BinOp(self, node: ast.BinOp) -> Value:
        return self.binary(node.op, self.value(node.left), self.value(node.right), node)

    def binary(self, op: ast.operator, left: Value, right: Value, node: ast.AST) -> Value:
        name = _BINARY[type(op)]
        if left.kind == right.kind == "int":
            return Value("int", str(_FOLD[type(op)](int(left.text), int(right.text))))
        if left.kind == "ptr" and right.kind in ("i64", "int") and name in ("add", "sub"):
            if name == "sub":
                right = self.make("i64", f"sub i64 0, {right.text}")
            return self.make("ptr", f"getelementptr i8, ptr {left.text}, i64 {right.text}")
        left, right = self.unify(left, right, node)
        return self.make(left.kind, f"{name} {left}, {right.text}")

    def unify(self, left: Value, right: Value, node: ast.AST) -> tuple[Value, Value]:
        kind = right.kind if left.kind == "int" else left.kind
        kind = "i64" if kind == "int" else kind
        return self.as_type(left, kind, node), self.as_type(right, kind, node)

    def of_Compare(self, node: ast.Compare) -> Value:
        if len(node.ops) != 1:
            raise DialectError(self.where, node, "one comparison at a time")
        left, right = self.unify(self.value(node.left), self.value(node.comparators[0]), node)
        return self.make("i1", f"icmp {_COMPARE[type(node.ops[0])]} {left}, {right.text}")

    def of_BoolOp(self, node: ast.BoolOp) -> Value:
        """Short-circuit, through a local of its own so that no phi has to be written."""
        self.counter += 1
        name = f"bool.{self.counter}"
        self.declare(name, "i1")
        done = self.label("bool")
        for index, operand in enumerate(node.values):
            condition = self.truth(self.value(operand), operand)
            self.put(f"store {condition}, ptr %{name}.at")
            if index + 1 < len(node.values):
                more = self.label("more")
                hit, miss = (more, done) if isinstance(node.op, ast.And) else (done, more)
                self.end(f"br {condition}, label %{hit}, label %{miss}")
                self.start(more)
        self.jump(done)
        self.start(done)
        return self.make("i1", f"load i1, ptr %{name}.at")

    def of_IfExp(self, node: ast.IfExp) -> Value:
        """Both sides are evaluated: it is a `select`."""
        condition = self.truth(self.value(node.test), node)
        left, right = self.unify(self.value(node.body), self.value(node.orelse), node)
        return self.make(left.kind, f"select {condition}, {left}, {right}")

    def of_Call(self, node: ast.Call) -> Value:
        if not isinstance(node.func, ast.Name):
            raise DialectError(self.where, node, "call a function by its name")
        name = node.func.id
        signature = self.unit.functions.get(name)
        if signature is None:
            return self.builtin(name, node)
        if len(node.args) != len(signature.parameters) and not signature.variadic:
            raise DialectError(self.where, node, "wrong number of arguments")
        values = [self.value(a) for a in node.args]
        for i, (_, kind) in enumerate(signature.parameters):
            values[i] = self.as_type(values[i], kind, node)
        return self.call(signature.returns, signature.callee(), values)

    def call(self, returns: str, callee: str, values: list[Value]) -> Value:
        values = [Value("i64", v.text) if v.kind == "int" else v for v in values]
        text = f"call {callee}({', '.join(map(str, values))})"
        if returns == "void":
            self.put(text)
            return Value("void", "")
        return self.make(returns, text)

    def builtin(self, name: str, node: ast.Call) -> Value:
        """The few operations that are neither operators nor functions."""
        if name in TYPES or name == "u64":
            return self.cast(self.value(node.args[0]), name, node)
        if name == "buffer":  # bytes on this function's stack frame
            size = self.value(node.args[0])
            self.counter += 1
            self.entry.append(f"  %buf.{self.counter} = alloca [{size.text} x i8], align 16")
            return Value("ptr", f"%buf.{self.counter}")
        if name == "call":  # call(type, pointer, arguments...)
            returns = ast.unparse(node.args[0])
            values = [self.value(a) for a in node.args[1:]]
            return self.call(returns, f"{returns} {values[0].text}", values[1:])
        if name.startswith("atomic_"):
            operation, kind = name.removeprefix("atomic_").split("_")
            return self.atomic(operation, kind, node)
        raise DialectError(self.where, node, "unknown function")

    def atomic(self, operation: str, kind: str, node: ast.Call) -> Value:
        """Sequentially consistent, all of them: the pool's wake-up protocol relies on it."""
        place, *rest = [self.value(a) for a in node.args]
        rest = [self.as_type(v, kind, node) for v in rest]
        align = f"align {max(1, WIDTH[kind] // 8)}"
        match operation:
            case "load":
                return self.make(kind, f"load atomic {kind}, {place} seq_cst, {align}")
            case "store":
                self.put(f"store atomic {rest[0]}, {place} seq_cst, {align}")
                return Value("void", "")
            case "add" | "swap":
                verb = "add" if operation == "add" else "xchg"
                return self.make(kind, f"atomicrmw {verb} {place}, {rest[0]} seq_cst")
            case "cas":
                pair = self.make("", f"cmpxchg {place}, {rest[0]}, {rest[1]} seq_cst seq_cst")
                return self.make("i1", f"extractvalue {{ {kind}, i1 }} {pair.text}, 1")
        raise DialectError(self.where, node, "unknown atomic operation")
