"""Stubs (.pyi) for what is made dynamically: type checkers and editors see names and types there.

Functions over tensors are traced with graph values, so their annotations say Any; most methods of
Tensor are attached from tables. This writes what a caller needs to know of both: the signature of
each function as it is, Tensor where a tensor is returned (see `stub_tables`).

    python tools/stubs.py           # write
    python tools/stubs.py --check   # 1 if a stub is not what would be written
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(Path(__file__).parent))

import stub_tables as tables  # noqa: E402

import fanal  # noqa: E402
from fanal.core.dtypes import DType  # noqa: E402
from fanal.tensor.tensor import Tensor  # noqa: E402

NAMESPACES = {
    "fanal": "fanal/__init__.pyi",
    "fanal.linalg": "fanal/linalg/__init__.pyi",
    "fanal.special": "fanal/special/__init__.pyi",
    "fanal.nn": "fanal/nn/__init__.pyi",
    "fanal.nn.functional": "fanal/nn/functional/__init__.pyi",
}
METHODS = "fanal/tensor/declared.pyi"
LAZY = "amp array_api autograd core data distributions func linalg nn optim random special utils version"
NUMBERS = "int | float | bool"
ALIASES = {
    "Ints": "int | Sequence[int]", "IntOrInts": "int | Sequence[int]", "Dims": "int | Sequence[int]",
    "Dim": "int | Sequence[int] | None", "Tensors": "Sequence[Tensor]",
    "Sequence[Any]": "Sequence[Any]", "np.ndarray": "Any",
}  # fmt: skip
KNOWN = {
    "Any", "bool", "int", "float", "str", "bytes", "complex", "None", "tuple", "list", "dict",
    "Sequence", "Mapping", "Callable", "Iterator", "Tensor", "Size", "DType", "Generator", "device",
}  # fmt: skip
HEAD = '''"""Written by tools/stubs.py; don't edit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, overload

from fanal.core.device import device
from fanal.core.dtypes import DType
from fanal.random.generator import Generator
from SIZE import Size
from fanal.tensor.tensor import Tensor

Number = int | float | bool

