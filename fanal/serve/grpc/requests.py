"""A ModelInferRequest as what the engine takes: which version, its inputs, which outputs, until when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fanal.serve.elements import refuse_shared_memory
from fanal.serve.engine import Engine
from fanal.serve.errors import invalid
from fanal.serve.grpc.tensors import from_contents, from_raw
from fanal.serve.interface import Function
from fanal.serve.names import NAME, NUMBER
from fanal.serve.version import Version

_MOST_PRIORITY = _MOST_CLASSES = (1 << 31) - 1
_MOST_TIMEOUT = 1 << 53  # microseconds: two hundred years


class Call(NamedTuple):
    """A request that was read. `outputs`: names of those that it asks for; `classes`: of which of them it wants that
    many of the best positions instead of all numbers. `timeout`: seconds that its sender gives it, None where it
    does not say."""

    function: Function
    inputs: Mapping[str, np.ndarray]
    outputs: Sequence[str]
    classes: Mapping[str, int]
    timeout: float | None
    priority: int


def version_of(engine: Engine, name: str, number: str) -> Version:
    """The version that a name and a number (empty: the newest) mean."""
    if name not in engine.models:
        check_name(name)
    if number and not NUMBER.fullmatch(number):
        raise invalid("model_version is no number", repr(number[:40]), "digits, or nothing for the newest")
    return engine.find(name, int(number) if number else None)


def check_name(name: str) -> None:
    """ServeError where no model can be called that."""
    if not NAME.fullmatch(name):
        raise invalid("model_name is no name", repr(name[:40]), "1 to 128 of A-Z a-z 0-9 _ . -")


def read(version: Version, request: Any) -> Call:
    """What a request says, all of it compared with what is wanted; ServeError, which names the field, if not."""
    parameters = request.parameters
    timeout, priority = None, 0
    if parameters:
        microseconds = _whole(parameters, "timeout", _MOST_TIMEOUT)
        timeout = microseconds / 1e6 if microseconds else None
        priority = _whole(parameters, "priority", _MOST_PRIORITY)
    function = version.description.function(None)
    if not request.outputs:
        return Call(function, _inputs(request), tuple(function.outputs), {}, timeout, priority)
    names = function.wanted_outputs([t.name for t in request.outputs])
    return Call(function, _inputs(request), names, _classes(function, request.outputs), timeout, priority)


def _inputs(request: Any) -> dict[str, np.ndarray]:
    tensors, raw = request.inputs, request.raw_input_contents
    if raw and len(raw) != len(tensors):
        raise invalid("raw_input_contents and inputs are not as many", f"{len(raw)} and {len(tensors)}")
    found: dict[str, np.ndarray] = {}
    for i, tensor in enumerate(tensors):
        name = tensor.name
        if name in found:
            raise invalid(f"inputs: {name!r} is there twice")
        if tensor.parameters:
            refuse_shared_memory(tensor.parameters, f"inputs.{name}.parameters")
        if not raw:
            found[name] = from_contents(tensor)
        elif tensor.HasField("contents"):
            raise invalid(f"inputs.{name}.contents stand beside raw_input_contents", None, "one of the two")
        else:
            found[name] = from_raw(tensor, raw[i])
    return found


def _classes(function: Function, tensors: Any) -> dict[str, int]:
    found = {}
    for t in tensors:
        if not t.parameters:
            continue
        where = f"outputs.{t.name}"
        refuse_shared_memory(t.parameters, f"{where}.parameters")
        count = _whole(t.parameters, "classification", _MOST_CLASSES, f"{where}.")
        if not count:
            continue
        port = function.outputs[t.name]
        if not port.shape or port.datatype.name == "BOOL":
            raise invalid(f"{where}.parameters.classification: it has no scores", f"[{', '.join(port.dims)}]")
        found[t.name] = count
    return found


def _whole(parameters: Any, key: str, most: int, where: str = "") -> int:
    """A parameter that is a whole number; 0 where it is not there."""
    if key not in parameters:
        return 0
    parameter = parameters[key]
    kind = parameter.WhichOneof("parameter_choice")
    value = getattr(parameter, kind) if kind in ("int64_param", "uint64_param") else None
    if value is None or not 0 <= value <= most:
        got = kind or "nothing" if value is None else value
        raise invalid(f"{where}parameters.{key} is no number for it", got, f"int64_param of 0 to {most}")
    return value
