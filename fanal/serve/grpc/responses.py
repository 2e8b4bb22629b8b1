"""An answer as a ModelInferResponse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fanal.serve.datatypes import BYTES
from fanal.serve.grpc.messages import ModelInferResponse
from fanal.serve.grpc.requests import Call
from fanal.serve.grpc.tensors import to_text
from fanal.serve.interface import Port
from fanal.serve.version import Version


def response(version: Version, call: Call, found: Mapping[str, np.ndarray], id: str) -> Any:
    """The message of an answer; elements are always raw."""
    made = ModelInferResponse(model_name=version.model, model_version=str(version.number), id=id)
    outputs, raw, ports = made.outputs, made.raw_output_contents, call.function.outputs
    for name in call.outputs:
        array, port = found[name], ports[name]
        if name in call.classes:
            texts, shape = _classes(array, port, call.classes[name])
            outputs.add(name=name, datatype=BYTES, shape=shape)
            raw.append(to_text(texts))
        else:
            outputs.add(name=name, datatype=port.datatype.name, shape=array.shape)
            raw.append(array.tobytes())
    return made


def _classes(array: np.ndarray, port: Port, most: int) -> tuple[list[str], tuple[int, ...]]:
    """The best positions of the last dimension as `score:position:label`, best first."""
    count = array.shape[-1]
    most = min(most, count)
    wide = array if array.dtype.kind in "iu" else array.astype(np.float64)
    texts = []
    for row in wide.reshape(-1, count) if most else ():
        for i in np.argsort(-row if row.dtype.kind == "f" else np.invert(row), kind="stable")[:most]:
            label = f":{port.labels[i]}" if i < len(port.labels) else ""
            score = f"{row[i]:f}" if row.dtype.kind == "f" else str(row[i])
            texts.append(f"{score}:{i}{label}")
    return texts, (*array.shape[:-1], most)
