"""Arrays as v2 requests with binary tensors, and answers as arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fanal.core.errors import message
from fanal.serve.datatypes import BY_DTYPE, BYTES, DATATYPES
from fanal.tensor.interop import as_array
from fanal.tensor.tensor import Tensor

HEAD_LENGTH = "Inference-Header-Content-Length"


def binary_request(
    inputs: Mapping[str, np.ndarray], outputs: Sequence[str] = (), parameters: Mapping[str, Any] | None = None,
    id: str | None = None,
) -> tuple[dict[str, str], bytes]:  # fmt: skip
    """Headers and body: a JSON head, then the elements of each input. All outputs are asked for in the same form."""
    described, parts = [], []
    for name, array in inputs.items():
        data = array.tobytes()
        described.append({
            "name": name, "shape": array.shape, "datatype": BY_DTYPE[array.dtype.name].name,
            "parameters": {"binary_data_size": len(data)},
        })  # fmt: skip
        parts.append(data)
    head: dict[str, Any] = {} if id is None else {"id": id}
    head["parameters"] = {**(parameters or {}), "binary_data_output": True}
    head["inputs"] = described
    if outputs:
        head["outputs"] = [{"name": name} for name in outputs]
    text = json.dumps(head, separators=(",", ":")).encode()
    headers = {"Content-Type": "application/octet-stream", HEAD_LENGTH: str(len(text))}
    return headers, b"".join((text, *parts))


def outputs_of(body: bytes, head_length: str | None) -> dict[str, np.ndarray]:
    """An answer's outputs by name; ValueError where they are not what its head says."""
    end = len(body) if head_length is None else int(head_length)
    if not 0 <= end <= len(body):
        raise _wrong("a head that is longer than the answer")
    found, at = {}, end
    for tensor in json.loads(body[:end])["outputs"]:
        size = tensor.get("parameters", {}).get("binary_data_size")
        if size is None:
            found[tensor["name"]] = _from_list(tensor)
            continue
        if not 0 <= size <= len(body) - at:
            raise _wrong(f"output {tensor['name']!r} is cut off")
        found[tensor["name"]] = _from_bytes(tensor, body[at : at + size])
        at += size
    return found


def array_of(value: Any, datatype: str | None) -> np.ndarray:
    """A caller's value as an array; `datatype`: the protocol's name of what lists of numbers become."""
    if isinstance(value, Tensor):
        array = as_array(value)
    elif hasattr(value, "__array__"):
        array = np.asarray(value)
    else:
        kind = DATATYPES.get(datatype or "")
        array = np.asarray(value, None if kind is None else kind.numpy)
    if array.dtype.name not in BY_DTYPE:
        raise TypeError(message("infer", "no such elements can be sent", array.dtype.name, ", ".join(BY_DTYPE)))
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _from_bytes(tensor: Mapping[str, Any], data: bytes) -> np.ndarray:
    shape = tuple(tensor["shape"])
    if tensor["datatype"] == BYTES:
        return np.array(_texts(data), object).reshape(shape)
    return np.frombuffer(data, DATATYPES[tensor["datatype"]].numpy).reshape(shape)


def _from_list(tensor: Mapping[str, Any]) -> np.ndarray:
    kind = object if tensor["datatype"] == BYTES else DATATYPES[tensor["datatype"]].numpy
    return np.array(tensor["data"], kind).reshape(tuple(tensor["shape"]))


def _texts(data: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        found.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return found


def _wrong(what: str) -> ValueError:
    return ValueError(message("infer", "the server's answer cannot be read", what))
