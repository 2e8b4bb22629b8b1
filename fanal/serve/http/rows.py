"""TensorFlow Serving's JSON: tensors without shapes and datatypes, which the model's signature has; rows of
several inputs or outputs as objects; `{"b64": …}` for bytes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
import orjson

from fanal.serve.elements import MAX_DIMS
from fanal.serve.errors import invalid
from fanal.serve.http.long import Long
from fanal.serve.http.tensors import from_json, shape_of
from fanal.serve.http.text import Irregular, kind, numbers
from fanal.serve.interface import Function, Port

Arrays = dict[str, np.ndarray]


def from_instances(instances: Any, function: Function) -> Arrays:
    """Row form: a list of values of the only input, or of objects that have them all."""
    if type(instances) is Long:
        port = _only_input(function, "instances")
        array = tensor(instances, port, "instances")
        _check_count(len(array), "instances", function)
        return {port.name: array}
    if type(instances) is not list:
        raise invalid("instances is no list", kind(instances))
    _check_count(len(instances), "instances", function)
    if type(instances[0]) is not dict or _is_bytes(instances[0], function):
        return {(port := _only_input(function, "instances")).name: tensor(instances, port, "instances")}
    found: dict[str, list[Any]] = {name: [] for name in instances[0]}
    for i, row in enumerate(instances):
        if type(row) is not dict:
            raise invalid(f"instances[{i}] is no object", f"{kind(row)} among objects")
        if row.keys() != found.keys():
            raise invalid(f"instances[{i}] has other inputs", ", ".join(row), ", ".join(found))
        for name, value in row.items():
            found[name].append(value)
    return {n: tensor(v, _port(function, n, "instances"), f"instances[…].{n}") for n, v in found.items()}


def from_columns(columns: Any, function: Function) -> Arrays:
    """Columnar form: the only input's tensor, or an object of tensors."""
    if type(columns) is dict and not _is_bytes(columns, function):
        return {n: tensor(v, _port(function, n, "inputs"), f"inputs.{n}") for n, v in columns.items()}
    port = _only_input(function, "inputs")
    return {port.name: tensor(columns, port, "inputs")}


def from_examples(examples: Any, context: Any, function: Function) -> Arrays:
    """Examples for classify and regress: features by name, those of `context` in each of them. A feature is a
    list of numbers, in row-major order if the input has more dimensions, or one number."""
    if type(examples) is not list:
        raise invalid("examples is missing" if examples is None else "examples is no list", None if examples is None else kind(examples))
    _check_count(len(examples), "examples", function)
    if context is None:
        context = {}
    if type(context) is not dict:
        raise invalid("context is no object", kind(context))
    found: dict[str, list[np.ndarray]] = {name: [] for name in function.inputs}
    for i, example in enumerate(examples):
        if type(example) is not dict:
            raise invalid(f"examples[{i}] is no object", kind(example))
        features = {**context, **example}
        for name in features:
            _port(function, name, f"examples[{i}]")
        for name, port in function.inputs.items():
            if name not in features:
                raise invalid(f"examples[{i}].{name} is missing")
            found[name].append(_feature(features[name], port, f"examples[{i}].{name}"))
    stacked: Arrays = {}
    for name, values in found.items():
        if len({v.shape for v in values}) > 1:
            raise invalid(f"examples: {name!r} has not the same size in all of them")
        stacked[name] = np.stack(values)
    return stacked


def _check_count(rows: int, field: str, function: Function) -> None:
    most = None if function.rows is None else function.rows.max
    if not rows or (most is not None and rows > most):
        raise invalid(f"{field} has {rows} rows", None, f"1 to {most}" if most else "1 or more")


def _feature(value: Any, port: Port, field: str) -> np.ndarray:
    rest = port.shape[1:]
    if any(n < 0 for n in rest) or _holds_bytes(value):
        return tensor(value, port, field)
    if type(value) is Long:
        return value.array(port.datatype, rest)
    if type(value) is not list:
        value = [value]
    return from_json(value, port.datatype, rest, field)


