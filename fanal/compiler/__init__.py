"""Capture: whole functions as native programs. Names as in `torch.compiler`."""

from fanal.compiler.api import (
    allow_in_graph,
    assume_constant_result,
    compile,
    disable,
    is_compiling,
    list_backends,
)
from fanal.compiler.marks import mark_dynamic, mark_static

__all__ = [
    "allow_in_graph", "assume_constant_result", "compile", "disable", "is_compiling", "list_backends",
    "mark_dynamic", "mark_static",
]  # fmt: skip
