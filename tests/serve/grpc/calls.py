"""Requests without a client library: our own messages, as any other program could send them."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np

from fanal.serve.datatypes import BY_DTYPE
from fanal.serve.grpc.messages import (
    ModelInferRequest,
    ModelInferResponse,
    ModelStreamInferResponse,
)

SERVICE = "/inference.GRPCInferenceService"


def request(model: str = "m", id: str = "", raw: bool = True, **inputs: np.ndarray) -> Any:
    """A request for a model, with these inputs."""
    made = ModelInferRequest(model_name=model, id=id)
    for name, array in inputs.items():
        tensor = made.inputs.add(name=name, datatype=BY_DTYPE[array.dtype.name].name, shape=array.shape)
        if raw:
            made.raw_input_contents.append(array.tobytes())
        else:
            tensor.contents.fp32_contents.extend(array.ravel().tolist())
    return made


def infer(channel: grpc.Channel, message: Any, timeout: float | None = 10, **how: Any) -> Any:
    """ModelInfer; `message`: a request, or bytes of whatever kind."""
    data = message if isinstance(message, bytes) else message.SerializeToString()
    return channel.unary_unary(f"{SERVICE}/ModelInfer", None, ModelInferResponse.FromString)(data, timeout=timeout, **how)


def stream(channel: grpc.Channel, messages: Any, **how: Any) -> Any:
    """ModelStreamInfer."""
    call = channel.stream_stream(f"{SERVICE}/ModelStreamInfer", None, ModelStreamInferResponse.FromString)
    return call((m if isinstance(m, bytes) else m.SerializeToString() for m in messages), **how)


def output(response: Any, i: int = 0) -> np.ndarray:
    """An FP32 output of a response."""
    tensor = response.outputs[i]
    assert tensor.datatype == "FP32"
    return np.frombuffer(response.raw_output_contents[i], np.float32).reshape(tuple(tensor.shape))
