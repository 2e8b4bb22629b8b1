"""An answer as a ModelInferResponse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fanal.serve.classes import best, packed
from fanal.serve.datatypes import BYTES
from fanal.serve.grpc.messages import ModelInferResponse
from fanal.serve.grpc.requests import Call
from fanal.serve.version import Version


def response(version: Version, call: Call, found: Mapping[str, np.ndarray], id: str) -> Any:
    """The message of an answer; elements are always raw."""
    made = ModelInferResponse(model_name=version.model, model_version=str(version.number), id=id)
    outputs, raw, ports = made.outputs, made.raw_output_contents, call.function.outputs
    for name in call.outputs:
        array, port = found[name], ports[name]
        if name in call.classes:
            texts, shape = best(array, call.classes[name], port.labels, call.function.batched)
            outputs.add(name=name, datatype=BYTES, shape=shape)
            raw.append(packed(texts))
        else:
            outputs.add(name=name, datatype=port.datatype.name, shape=array.shape)
            raw.append(array.tobytes())
    return made
