"""What is sent: requests for a model as bytes, made before the clock runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fanal.core.errors import message
from fanal.serve.addresses import address
from fanal.serve.bench import http1
from fanal.serve.bench.connection import Connection, Owner
from fanal.serve.bench.http1 import Http1
from fanal.serve.bench.http2 import Http2
from fanal.serve.client.tensors import binary_request
from fanal.serve.datatypes import BY_DTYPE, DATATYPES

_VARIANTS = 16  # different requests that are sent in turn
_SEED = 7

Arrays = Mapping[str, np.ndarray]


class Target(NamedTuple):
    """Where load goes: host and port, as they stand in a URL, and what every request carries."""

    host: str
    port: int
    secure: bool
    prefix: str
    api_key: str | None

    @property
    def authority(self) -> str:
        return address(self.host, self.port)


def examples(metadata: Mapping[str, Any], rows: int, shapes: Mapping[str, Sequence[int]]) -> list[Arrays]:
    """Inputs by chance for what a model's metadata says: `rows` for the first dimension that is open, 1 for others."""
    chance = np.random.default_rng(_SEED)
    inputs = metadata["inputs"]
    names = [t["name"] for t in inputs]
    for name in shapes:
        if name not in names:
            raise ValueError(message("bench-serve", f"the model has no input {name!r}", None, ", ".join(names)))
    return [{t["name"]: _example(t, rows, shapes, chance) for t in inputs} for _ in range(_VARIANTS)]


def _example(tensor: Mapping[str, Any], rows: int, shapes: Mapping[str, Sequence[int]], chance: np.random.Generator) -> np.ndarray:
    name, datatype = tensor["name"], DATATYPES.get(tensor["datatype"])
    if datatype is None:
        raise ValueError(message("bench-serve", f"no example of {name!r} can be made", tensor["datatype"], "numbers"))
    wanted = [int(n) for n in tensor["shape"]]
    shape = list(shapes.get(name) or (n if n >= 0 else rows if i == 0 else 1 for i, n in enumerate(wanted)))
    if datatype.name.startswith(("FP", "BF")):
        return chance.standard_normal(shape, np.float32).astype(datatype.numpy)
    return chance.integers(0, 2, shape).astype(datatype.numpy)


def maker(target: Target, model: str, protocol: str, samples: Sequence[Arrays]) -> Any:
    """What makes connections that send these."""
    if protocol == "grpc":
        return _grpc(target, model, samples)
    path = f"{target.prefix}/v2/models/{model}/infer"
    headers = {} if target.api_key is None else {"Authorization": f"Bearer {target.api_key}"}
    requests = []
    for sample in samples:
        if protocol == "json":
            extra, body = {"Content-Type": "application/json"}, json_body(sample)
        else:
            extra, body = binary_request(sample)
        requests.append(http1.request(path, target.authority, {**headers, **extra}, body))
    return lambda owner: Http1(requests, owner)


def json_body(sample: Arrays) -> bytes:
    """A v2 request whose numbers are text."""
    inputs = [
        {"name": k, "datatype": BY_DTYPE[v.dtype.name].name, "shape": v.shape, "data": v.ravel().tolist()}
        for k, v in sample.items()
    ]
    return json.dumps({"inputs": inputs}, separators=(",", ":")).encode()


def _grpc(target: Target, model: str, samples: Sequence[Arrays]) -> Any:
    from fanal.serve.grpc.messages import ModelInferRequest

    requests = []
    for sample in samples:
        made = ModelInferRequest(model_name=model)
        for name, array in sample.items():
            made.inputs.add(name=name, datatype=BY_DTYPE[array.dtype.name].name, shape=array.shape)
            made.raw_input_contents.append(array.tobytes())
        requests.append(made.SerializeToString())
    headers = [
        (":method", "POST"), (":scheme", "https" if target.secure else "http"),
        (":path", "/inference.GRPCInferenceService/ModelInfer"), (":authority", target.authority),
        ("te", "trailers"), ("content-type", "application/grpc"),
    ]  # fmt: skip
    if target.api_key is not None:
        headers.append(("authorization", f"Bearer {target.api_key}"))

    def make(owner: Owner) -> Connection:
        return Http2(requests, owner, headers)

    return make
