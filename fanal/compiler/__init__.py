"""Capture: whole functions as native programs. Names as in `torch.compiler`."""

from fanal.compiler.api import (
    allow_in_graph,
    assume_constant_result,
    compile,
    disable,
    is_compiling,
    list_backends,
)

__all__ = [
    "allow_in_graph", "assume_constant_result", "compile", "disable", "is_compiling", "list_backends",
]  # fmt: skip
