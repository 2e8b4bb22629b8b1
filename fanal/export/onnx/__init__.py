"""Programs as ONNX models, for other runtimes."""

from fanal.export.onnx.exporting import to_onnx

__all__ = ["to_onnx"]
