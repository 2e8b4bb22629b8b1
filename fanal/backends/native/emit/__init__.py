"""Writing LLVM IR as text, with operators: the small language that every kernel is written in."""

from fanal.backends.native.emit.builder import Builder, Loop
from fanal.backends.native.emit.value import V, constant, element, is_float, vector

__all__ = ["Builder", "Loop", "V", "constant", "element", "is_float", "vector"]
