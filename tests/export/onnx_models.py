"""Programs as ONNX models, and what ONNX's runtimes make of them."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator

from fanal.core import pytree
from fanal.export.dims import DimSymbols
from fanal.export.onnx import to_onnx
from fanal.export.program import Place, Program, Signature, TensorSpec
from fanal.graph import Graph

onnxruntime.set_default_logger_severity(3)
_MISSING = ("NOT_IMPLEMENTED", "Could not find an implementation")


def program_of(graph: Graph, name: str = "case") -> Program:
    """A program of one function without state: inputs x0, x1, …, outputs y0, y1, …."""
    inputs = [TensorSpec(f"x{i}", v.dtype, v.shape) for i, v in enumerate(graph.inputs)]
    outputs = [TensorSpec(f"y{i}", v.dtype, v.shape) for i, v in enumerate(graph.outputs)]
    _, structure = pytree.flatten(([0] * len(inputs), {}))
    _, given = pytree.flatten([0] * len(outputs))
    one = Signature(
        "forward", graph, tuple(Place("input", s.name) for s in inputs),
        tuple(Place("output", s.name) for s in outputs), tuple(inputs), tuple(outputs), structure, given,
    )  # fmt: skip
    return Program(name, DimSymbols(), (), {}, {"forward": one}, {})


def run(path: Path, arrays: dict[str, np.ndarray], reference: bool = False) -> list[np.ndarray]:
    """The outputs of a model by ONNX Runtime; by the standard's own reference where that has no kernel for
    a dtype that the standard has."""
    model = onnx.load(str(path))
    values = [*model.graph.input, *model.graph.output]
    half = any(v.type.tensor_type.elem_type == onnx.TensorProto.BFLOAT16 for v in values)
    if not reference and not half:
        try:
            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:
            if not any(m in str(error) for m in _MISSING):
                raise
        else:
            return session.run(None, arrays)
    if half and not reference:
        return _run_bfloat16(path, arrays)
    return ReferenceEvaluator(str(path)).run(None, arrays)


def _run_bfloat16(path: Path, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """ONNX Runtime takes bfloat16 as its own values, not as NumPy's arrays."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name, array in arrays.items():
        if array.dtype.name == "bfloat16":
            value = onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(
                np.asarray(array, order="C").view(np.uint16), onnx.TensorProto.BFLOAT16
            )
        else:
            value = onnxruntime.OrtValue.ortvalue_from_numpy(np.asarray(array, order="C"))
        binding.bind_ortvalue_input(name, value)
    for out in session.get_outputs():
        binding.bind_output(out.name)
    session.run_with_iobinding(binding)
    return [_array(v) for v in binding.get_outputs()]


def _array(value: Any) -> np.ndarray:
    if "bfloat16" not in value.data_type():
        return value.numpy()
    shape = value.shape()
    count = int(np.prod(shape))
    raw = (ctypes.c_uint16 * count).from_address(value.data_ptr()) if count else []
    return np.array(raw, np.uint16).view(ml_dtypes.bfloat16).reshape(shape)



def written(graph: Graph, folder: Path, **options: Any) -> Path:
    """A graph as a model on disk."""
    path = folder / "case.onnx"
    to_onnx(program_of(graph), path, **options)
    return path


def results(graph: Graph, folder: Path, arrays: list[np.ndarray], **options: Any) -> list[np.ndarray]:
    """What a runtime makes of a graph's model for these arrays."""
    return run(written(graph, folder, **options), {f"x{i}": a for i, a in enumerate(arrays)})