def tensor(data: Any, port: Port, field: str) -> np.ndarray:
    """Nested lists as an array of the port's datatype and the shape that they have."""
    if type(data) is Long:
        return data.array(port.datatype)
    if type(data) is list and data and type(data[0]) is Long:  # rows, each of which was cut out
        rows = [tensor(x, port, field) for x in data]
        if len({x.shape for x in rows}) > 1:
            raise Irregular
        return np.stack(rows)
    if _holds_bytes(data):
        return _from_bytes(data, port, field)
    shape = shape_of(data)
    if len(shape) > MAX_DIMS:
        raise invalid(f"{field} has too many dimensions", None, f"at most {MAX_DIMS}")
    if not shape:
        return from_json([data], port.datatype, (1,), field).reshape(())
    return from_json(data, port.datatype, shape, field)


def _holds_bytes(data: Any) -> bool:
    while type(data) is list and data:
        data = data[0]
    return type(data) is dict


def _from_bytes(data: Any, port: Port, field: str) -> np.ndarray:
    shape, leaves = shape_of(data), [data]
    for n in shape:
        if not all(type(v) is list and len(v) == n for v in leaves):
            raise invalid(f"{field} is nested unevenly", None, f"nested as {shape}")
        leaves = list(chain.from_iterable(leaves))
    if port.datatype.name != "UINT8":
        raise invalid(f"{field}: bytes are for inputs of UINT8", None, f"numbers of {port.datatype.name}")
    parts = [_decoded(v, field) for v in leaves]
    if len({len(p) for p in parts}) > 1:
        raise invalid(f"{field}: not all bytes are equally many", ", ".join(sorted({str(len(p)) for p in parts})[:8]))
    return np.frombuffer(bytearray(b"".join(parts)), np.uint8).reshape(*shape, len(parts[0]))


def _decoded(value: Any, field: str) -> bytes:
    text = value.get("b64") if type(value) is dict and len(value) == 1 else None
    if type(text) is not str:
        raise invalid(f"{field} is no value", kind(value), '{"b64": "…"} alone')
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(f"{field}.b64 is no base64") from None


def _is_bytes(value: Mapping[str, Any], function: Function) -> bool:
    return value.keys() == {"b64"} and "b64" not in function.inputs


def _only_input(function: Function, field: str) -> Port:
    if len(function.inputs) != 1:
        raise invalid(f"{field}: {function.name!r} has several inputs", None, f"objects with {', '.join(function.inputs)}")
    return next(iter(function.inputs.values()))


def _port(function: Function, name: str, field: str) -> Port:
    port = function.inputs.get(name)
    if port is None:
        raise invalid(f"{field}: {function.name!r} has no input {name[:80]!r}", None, "", ", ".join(function.inputs))
    return port


# -- answers -----------------------------------------------------------------------------------------


def to_predictions(outputs: Mapping[str, np.ndarray], rows: int) -> bytes:
    """Row form: the only output's rows, or objects of all outputs' rows."""
    for name, array in outputs.items():
        if not array.ndim or array.shape[0] != rows:
            raise invalid(
                f"instances: the output {name!r} does not have a row for each", list(array.shape), f"[{rows}, …]",
                'columns, as {"inputs": …}',
            )  # fmt: skip
    if len(outputs) == 1:
        return numbers(next(iter(outputs.values())))
    names = {name: orjson.dumps(name) for name in outputs}
    lines = (
        b"{%b}" % b",".join(b"%b:%b" % (names[n], numbers(a[i])) for n, a in outputs.items()) for i in range(rows)
    )
    return b"[%b]" % b",".join(lines)


def to_columns(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Columnar form: the only output's tensor, or an object of tensors."""
    if len(outputs) == 1:
        return numbers(next(iter(outputs.values())))
    return b"{%b}" % b",".join(b"%b:%b" % (orjson.dumps(n), numbers(a)) for n, a in outputs.items())


def to_classes(scores: np.ndarray, labels: tuple[str, ...]) -> bytes:
    """Of each example all labels with their scores, in the model's order."""
    names = [orjson.dumps(label) for label in labels]
    rows = (numbers(row)[1:-1].split(b",") for row in scores)
    pairs = (b",".join(b"[%b,%b]" % pair for pair in zip(names, row, strict=True)) for row in rows)
    return b"[%b]" % b",".join(b"[%b]" % p for p in pairs)
