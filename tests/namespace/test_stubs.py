"""The stubs (.pyi), which type checkers and editors read, say what the functions are."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

import fanal

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool() -> Any:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        spec = importlib.util.spec_from_file_location("stubs", ROOT / "tools" / "stubs.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(ROOT / "tools"))


def test_stubs_are_up_to_date(tool: Any) -> None:
    stale = [str(p.relative_to(ROOT)) for p, text in tool.stubs().items() if p.read_text() != text]
    assert not stale, f"{stale}: run python tools/stubs.py"


def results(path: str) -> dict[str, set[str]]:
    """What each function of a stub returns."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.FunctionDef) and node.returns is not None:
            found.setdefault(node.name, set()).add(ast.unparse(node.returns))
    return found


def test_functions_return_tensors_not_any() -> None:
    open_ends = {"atleast_1d", "atleast_2d", "atleast_3d", "cond", "histogramdd", "load", "lu", "while_loop"}
    found = results("fanal/__init__.pyi")
    assert {n for n, kinds in found.items() if kinds == {"Any"}} == open_ends
    for name in ("add", "zeros", "sum", "matmul", "cat", "randn", "conv2d"):
        assert found[name] == {"Tensor"}
    methods = results("fanal/tensor/declared.pyi")
    for name in ("sum", "__add__", "__matmul__", "__getitem__", "relu", "to", "T", "add_"):
        assert methods[name] == {"Tensor"}, name
    assert methods["numel"] == {"builtins.int"} and methods["split"] == {"tuple[Tensor, ...]"}


def test_every_method_of_a_tensor_is_declared() -> None:
    declared = set(results("fanal/tensor/declared.pyi"))
    source = ast.parse((ROOT / "fanal/tensor/tensor.py").read_text())
    own = {
        n.name for c in source.body if isinstance(c, ast.ClassDef) and c.name == "Tensor"
        for n in ast.walk(c) if isinstance(n, ast.FunctionDef)
    }  # fmt: skip
    public = {n for n in dir(fanal.Tensor) if not n.startswith("_")}
    assert public - declared - own == set()


def test_named_tuples_are_what_is_returned(tool: Any) -> None:
    x = fanal.eye(3) + 0.5
    arguments = {"kthvalue": (x, 1), "topk": (x, 1), "lu_unpack": None, "linalg.lstsq": (x, x),
                 "linalg.solve_ex": (x, x), "triangular_solve": (x, x), "cummax": (x, 0),
                 "cummin": (x, 0), "geqrf": None, "histogram": (x, 3)}  # fmt: skip
    for (_, cls), names in tool.tables.TUPLES.items():
        for name in names.split():
            given = arguments.get(name, (x,))
            if given is not None:
                space = fanal.linalg if name.startswith("linalg.") else fanal
                found = getattr(space, name.removeprefix("linalg."))(*given)
                assert type(found).__name__ == cls, name
