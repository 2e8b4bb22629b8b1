"""An answer as a ModelInferResponse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fanal.serve.datatypes import BYTES
from fanal.serve.errors import invalid
from fanal.serve.grpc.messages import ModelInferResponse
from fanal.serve.grpc.requests import Wanted
from fanal.serve.grpc.tensors import to_text
from fanal.serve.interface import Function, Port
from fanal.serve.version import Version


def check_classes(function: Function, outputs: Sequence[Wanted]) -> None:
    """ServeError where an output has no positions to choose the best of."""
    for w in outputs:
        port = function.outputs[w.name]
        if w.classes and (not port.shape or port.datatype.name == "BOOL"):
            raise invalid(f"outputs.{w.name}.parameters.classification: it has no scores", f"[{', '.join(port.dims)}]")


def response(version: Version, function: Function, wanted: Sequence[Wanted], found: Mapping[str, np.ndarray], id: str) -> Any:
    """The message of an answer; elements are always raw."""
    made = ModelInferResponse(model_name=version.model, model_version=str(version.number), id=id)
    for name, classes in wanted:
        array, port = found[name], function.outputs[name]
        if classes:
            texts, shape = _classes(array, port, classes)
            made.outputs.add(name=name, datatype=BYTES, shape=shape)
            made.raw_output_contents.append(to_text(texts))
        else:
            made.outputs.add(name=name, datatype=port.datatype.name, shape=array.shape)
            made.raw_output_contents.append(array.tobytes())
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
