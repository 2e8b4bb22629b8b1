"""Writes docs/coverage.md: which of PyTorch's documented public names Fanal has.

`python tools/coverage.py` compares the recorded names (tools/torch_names.json) with Fanal as it is.
`python tools/coverage.py --record` records the names anew; only this needs PyTorch. Documented means:
a public function, class or method with a docstring (constants and dtypes are not counted).
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NAMES = HERE / "torch_names.json"
PAGE = HERE.parent / "docs" / "coverage.md"
# Namespaces of PyTorch's, and where Fanal has them.
SPACES = {
    "torch": "fanal", "torch.Tensor": "fanal:Tensor", "torch.nn": "fanal.nn",
    "torch.nn.functional": "fanal.nn.functional", "torch.optim": "fanal.optim",
    "torch.optim.lr_scheduler": "fanal.optim.lr_scheduler", "torch.linalg": "fanal.linalg",
    "torch.special": "fanal.special", "torch.profiler": "fanal.profiler",
}  # fmt: skip
# Why names are absent: the first pattern that matches a name gives its reason.
REASONS = {
    "complex numbers": (
        r"complex|polar|view_as_(real|complex)|i?stft|.*_is_conj|cfloat|cdouble|chalf|lobpcg"
    ),
    "sparse tensors": (
        r".*sparse.*|.*crow.*|.*col_indices|row_indices|coalesce|is_coalesced|dense_dim|to_dense|indices"
        r"|values|smm|sspaddmm|hspmm|to_mkldnn|to_padded_tensor"
    ),
    "quantised tensors": r".*quantize.*|q_.*|int_repr|qscheme|quantized_.*",
    "capture and export of programs": (
        r"compile|cond|export|sym_.*|Sym.*|vmap|while_loop|.*[Ss]cript.*|Tag|.*DispatchKey.*"
        r"|AggregationType|slice_inverse"
    ),
    "other devices": r"Stream|Event|AcceleratorError|record_stream|ipu|mtia|hpu|.*_ipu|.*autocast|GradScaler",
    "PyTorch's own machinery": (
        r"compiled_with_cxx11_abi|get_device_module|from_file|thread_safe_generator|storage|storage_type"
        r"|.*torch_function.*|boolean_dispatch|assert_int_or_pair|reinforce|grad_dtype"
        r"|ExecutionTraceObserver|kineto_available"
    ),
    "one release's": r".*grouped_mm|scaled_mm|.*[Ll]inear_?[Cc]ross_?[Ee]ntropy.*|hash_tensor",
}


def documented(space: Any, names: list[str]) -> list[str]:
    """Functions, classes and properties that have a text of their own."""
    found = []
    for name in names:
        value = getattr(space, name, None)
        text = getattr(value, "__doc__", None)
        named = inspect.isroutine(value) or inspect.isclass(value) or inspect.isdatadescriptor(value)
        if name[0] != "_" and named and isinstance(text, str) and text.strip():
            found.append(name)
    return sorted(found)


def record() -> None:
    """Write the names that the installed PyTorch documents."""
    import torch

    folder = Path(torch.__file__).parent
    texts = (folder / "_torch_docs.py").read_text()
    top = set(re.findall(r"add_docstr\(\s*torch\.(\w+),", texts)) | set(torch.functional.__all__)
    for name in torch.__all__:
        value = getattr(torch, name, None)
        here = getattr(value, "__module__", "").startswith("torch")
        if inspect.isfunction(value) and here:
            top.add(name)
    top |= {"no_grad", "enable_grad", "inference_mode", "set_grad_enabled", "Generator", "Size"}
    spaces = {
        "torch": documented(torch, sorted(top)),
        "torch.Tensor": documented(torch.Tensor, dir(torch.Tensor)),
        "torch.nn": documented(torch.nn, [n for n in dir(torch.nn) if n[0].isupper()]),
    }
    for name in ("nn.functional", "optim", "optim.lr_scheduler", "linalg", "special", "profiler"):
        module = importlib.import_module(f"torch.{name}")
        names = [n for n in dir(module) if inspect.getmodule(getattr(module, n)) is not None or n in vars(module)]
        own = [n for n in names if belongs(getattr(module, n), module, f"torch.{name}")]
        spaces[f"torch.{name}"] = documented(module, own)
    lines = ",\n".join(f'"{k}": "{" ".join(v)}"' for k, v in spaces.items())
    NAMES.write_text(f'{{\n"version": "{torch.__version__.split("+")[0]}",\n{lines}\n}}\n')


def belongs(value: Any, module: Any, name: str) -> bool:
    """Whether something found in a module is its own, not imported for its use."""
    if inspect.isbuiltin(value):
        return True
    where = getattr(value, "__module__", "") or ""
    if name == "torch.optim":
        return inspect.isclass(value) and where.startswith("torch.optim")
    if name == "torch.optim.lr_scheduler":
        return inspect.isclass(value) and where == name and value.__name__[0] != "_"
    return where.startswith((name, "torch._jit_internal", "torch.functional"))


def present(space: str) -> set[str]:
    """All names that can be reached in one of Fanal's namespaces."""
    where, _, part = SPACES[space].partition(":")
    try:
        found: Any = importlib.import_module(where)
    except ModuleNotFoundError:
        return set()
    found = getattr(found, part) if part else found
    names = {n for n in dir(found) if n[0] != "_"}
    if space == "torch":
        from fanal.tensor.missing import OF_LAYERS

        names |= OF_LAYERS
    return names


def reason(name: str) -> str:
    """Why a name is absent."""
    for text, pattern in REASONS.items():
        if re.fullmatch(pattern, name):
            return text
    return "not yet"


def columns(names: list[str]) -> str:
    return ", ".join(f"`{n}`" for n in names)


def tables() -> dict[str, tuple[list[str], list[str]]]:
    """For each namespace, the names that are present and those that are absent."""
    recorded = json.loads(NAMES.read_text())
    result = {}
    for space in SPACES:
        names, have = recorded[space].split(), present(space)
        result[space] = ([n for n in names if n in have], [n for n in names if n not in have])
    return result


def page() -> str:
    """The text of docs/coverage.md."""
    version = json.loads(NAMES.read_text())["version"]
    found = tables()
    lines = [
        "# Coverage of PyTorch's public names", "",
        f"Written by `python tools/coverage.py` from the names that PyTorch {version} documents. "
        "A name counts as present if it can be called; what it computes is compared with PyTorch's "
        "results in `tests/namespace`, `tests/nn`, `tests/optim`, `tests/linalg` and `tests/special`.",
        "", "| namespace | documented | present | absent | |", "| --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for space, (have, lack) in found.items():
        total = len(have) + len(lack)
        share = f"{100 * len(have) / total:.0f} %"
        lines.append(f"| `{space}` | {total} | {len(have)} | {len(lack)} | {share} |")
    for space, (have, lack) in found.items():
        lines += ["", f"## {space}", "", f"Present ({len(have)}): {columns(have)}."]
        groups: dict[str, list[str]] = {}
        for name in lack:
            groups.setdefault(reason(name), []).append(name)
        if lack:
            lines += ["", "| absent | why |", "| --- | --- |"]
            lines += [f"| {columns(names)} | {why} |" for why, names in sorted(groups.items())]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Record (with --record), then write the page."""
    if "--record" in sys.argv:
        record()
    PAGE.write_text(page())
    for space, (have, lack) in tables().items():
        print(f"{space}: {len(have)} of {len(have) + len(lack)}")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))
    main()
