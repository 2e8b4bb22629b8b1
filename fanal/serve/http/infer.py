"""POST /v2/models/{m}/infer: the protocol's requests, as JSON or with the binary extension, and its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import orjson

from fanal.core.errors import message, nearest
from fanal.serve.classes import best, packed
from fanal.serve.datatypes import BYTES, DATATYPES
from fanal.serve.elements import from_bytes, refuse_shared_memory
from fanal.serve.errors import ServeError, Status, invalid
from fanal.serve.flow.ticket import Answer
from fanal.serve.http.calling import Call, Calls
from fanal.serve.http.long import Long
from fanal.serve.http.messages import Request, Response
from fanal.serve.http.tensors import checked_shape, from_json
from fanal.serve.http.text import kind, numbers
from fanal.serve.interface import Function
from fanal.serve.version import Version

_ONLY_BINARY = ("FP16", "BF16")
_NAME = 1024  # characters of an output's name
_LONGEST = 86_400.0  # seconds of a deadline
_JSON_TYPES = ("application/json", "application/octet-stream", "text/plain", "application/x-www-form-urlencoded")


class Wanted(NamedTuple):
    """An output that is to be sent: as binary data or not, and how many classes of it (0: itself)."""

    name: str
    binary: bool
    classes: int


class Infer(Calls):
    """The handler."""

    def head(self, request: Request) -> int:
        check_type(request)
        given = request.headers.get(b"inference-header-content-length")
        return len(request.body) if given is None else _head_size(given, len(request.body))

    def understood(self, request: Request, value: Any, version: Version) -> Call:
        function = version.description.function(None)
        if type(value) is not dict:
            raise invalid("the request is no JSON object", kind(value))
        binary = None
        if b"inference-header-content-length" in request.headers:
            binary = memoryview(request.body)[self.head(request) :]
        parameters = _parameters(value, "")
        outputs = wanted(value, parameters, function)
        return Call(
            function, inputs(value, binary, function), timeout(parameters, self.settings.request_timeout),
            _integer(parameters, "priority", 0, 0, (1 << 32) - 1), partial(written, function, _id(value), outputs),
            not (outputs[0].binary or outputs[0].classes) if len(outputs) == 1 else any(not w.binary and not w.classes for w in outputs),
        )  # fmt: skip


def check_type(request: Request) -> None:
    """Whether a body is of a type that may hold JSON. What curl sends unasked is one."""
    value = request.headers.get(b"content-type")
    if not value or value == b"application/json":
        return
    name = value.decode("latin-1").partition(";")[0].strip().lower()
    if name not in _JSON_TYPES:
        text = message("infer", "Content-Type is of no JSON", repr(name[:60]), "application/json")
        raise ServeError(Status.UNSUPPORTED_MEDIA, text)


def _head_size(given: bytes, there: int) -> int:
    if not given.isdigit() or len(given) > 18:
        raise invalid("Inference-Header-Content-Length is no number", repr(given.decode("latin-1")[:40]))
    size = int(given)
    if size > there:
        raise invalid("Inference-Header-Content-Length is beyond the body", size, f"at most {there}")
    return size


# -- the request's fields ----------------------------------------------------------------------------


def _id(head: Mapping[str, Any]) -> str | None:
    value = head.get("id")
    if value is not None and type(value) is not str:
        raise invalid("id is no string", kind(value))
    return value


def _parameters(of: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    value = of.get("parameters")
    if value is None:
        return {}
    if type(value) is not dict:
        raise invalid(f"{where}parameters is no object", kind(value))
    refuse_shared_memory(value, f"{where}parameters")
    return value


def _integer(parameters: Mapping[str, Any], name: str, default: int, low: int, high: int, where: str = "") -> int:
    value = parameters.get(name, default)
    if type(value) is not int or not low <= value <= high:
        got = value if type(value) is int else kind(value)
        raise invalid(f"{where}parameters.{name} is out of range", got, f"an integer from {low} to {high}")
    return value


def _flag(parameters: Mapping[str, Any], name: str, default: bool, where: str = "") -> bool:
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise invalid(f"{where}parameters.{name} is neither true nor false", kind(value))
    return value


def timeout(parameters: Mapping[str, Any], default: float) -> float:
    """Seconds that the answer is worth waiting for; `timeout` is in microseconds, 0 says nothing."""
    micros = _integer(parameters, "timeout", 0, 0, (1 << 63) - 1)
    return min(micros * 1e-6, _LONGEST) if micros else default


def inputs(head: Mapping[str, Any], binary: memoryview | None, function: Function) -> dict[str, np.ndarray]:
    """The arrays of a request. Nothing is made of inputs that the function does not have, however many are sent."""
    items = head.get("inputs")
    if type(items) is not list:
        raise invalid("inputs is missing" if items is None else "inputs is no list", None if items is None else kind(items))
    found: dict[str, np.ndarray] = {}
    at = 0
    for i, item in enumerate(items):
        where = f"inputs[{i}]"
        if type(item) is not dict:
            raise invalid(f"{where} is no object", kind(item))
        name = item.get("name")
        if type(name) is not str:
            raise invalid(f"{where}.name is no string", kind(name))
        if name in found:
            raise invalid(f"{where}.name is there twice", repr(name))
        if name not in function.inputs:
            meant = nearest(name[:80], function.inputs) or list(function.inputs)[:8]
            raise invalid(f"{where}.name: {function.name!r} has no input {name[:80]!r}", None, "", ", ".join(meant))
        label = item.get("datatype")
        datatype = DATATYPES.get(label) if type(label) is str else None
        if datatype is None:
            if label == BYTES:
                raise invalid(f"{where}.datatype: no model here takes BYTES")
            got = repr(label[:40]) if type(label) is str else kind(label)
            raise invalid(f"{where}.datatype is unknown", got, ", ".join(DATATYPES))
        shape = checked_shape(item.get("shape"), datatype.size, f"{where}.shape")
        parameters = _parameters(item, f"{where}.")
        if "binary_data_size" in parameters:
            size = _integer(parameters, "binary_data_size", 0, 0, 1 << 62, f"{where}.")
            if binary is None:
                raise invalid(f"{where}.parameters.binary_data_size: the header Inference-Header-Content-Length is missing")
            if "data" in item:
                raise invalid(f"{where} has both data and parameters.binary_data_size")
            if at + size > len(binary):
                raise invalid(f"{where}.parameters.binary_data_size is beyond the body", size, f"at most {len(binary) - at}")
            found[name] = from_bytes(binary[at : at + size], datatype, shape, where)
            at += size
            continue
        if "data" not in item:
            raise invalid(f"{where}.data is missing")
        if label in _ONLY_BINARY:
            raise invalid(f"{where}.data: {label} is sent as binary data only", None, "", "parameters.binary_data_size")
        data = item["data"]
        found[name] = data.array(datatype, shape) if type(data) is Long else from_json(data, datatype, shape, f"{where}.data")
    if binary is not None and at != len(binary):
        raise invalid("the body goes on after the last input's data", f"{len(binary) - at} bytes more")
    return found


def wanted(head: Mapping[str, Any], parameters: Mapping[str, Any], function: Function) -> list[Wanted]:
    """The outputs that a request asks for."""
    binary = _flag(parameters, "binary_data_output", False)
    items = head.get("outputs")
    if items is None or items == []:
        found = [Wanted(n, binary, 0) for n in function.outputs]
    elif type(items) is not list:
        raise invalid("outputs is no list", kind(items))
    else:
        # Of more than there are, one is there twice or unknown.
        first = items[: len(function.outputs) + 1]
        found = [_wanted(item, f"outputs[{i}]", binary) for i, item in enumerate(first)]
        function.wanted_outputs([w.name for w in found])
    for w in found:
        datatype = function.outputs[w.name].datatype.name
        if datatype in _ONLY_BINARY and not w.binary and not w.classes:
            raise invalid(
                f"outputs: {w.name!r} is of {datatype}, which is sent as binary data only", None, "",
                f"outputs: [{{name: {w.name}, parameters: {{binary_data: true}}}}]",
            )  # fmt: skip
    return found


def _wanted(item: Any, where: str, binary: bool) -> Wanted:
    if type(item) is not dict:
        raise invalid(f"{where} is no object", kind(item))
    name = item.get("name")
    if type(name) is not str:
        raise invalid(f"{where}.name is no string", kind(name))
    if len(name) > _NAME:
        raise invalid(f"{where}.name is too long", f"{len(name)} characters", f"at most {_NAME}")
    parameters = _parameters(item, f"{where}.")
    classes = _integer(parameters, "classification", 0, 0, 1 << 31, f"{where}.")
    return Wanted(name, _flag(parameters, "binary_data", binary, f"{where}."), classes)


# -- the answer --------------------------------------------------------------------------------------


def written(function: Function, id: str | None, outputs: Sequence[Wanted], version: Version, answer: Answer) -> Response:
    """The response to a call."""
    items: list[bytes] = []
    tail: list[bytes] = []
    for w in outputs:
        port = function.outputs[w.name]
        array = answer.outputs[w.name]
        datatype, shape, raw, data = port.datatype.name, list(array.shape), b"", b""
        if w.classes:
            texts, shape = best(array, w.classes, port.labels, function.batched)
            datatype = BYTES
            if w.binary:
                raw = packed(texts)
            else:
                data = orjson.dumps(texts)
        elif w.binary:
            raw = array.tobytes()
        else:
            data = numbers(array.reshape(-1))
        if w.binary:
            tail.append(raw)
            last = b'"parameters":{"binary_data_size":%d}' % len(raw)
        else:
            last = b'"data":' + data
        items.append(
            b'{"name":%b,"datatype":"%b","shape":%b,%b}'
            % (orjson.dumps(w.name), datatype.encode(), orjson.dumps(shape), last)
        )
    text = b'{"model_name":"%b","model_version":"%d"%b,"outputs":[%b]}' % (
        version.model.encode(), version.number,
        b"" if id is None else b',"id":' + orjson.dumps(id), b",".join(items),
    )  # fmt: skip
    if not any(w.binary for w in outputs):
        return Response(200, text)
    headers = b"content-type: application/octet-stream\r\ninference-header-content-length: %d\r\n" % len(text)
    return Response(200, b"".join((text, *tail)), headers)
