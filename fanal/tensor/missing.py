"""Names that are not there: submodules loaded on first use, and errors that name what is near."""

from __future__ import annotations

import importlib
import sys

from fanal.core.errors import nearest

SUBMODULES = (
    "autograd", "data", "export", "linalg", "nn", "optim", "random", "special", "utils", "cuda",
    "backends", "testing", "serialization",
)


def find(name: str) -> object:
    """A submodule of fanal, or AttributeError with the nearest names."""
    if name in SUBMODULES:
        try:
            return importlib.import_module(f"fanal.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"fanal.{name}":
                raise
    public = [n for n in dir(sys.modules["fanal"]) if not n.startswith("_")]
    near = nearest(name, public)
    text = f"module 'fanal' has no attribute {name!r}"
    if near:
        text += f". Nearest: {', '.join(near)}"
    raise AttributeError(text)
