"""From object files to a library: `ld.lld` or `wasm-ld`, from the PATH or out of the `ziglang` package."""

from __future__ import annotations

import functools
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from fanal.core.errors import message
from fanal.edge.levels import Machine
from fanal.edge.wasm import frame_bytes

PAGE = 16 << 10
# How much stack a call takes in WebAssembly besides its deepest kernel, in pages of this many bytes.
_WASM_REST, _WASM_PAGE = 16 << 10, 64 << 10


@functools.cache
def linker(name: str) -> tuple[str, ...]:
    """The command of a linker, `ld.lld` or `wasm-ld`."""
    found = shutil.which(name)
    if found is not None:
        return (found,)
    if importlib.util.find_spec("ziglang") is not None:
        return (sys.executable, "-m", "ziglang", name)
    raise RuntimeError(
        message(
            "build", "no linker", None, f"{name} on the PATH, or the package ziglang",
            "pip install fanal[build]",
        )
    )


def shared_library(
    objects: Mapping[str, bytes], machine: Machine, name: str, exports: Sequence[str]
) -> bytes:
    """A library that is loaded at run time, of which only `exports` can be seen."""
    options = [
        "-m", machine.emulation, "-shared", "--gc-sections", "--no-undefined", "-z", "text", "-z", "defs",
        "-z", f"max-page-size={PAGE}", "-z", "noexecstack", "-z", "now", "--hash-style=sysv", "--build-id=none",
        "--strip-all", "-soname", f"lib{name}.so", "--version-script=exports",
    ]  # fmt: skip
    listed = "".join(f"  {symbol};\n" for symbol in exports)
    script = f"{{\nglobal:\n{listed}local:\n  *;\n}};\n"
    return _linked("ld.lld", objects, options, {"exports": script.encode()})


def wasm_module(objects: Mapping[str, bytes], exports: Sequence[str]) -> bytes:
    """A module of WebAssembly that imports nothing but its memory."""
    deepest = max((frame_bytes(data) for data in objects.values()), default=0)
    stack = -(-(deepest + _WASM_REST) // _WASM_PAGE) * _WASM_PAGE
    options = [
        "--no-entry", "--import-memory", "--gc-sections", "--strip-all", "--export=__heap_base", "-z",
        f"stack-size={stack}", "--stack-first",
        *(f"--export={symbol}" for symbol in exports),
    ]  # fmt: skip
    return _linked("wasm-ld", objects, options, {})


def _linked(
    program: str, objects: Mapping[str, bytes], options: Sequence[str], files: Mapping[str, bytes]
) -> bytes:
    command = linker(program)
    with tempfile.TemporaryDirectory(prefix="fanal-link-") as folder:
        for name, data in {**objects, **files}.items():
            Path(folder, name).write_bytes(data)
        Path(folder, "objects").write_text("\n".join(objects))
        made = subprocess.run(
            [*command, *options, "-o", "made", "@objects"], cwd=folder, capture_output=True, text=True
        )
        if made.returncode != 0:
            said = made.stderr.strip().splitlines()
            raise RuntimeError(message("build", f"{program} failed", "; ".join(said[:4])))
        return Path(folder, "made").read_bytes()
