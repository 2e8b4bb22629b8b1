"""A model or a step leaves Python: captured whole, written to one file, loaded again. Names as in `torch.export`."""

from typing import TYPE_CHECKING, Any

from fanal.export.dims import Dim, dims
from fanal.export.exporting import ExportedProgram, export
from fanal.export.file import load, save
from fanal.export.program import Program, Signature, TensorSpec
from fanal.export.taking import ExportError

__all__ = [
    "Dim", "ExportError", "ExportedProgram", "Program", "Signature", "TensorSpec", "dims", "export", "load",
    "save", "to_onnx",
]  # fmt: skip

if TYPE_CHECKING:
    from fanal.export.onnx import to_onnx


def __getattr__(name: str) -> Any:
    """`to_onnx`, with all that it needs, when somebody asks for it: loading a program takes no time for it."""
    if name != "to_onnx":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fanal.export.onnx import to_onnx

    return to_onnx
