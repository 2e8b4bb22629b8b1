"""A model or a step leaves Python: captured whole, written to one file, loaded again. Names as in `torch.export`."""

from fanal.export.dims import Dim, dims
from fanal.export.exporting import ExportedProgram, export
from fanal.export.file import load, save
from fanal.export.program import Program, Signature, TensorSpec
from fanal.export.taking import ExportError

__all__ = [
    "Dim", "ExportError", "ExportedProgram", "Program", "Signature", "TensorSpec", "dims", "export", "load",
    "save",
]  # fmt: skip
