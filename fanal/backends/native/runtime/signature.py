"""Types, signatures, constants and errors of the runtime's dialect (see `dialect.py`)."""

from __future__ import annotations

import ast
from dataclasses import dataclass

TYPES = ("i1", "i8", "i16", "i32", "i64", "double", "ptr", "void")


def c_string(text: str) -> str:
    """The type and value of a zero-terminated string constant in IR."""
    data = text.encode() + b"\0"
    body = "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:02X}" for b in data)
    return f'[{len(data)} x i8] c"{body}"'


class DialectError(SyntaxError):
    """The runtime's own source is wrong: file, line and reason. Users never see one."""

    def __init__(self, where: str, node: ast.AST, reason: str):
        super().__init__(f"{where}:{getattr(node, 'lineno', 0)}: {reason}: {ast.unparse(node)}")


@dataclass(frozen=True)
class Signature:
    """What a caller has to know of a function."""

    name: str
    parameters: tuple[tuple[str, str], ...]
    returns: str
    marks: tuple[str, ...]
    external: bool
    variadic: bool

    def declared(self) -> str:
        """The parameter types alone, as in a declaration or a variadic call."""
        return ", ".join([kind for _, kind in self.parameters] + ["..."] * self.variadic)

    def defined(self) -> str:
        return ", ".join(f"{kind} %{name}" for name, kind in self.parameters)

    def callee(self) -> str:
        """How a call names this function: a variadic one must spell out its type."""
        kind = f"{self.returns} ({self.declared()})" if self.variadic else self.returns
        return f"{kind} @{self.name}"


def signature_of(node: ast.stmt, where: str) -> Signature:
    """Read a signature off `def f(x: i64, *rest) -> ptr`, decorators being its marks."""
    if not isinstance(node, ast.FunctionDef):
        raise DialectError(where, node, "expected a function")

    def kind_of(annotation: ast.expr | None, default: str | None = None) -> str:
        if annotation is None and default is not None:
            return default
        if isinstance(annotation, ast.Name) and annotation.id in TYPES:
            return annotation.id
        raise DialectError(where, node, "every parameter needs one of the types " + " ".join(TYPES))

    body = node.body
    external = (
        len(body) == 1
        and isinstance(body[0], ast.Expr)
        and isinstance(body[0].value, ast.Constant)
        and body[0].value.value is ...
    )
    return Signature(
        name=node.name,
        parameters=tuple((a.arg, kind_of(a.annotation)) for a in node.args.args),
        returns=kind_of(node.returns, "void"),
        marks=tuple(d.id for d in node.decorator_list if isinstance(d, ast.Name)),
        external=external,
        variadic=node.args.vararg is not None,
    )