'''.replace("SIZE", fanal.Size.__module__)


def annotation(given: Any) -> str:
    """A parameter's or result's annotation as the stub can say it; "" for none."""
    if given is inspect.Parameter.empty:
        return ""
    text = given if isinstance(given, str) else inspect.formatannotation(given)
    for module in ("typing.", "collections.abc.", "fanal.core.dtypes.", "fanal.tensor.tensor."):
        text = text.replace(module, "")
    text = ALIASES.get(text, text)
    text = re.sub(r"\b(Ints|IntOrInts|Dims?|Tensors)\b", lambda m: ALIASES[m[1]], text)
    return text if set(re.findall(r"[A-Za-z_][\w.]*", text)) <= KNOWN else "Any"


def parameter(p: inspect.Parameter, names: Any, function: str, method: bool) -> str:
    """One parameter: `name: type = ...`."""
    kind = annotation(p.annotation) or "Any"
    optional = p.default is None
    if kind == "Any" and function not in tables.KEEP_ANY:
        numbers = p.name in tables.NUMBERS_TOO
        if numbers or (p.name == "input" and not method and tables.NUMBERS_TOO & set(names)):
            kind = "Tensor | Number"
        elif p.name in tables.TENSORS and not (method and p.name == "index" and function[0] == "_"):
            kind = "Tensor"
        if (optional or p.name in tables.OR_NONE) and kind != "Any":
            kind += " | None"
    star = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
    if star and "Sequence" in kind:
        kind = "int | Sequence[int]"
    text = f"{star}{p.name}: {kind}"
    return text if p.default is p.empty else f"{text} = ..."


def returned(space: str, name: str, found: inspect.Signature) -> str:
    """The type of the result."""
    plain = name.removesuffix("_") if name.endswith("_") and not name.endswith("__") else name
    for key in (f"{space}.{plain}", plain):
        for (_, cls), functions in tables.TUPLES.items():
            if key in functions.split():
                return cls
        for kind, functions in tables.RETURNS.items():
            if key in functions.split():
                return kind
    kind = annotation(found.return_annotation)
    return "Tensor" if kind in ("", "Any") else kind


def definition(space: str, name: str, function: Any) -> str:
    """A function's (in the space "Tensor": a method's) stub."""
    method = space == "Tensor"
    for key in (f"{space}.{name}", name):
        if key in tables.OVERLOADS:
            forms = tables.OVERLOADS[key]
            first = "self" if method else "input"
            forms = tuple(
                (f.replace("{x}: Tensor", "self") if method else f.replace("{x}", first))
                for f in forms
            )
            many = "@overload\n" if len(forms) > 1 else ""
            return "".join(f"{many}def {name}{form}: ...\n" for form in forms)
    found = inspect.signature(function)
    given = list(found.parameters.values())
    parts: list[str] = []
    keyword = False
    for i, p in enumerate(given):
        if i and given[i - 1].kind is p.POSITIONAL_ONLY is not p.kind:
            parts.append("/")
        if p.kind is p.KEYWORD_ONLY and not keyword:
            keyword = True
            if not any(q.kind is p.VAR_POSITIONAL for q in given):
                parts.append("*")
        if method and i == 0 and p.kind is not p.VAR_POSITIONAL:
            parts.append("self")
        else:
            parts.append(parameter(p, found.parameters, name, method))
    if given and given[-1].kind is inspect.Parameter.POSITIONAL_ONLY:
        parts.append("/")
    if method and not given:
        parts = ["self"]
    record = getattr(function, "fused", None)
    if getattr(record, "out", False) and "out" not in found.parameters and not method:
        at = len(parts) - any(p.kind is p.VAR_KEYWORD for p in given)
        parts[at:at] = ["out: Any = ..."] if keyword else ["*", "out: Any = ..."]
    result = returned(space, name, found)
    flag = "return_indices: bool = ..."
    if result == "Tensor" and flag in parts:
        at = parts.index(flag)
        without = [*parts[:at], "return_indices: Literal[False] = ...", *parts[at + 1 :]]
        given_too = [*parts[:at], "*", "return_indices: Literal[True]", *parts[at + 1 :]]
        return (
            f"@overload\ndef {name}({', '.join(without)}) -> Tensor: ...\n"
            f"@overload\ndef {name}({', '.join(given_too)}) -> tuple[Tensor, Tensor]: ...\n"
            f"@overload\ndef {name}({', '.join(parts)}) -> Any: ...\n"
        )
    return f"def {name}({', '.join(parts)}) -> {result}: ...\n"


def named_tuples(text: str) -> str:
    """The classes of named tuples that a stub mentions, with tensors for fields."""
    made = ""
    for module, name in tables.TUPLES:
        if re.search(rf"-> {name}\b", text):
            fields = getattr(importlib.import_module(module), name)._fields
            made += f"class {name}(NamedTuple):\n"
            made += "".join(f"    {field}: Tensor\n" for field in fields) + "\n"
    return made


def namespace(name: str) -> str:
    """The stub of a package of functions."""
    module = importlib.import_module(name)
    short = name.rpartition(".")[2]
    functions, imports, values = "", "", ""
    for key in sorted(set(public(module))):
        thing = getattr(module, key)
        if inspect.isfunction(thing):
            functions += definition(short, key, thing)
        elif isinstance(thing, type) and thing.__module__ != "builtins":
            imports += f"from {thing.__module__} import {thing.__name__} as {key}\n"
        elif inspect.ismodule(thing):
            parent, _, last = thing.__name__.rpartition(".")
            imports += f"from {parent} import {last} as {key}\n"
        else:
            values += f"{key}: {value_type(thing)}\n"
    if name == "fanal":
        imports += "".join(f"from fanal import {m} as {m}\n" for m in LAZY.split())
        values += "__version__: str\n"
    # A function may have the name of a builtin type, which the annotations then mean no more.
    hidden = {n for n in ("bool", "int", "float") if hasattr(module, n)}
    body = named_tuples(functions) + functions
    for n in sorted(hidden):
        body = re.sub(rf"(?<![\w.]){n}(?![\w(])", f"builtins.{n}", body)
    head = HEAD
    if hidden:
        head = head.replace("from collections", "import builtins\nfrom collections", 1)
        head = head.replace(NUMBERS, "builtins.int | builtins.float | builtins.bool")
    exported = sorted(set(imports.splitlines(True)))
    # What is imported for annotations as well as exported is imported once, as exported.
    twice = {line.rpartition(" as ")[0] for line in exported if line.endswith(f" {_last(line)}\n")}
    lines = [line for line in head.splitlines(True) if line.strip() not in twice]
    return "".join(lines) + "".join(exported) + values + body


def _last(line: str) -> str:
    """`X` of `from m import X as Y`."""
    return line.split(" import ")[1].split(" as ")[0]


def public(module: Any) -> list[str]:
    """The names that a user finds in a package: not its files, nor what these import."""
    if module is fanal:
        return fanal.__all__
    return list(getattr(module, "__all__", ())) + [
        n for n, thing in vars(module).items()
        if not n.startswith("_") and not inspect.ismodule(thing)
        and (inspect.isfunction(thing) or isinstance(thing, type)) and thing is not DType
        and (thing.__module__.startswith("fanal") or issubclass(thing, Exception))
    ]  # fmt: skip


def value_type(thing: Any) -> str:
    """The type of a constant."""
    if thing is None:
        return "None"
    kind = type(thing)
    if isinstance(thing, DType):
        return "DType"
    return f"builtins.{kind.__name__}" if kind in (int, float, bool) else "Any"


def methods() -> str:
    """The stub of what is attached to Tensor: a base class that only type checkers see."""
    source = ast.parse((ROOT / "fanal/tensor/tensor.py").read_text())
    (cls,) = [n for n in source.body if isinstance(n, ast.ClassDef) and n.name == "Tensor"]
    own = {n.name for n in cls.body if isinstance(n, ast.FunctionDef)} | set(Tensor.__slots__)
    text = ""
    for name in sorted(n for n in dir(Tensor) if n not in own):
        if name in ("__reduce_ex__", "__hash__", "__doc__", "__module__"):
            continue
        if hasattr(object, name) and getattr(object, name) is getattr(Tensor, name):
            continue
        thing = inspect.getattr_static(Tensor, name)
        if isinstance(thing, property):
            text += f"@property\ndef {name}(self) -> {property_type(name, thing)}: ...\n"
        elif inspect.isfunction(thing):
            line = definition("Tensor", name, thing)
            if name in ("__eq__", "__ne__"):
                line = f"def {name}(self, other: Any) -> Tensor: ...  # type: ignore[override]\n"
            text += line
        elif not name.startswith("__"):
            text += f"{name}: Any\n"
    # Methods named as types are: `x.int()`, `x.bool()`, `x.float()`.
    body = re.sub(r"(?<![\w.])(bool|int|float)(?![\w(])", r"builtins.\1", text)
    body = "class Methods:\n" + "".join(f"    {line}\n" for line in body.splitlines())
    head = HEAD.replace("from collections", "import builtins\nfrom collections", 1)
    return head + named_tuples(text) + body


def property_type(name: str, thing: property) -> str:
    found = annotation(inspect.signature(thing.fget).return_annotation) if thing.fget else ""
    if found not in ("", "Any"):
        return found
    if name.startswith("is_"):
        return "bool"
    return {"nbytes": "int", "itemsize": "int", "layout": "Any"}.get(name, "Tensor")


def stubs() -> dict[Path, str]:
    """Every stub, with the file that it belongs in."""
    found = {ROOT / path: namespace(name) for name, path in NAMESPACES.items()}
    return found | {ROOT / METHODS: methods()}


def main() -> int:
    """Write the stubs, or say which are not up to date."""
    check, stale = "--check" in sys.argv, 0
    for path, text in stubs().items():
        if path.exists() and path.read_text() == text:
            continue
        stale += 1
        if not check:
            path.write_text(text)
        print(f"{'stale' if check else 'written'}: {path.relative_to(ROOT)}")
    return check and stale > 0


if __name__ == "__main__":
    sys.exit(main())
