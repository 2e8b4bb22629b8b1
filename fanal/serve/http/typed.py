"""Schemas of what one model takes, to the last dimension.

Only models whose inputs are open in their rows alone have them: what holds between other sizes, JSON's schemas
cannot say. Nor do models of integers: to a schema 1.0 is an integer, here it is a float; nor models whose rows have
more numbers than those who make requests from schemas can think of.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from fanal.serve.datatypes import Datatype
from fanal.serve.engine import Engine
from fanal.serve.http.schemas import PARAMETERS, Schema, listed, record
from fanal.serve.http.tensorflow import class_port, regress_port
from fanal.serve.interface import Function, Port

_ONLY_BINARY = ("FP16", "BF16")
_MOST = 512  # numbers of a request; Hypothesis, for one, gives up at about eight kilobytes


def typed_paths(engine: Engine) -> Iterator[tuple[str, str, Schema]]:
    """Paths of the models that are ready, what they do, and the schemas of their bodies."""
    for name in sorted(engine.models):
        entry = engine.models[name]
        ready = entry.ready()
        if not ready:
            continue
        function = entry.versions[ready[-1]].description.function(None)
        rows = function.rows
        if rows is None or not all(_can_say(p) for p in function.inputs.values()):
            continue
        if max(1, rows.min) * sum(math.prod(p.shape[1:]) for p in function.inputs.values()) > _MOST:
            continue
        if not any(p.datatype.name in _ONLY_BINARY for p in (*function.inputs.values(), *function.outputs.values())):
            yield f"/v2/models/{name}/infer", f"Run {name} on {max(1, rows.min)} rows", _infer(function, max(1, rows.min))
        many = {"minItems": max(1, rows.min), **({} if rows.max is None else {"maxItems": rows.max})}
        yield f"/v1/models/{name}:predict", f"Run {name} on rows", _predict(function, many)
        if class_port(function) is not None:
            yield f"/v1/models/{name}:classify", f"Labels and scores by {name}", _examples(function, many)
        if regress_port(function) is not None:
            yield f"/v1/models/{name}:regress", f"Numbers by {name}", _examples(function, many)


def _can_say(port: Port) -> bool:
    return port.datatype.numpy.kind not in "iu" and all(n >= 0 for n in port.shape[1:])


# Where numbers begin to be rounded to infinity.
_BEYOND = {"FP16": 65520.0, "BF16": 3.3961775292304601e38, "FP32": 3.4028235677973366e38}


def _number(datatype: Datatype) -> Schema:
    if datatype.name == "BOOL":
        return {"type": "boolean"}
    if datatype.name not in _BEYOND:
        return {"type": "number"}
    most = _BEYOND[datatype.name]
    return {"type": "number", "exclusiveMinimum": -most, "exclusiveMaximum": most}


def _nested(datatype: Datatype, shape: tuple[int, ...]) -> Schema:
    found = _number(datatype)
    for n in reversed(shape):
        found = listed(found, minItems=n, maxItems=n)
    return found


def _infer(function: Function, rows: int) -> Schema:
    inputs = [_input(p, rows) for p in function.inputs.values()]
    count = len(inputs)
    shape = {"items": inputs[0]} if count == 1 else {"prefixItems": inputs, "items": False}
    return record(
        "inputs", id={"type": ["string", "null"]}, parameters=PARAMETERS,
        inputs={"type": "array", "minItems": count, "maxItems": count, **shape},
    )  # fmt: skip


def _input(port: Port, rows: int) -> Schema:
    shape = (rows, *port.shape[1:])
    count = int(np.prod(shape))
    return record(
        "name shape datatype data", name={"const": port.name}, shape={"const": list(shape)}, datatype={"const": port.datatype.name},
        data=listed(_number(port.datatype), minItems=count, maxItems=count),
    )  # fmt: skip


def _predict(function: Function, many: Schema) -> Schema:
    ports = list(function.inputs.values())
    if len(ports) == 1:
        row = _nested(ports[0].datatype, ports[0].shape[1:])
    else:
        row = {**record(" ".join(p.name for p in ports), **{p.name: _nested(p.datatype, p.shape[1:]) for p in ports}), "additionalProperties": False}
    return record("instances", instances=listed(row, **many))


def _feature(port: Port) -> Schema:
    number, count = _number(port.datatype), int(np.prod(port.shape[1:]))
    many = listed(number, minItems=count, maxItems=count)
    return {"anyOf": [number, many]} if count == 1 else many


def _examples(function: Function, many: Schema) -> Schema:
    ports = list(function.inputs.values())
    features = {p.name: _feature(p) for p in ports}
    example = {**record(" ".join(features), **features), "additionalProperties": False}
    return record("examples", examples=listed(example, **many))
