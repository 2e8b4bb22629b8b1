"""What goes over the wire to a server, made before anything is measured, and how its answers are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Request:
    """A POST that is sent as it is."""

    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON))


@dataclass(frozen=True)
class Way:
    """One protocol that a server speaks: a request of one row of `x`, and a row of logits from an answer's
    headers (lower case) and body. Ways of one kind, "json" or "binary", are compared."""

    name: str
    kind: str
    request: Callable[[str, np.ndarray], Request]
    answer: Callable[[dict[str, str], bytes], np.ndarray]


def _v2_path(model: str) -> str:
    return f"/v2/models/{model}/infer"


def _v2_json(model: str, row: np.ndarray) -> Request:
    data = [float(v) for v in row.ravel()]
    head = {"inputs": [{"name": "x", "shape": [1, *row.shape], "datatype": "FP32", "data": data}]}
    return Request(_v2_path(model), json.dumps(head).encode())


def _v2_json_answer(headers: dict[str, str], body: bytes) -> np.ndarray:
    (output,) = json.loads(body)["outputs"]
    return np.array(output["data"], np.float32).ravel()


def _v2_binary(model: str, row: np.ndarray) -> Request:
    raw = row.astype("<f4").tobytes()
    head = {
        "inputs": [{"name": "x", "shape": [1, *row.shape], "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}],
        "outputs": [{"name": "logits", "parameters": {"binary_data": True}}],
    }
    text = json.dumps(head).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(text))}
    return Request(_v2_path(model), text + raw, headers)


def _v2_binary_answer(headers: dict[str, str], body: bytes) -> np.ndarray:
    return np.frombuffer(body[int(headers["inference-header-content-length"]) :], "<f4")


V2_JSON = Way("v2 JSON", "json", _v2_json, _v2_json_answer)
V2_BINARY = Way("v2 binary", "binary", _v2_binary, _v2_binary_answer)
