"""`fanal op NAME`: what an operation means, how it is derived, and who computes it."""

from __future__ import annotations

import argparse
import functools
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fanal
from fanal.backends.native.loops.convert import convert
from fanal.backends.native.loops.operations import OPERATIONS
from fanal.backends.native.loops.views import VIEWS
from fanal.backends.native.lower.lowering import RULES, Lowering
from fanal.backends.native.vecmath import FUNCTIONS, POLYNOMIALS
from fanal.cli.console import Console
from fanal.core import dtypes
from fanal.core.errors import message, nearest
from fanal.ops.primitive import TABLE, Primitive

_ROOT = Path(fanal.__file__).parent.parent
# Rules of derivatives, batches and parts, by the record's fields, with what they are to a reader.
_RULES = (
    ("reference", "meaning"), ("partials", "partial derivatives"), ("jvp", "forward derivative"),
    ("push", "forward derivative (with its run)"), ("transpose", "transpose"),
    ("augment", "what its gradient keeps"), ("pull", "gradient"), ("batch", "batches"), ("body", "body"),
)  # fmt: skip
_PLACES = ("", "nn.functional", "linalg", "special", "signal", "random", "func")


def add_parser(commands: Any) -> None:
    """The command's arguments."""
    parser = commands.add_parser(
        "op", help="what an operation means and who computes it",
        description="An operation's card: meaning, dtypes, derivatives, backends with file and line, limits.",
    )  # fmt: skip
    parser.add_argument("name", metavar="NAME", nargs="?", help="a primitive or a public function (all primitives, if not given)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print a card, or the list."""
    console = Console()
    if arguments.name is None:
        _list(console)
    elif arguments.name in TABLE:
        _card(console, TABLE[arguments.name])
    else:
        _function(console, arguments.name)
    return 0


def place(function: Any) -> str:
    """File and line of a function, from the package's folder on."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    if code is None:
        return f"{getattr(function, '__module__', '') or ''} {getattr(function, '__name__', function)!s}".strip()
    path = Path(code.co_filename)
    shown = path.relative_to(_ROOT) if path.is_relative_to(_ROOT) else path
    return f"{shown}:{code.co_firstlineno}"


def _list(console: Console) -> None:
    by_kind: dict[str, list[str]] = {}
    for name, p in TABLE.items():
        by_kind.setdefault(p.kind, []).append(name)
    console.title(f"{len(TABLE)} primitives")
    for kind, names in by_kind.items():
        console.heading(f"{kind} ({len(names)})")
        for row in textwrap.wrap(" ".join(sorted(names)), 96, break_long_words=False, break_on_hyphens=False):
            console.line(f"  {row}")


def _card(console: Console, p: Primitive) -> None:
    console.title(p.name)
    for row in textwrap.wrap(p.doc, 96) or ["(no text)"]:
        console.line(f"  {row}")
    console.line()
    console.pairs([
        ("kind", p.kind), ("operands", _operands(p)), ("attributes", _attributes(p)),
        ("dtypes", _dtypes(p)), ("results", "several" if p.multiple else "one"),
        ("error", _error(p)), ("samples", _domain(p)),
    ], "  ")  # fmt: skip
    console.heading("Rules")
    console.pairs([(what, place(rule)) for field, what in _RULES if (rule := getattr(p, field)) is not None], "  ")
    console.heading("Computed by")
    console.pairs(list(_backends(p)), "  ")
    if p.limits:
        console.heading("Limits")
        console.pairs(list(p.limits.items()), "  ")


def _operands(p: Primitive) -> str:
    names = [n for n, x in _parameters(p) if x.kind is not x.KEYWORD_ONLY]
    if p.kind == "elementwise" and p.infer.__closure__:
        inner = inspect.getclosurevars(p.infer).nonlocals
        return f"{inner['arity']} of one dtype and shape" if "arity" in inner else ", ".join(names)
    return ", ".join(names) or "none"


def _parameters(p: Primitive) -> list[tuple[str, inspect.Parameter]]:
    found = inspect.signature(p.infer).parameters.items()
    starred: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return [(starred.get(x.kind, "") + n, x) for n, x in found]


def _attributes(p: Primitive) -> str:
    names = [n for n, x in _parameters(p) if x.kind is x.KEYWORD_ONLY]
    if p.body is not None and not names:
        names = [n for n, x in inspect.signature(p.body).parameters.items() if x.kind is x.KEYWORD_ONLY]
    return ", ".join(names)


def _dtypes(p: Primitive) -> str:
    groups = {"all": dtypes.ALL, "floating": [d for d in dtypes.ALL if d.kind == "f"],
              "numbers": [d for d in dtypes.ALL if d.kind != "b"], "integers": [d for d in dtypes.ALL if d.kind in "iu"]}  # fmt: skip
    for name, group in groups.items():
        if set(group) == set(p.dtypes):
            return name
    return ", ".join(d.name for d in p.dtypes)


def _error(p: Primitive) -> str:
    if p.kind != "elementwise":  # of sums it depends on their terms
        return ""
    return "exact" if all(d.kind != "f" for d in p.dtypes) else f"at most {p.ulp:g} units in the last place (float32)"


def _domain(p: Primitive) -> str:
    return f"drawn from {p.domain[0]:g} to {p.domain[1]:g}" + ("" if p.smooth else "; not smooth everywhere")


def _backends(p: Primitive) -> Iterator[tuple[str, str]]:
    yield "native", _native(p)
    yield "reference", place(p.reference)
    yield "ONNX", _onnx(p)


def _native(p: Primitive) -> str:
    """The rule of the native backend, as its lowering looks for it."""
    if p.kind == "elementwise":
        found: Any = convert if p.name == "cast" else None
        for table in (OPERATIONS, FUNCTIONS, POLYNOMIALS):
            found = found or table.get(p.native)
        by_name = "" if p.native == p.name else f" as {p.native}"
        return place(found) + by_name
    if p.name in VIEWS:
        return f"{place(VIEWS[p.name])}, as strides where they can say it"
    if p.kind in ("reduce", "arg_reduce"):
        return place(Lowering._reduce)
    if p.kind == "composed":
        return "its body"
    return place(RULES[p.kind if p.kind == "host" else p.name])


def _onnx(p: Primitive) -> str:
    from fanal.export.onnx.conversion import sayable
    from fanal.export.onnx.registry import RULES as ONNX

    how = sayable()[p.name]
    return place(ONNX[p.name]) if how == "rule" else "its body" if how == "body" else f"no: {how}"


def _function(console: Console, name: str) -> None:
    """A function that is made of primitives."""
    for module in _PLACES:
        owner: Any = fanal
        for part in filter(None, module.split(".")):
            owner = getattr(owner, part, None)
        found = getattr(owner, name, None) if owner is not None else None
        if callable(found) and not inspect.isclass(found) and not name.startswith("_"):
            _composite(console, ".".join(filter(None, ("fanal", module, name))), found)
            return
    close = nearest(name, TABLE)
    raise ValueError(
        message("op", "no operation of that name", repr(name), hint=" or ".join(f"fanal op {n}" for n in close))
    )


def _composite(console: Console, name: str, function: Any) -> None:
    try:
        signature = str(inspect.signature(function)).replace("'", "")
    except (ValueError, TypeError):
        signature = "(…)"
    console.title(name + signature)
    for row in (inspect.getdoc(function) or "(no text)").splitlines():
        console.line(f"  {row}")
    console.line()
    body = getattr(getattr(function, "fused", None), "body", None) or function
    console.pairs([
        ("kind", "a function over primitives: traced, fused, differentiated by its graph"), ("body", place(body)),
    ], "  ")  # fmt: skip
