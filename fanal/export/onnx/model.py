"""The records as an ONNX file: the only place that knows the `onnx` package (extra `fanal[onnx]`)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fanal.core.atomic import write_atomically
from fanal.core.dtypes import DType
from fanal.core.errors import message
from fanal.export.onnx.records import Data, Named, OnnxGraph, OnnxNode

try:
    import onnx
    from onnx import TensorProto, checker, helper
except ImportError as error:  # pragma: no cover - where the extra is not installed
    raise ImportError(
        message("to_onnx", "the package 'onnx' is not installed", hint="pip install 'fanal[onnx]'")
    ) from error

_TYPES = {
    "bool": TensorProto.BOOL, "uint8": TensorProto.UINT8, "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32, "uint64": TensorProto.UINT64, "int8": TensorProto.INT8,
    "int16": TensorProto.INT16, "int32": TensorProto.INT32, "int64": TensorProto.INT64,
    "float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16, "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
}  # fmt: skip
# A protobuf message can't be larger than 2 GiB; this leaves room for the graph.
LIMIT = (1 << 31) - (64 << 20)
# What begins at a multiple of this can be mapped by itself on any system.
ALIGNED = 1 << 16
# Smaller tensors stay in the file: shapes and the like are read when a model is loaded.
SMALL = 1024
OLDEST = 18


def newest() -> int:
    """The newest version of the operators that the installed package knows."""
    return int(onnx.defs.onnx_opset_version())


def write(
    graph: OnnxGraph, path: Path, opset: int, producer: tuple[str, str], doc: str,
    properties: Mapping[str, str], external: bool | None,
) -> None:  # fmt: skip
    """Check a model and write it, with its large tensors in a file beside it if they don't fit (or as
    `external` says)."""
    outside: list[str] = []
    total = sum(len(d.elements) for d in graph.data.values())
    if external or (external is None and total > LIMIT):
        outside = [name for name, d in graph.data.items() if len(d.elements) >= SMALL]
    beside = path.with_name(path.name + ".data")
    places = _places(graph.data, outside)
    model = helper.make_model(
        _graph(graph, beside.name, places), producer_name=producer[0], producer_version=producer[1],
        doc_string=doc, opset_imports=[helper.make_opsetid("", opset)],
    )  # fmt: skip
    model.ir_version = helper.find_min_ir_version_for(model.opset_import)
    helper.set_model_props(model, dict(sorted(properties.items())))
    if not outside:
        checker.check_model(model, full_check=True)
        write_atomically(path, model.SerializeToString(deterministic=True))
        return
    write_atomically(beside, _beside(graph.data, places))
    _write_checked(path, model.SerializeToString(deterministic=True))


def _write_checked(path: Path, data: bytes) -> None:
    """Write a file that refers to another: what lies beside it can be checked only from where it is."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}.onnx")
    try:
        write_atomically(temporary, data)
        checker.check_model(str(temporary), full_check=True)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _places(data: Mapping[str, Data], names: Sequence[str]) -> dict[str, int]:
    """Where tensors begin in the file beside the model."""
    found, at = {}, 0
    for name in names:
        found[name] = at
        at += -(-len(data[name].elements) // ALIGNED) * ALIGNED
    return found


def _beside(data: Mapping[str, Data], places: Mapping[str, int]) -> bytes:
    content = bytearray()
    for name, at in places.items():
        content += bytes(at - len(content))
        content += data[name].elements
    return bytes(content)


def _graph(graph: OnnxGraph, beside: str, places: Mapping[str, int]) -> Any:
    return helper.make_graph(
        [_node(n) for n in graph.nodes], graph.name, [_value(v) for v in graph.inputs],
        [_value(v) for v in graph.outputs],
        [_tensor(name, d, beside, places.get(name)) for name, d in graph.data.items()],
    )  # fmt: skip


def _value(v: Named) -> Any:
    return helper.make_tensor_value_info(v.name, _TYPES[v.dtype.name], list(v.dims))


def _tensor(name: str, data: Data, beside: str, at: int | None) -> Any:
    made = TensorProto(name=name, data_type=_TYPES[data.dtype.name], dims=data.dims)
    if at is None:
        made.raw_data = data.elements
        return made
    made.data_location = TensorProto.EXTERNAL
    entries = {"location": beside, "offset": str(at), "length": str(len(data.elements))}
    for key, value in entries.items():
        made.external_data.add(key=key, value=value)
    return made


def _node(n: OnnxNode) -> Any:
    made = helper.make_node(n.op, n.inputs, n.outputs, name=n.outputs[0], doc_string=n.doc or None)
    made.attribute.extend(_attribute(key, value) for key, value in sorted(n.attributes.items()))
    return made


def _attribute(name: str, value: Any) -> Any:
    if isinstance(value, OnnxGraph):
        return helper.make_attribute(name, _graph(value, "", {}))
    if isinstance(value, DType):
        return helper.make_attribute(name, _TYPES[value.name])
    if isinstance(value, list):  # of texts
        return helper.make_attribute(name, value)
    if isinstance(value, tuple):
        kind = onnx.AttributeProto.INTS  # also of an empty one, whose kind can't be seen
        return helper.make_attribute(name, [int(n) for n in value], attr_type=kind)
    return helper.make_attribute(name, value)
