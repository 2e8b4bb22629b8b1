"""TensorFlow Serving's REST: predict, classify, regress, status, metadata."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fanal.serve import reports
from fanal.serve.access import Right
from fanal.serve.engine import Engine, Entry
from fanal.serve.errors import invalid
from fanal.serve.flow.ticket import Answer
from fanal.serve.http.calling import Call, Calls
from fanal.serve.http.infer import check_type
from fanal.serve.http.messages import Request, Response, as_json
from fanal.serve.http.routing import Operation, Route
from fanal.serve.http.rows import (
    Arrays,
    from_columns,
    from_examples,
    from_instances,
    to_classes,
    to_columns,
    to_predictions,
)  # fmt: skip
from fanal.serve.http.text import kind, numbers
from fanal.serve.interface import Function, Port
from fanal.serve.settings import Settings
from fanal.serve.version import Version

# From a request's object and the function that it calls: the inputs, and how the answer is written.
Reader = Callable[[dict[str, Any], Function], tuple[Arrays, Callable[[Answer], Response]]]

_TAG = "TensorFlow Serving"
_OPERATIONS = {
    "predict": Operation(_TAG, "Run a model on rows (instances) or columns (inputs)", "PredictResponse", "PredictRequest"),
    "classify": Operation(_TAG, "Labels and scores of examples", "ClassifyResponse", "ExamplesRequest"),
    "regress": Operation(_TAG, "A number for each example", "RegressResponse", "ExamplesRequest"),
}


def tensorflow_routes(engine: Engine, settings: Settings) -> list[Route]:
    """The paths under /v1."""

    def status(request: Request) -> Response:
        names = request.names
        model, number = names["model"], names.get("version")
        if "label" in names:
            number = str(_named(engine, request).number)
        going = any(v.model == model for v in engine.leaving)
        entry = Entry(model) if going and model not in engine.models else engine.entry(model)
        states = reports.version_states(entry, engine.leaving)
        if number is not None:
            if int(number) not in states:
                engine.find(model, int(number))  # which says what there is
            states = {int(number): states[int(number)]}
        return as_json(reports.model_version_status(states))

    def metadata(request: Request) -> Response:
        return as_json(reports.signature_metadata(_named(engine, request)))

    readers: dict[str, Reader] = {"predict": _predict, "classify": _classify, "regress": _regress}
    handlers = {name: _Call(engine, settings, reader) for name, reader in readers.items()}
    model = "/v1/models/{model}"
    routes: list[Route] = []
    for path in (model, model + "/versions/{version}", model + "/labels/{label}"):
        routes += [
            Route("GET", path, Right.USE, status, operation=Operation(_TAG, "The state of a model's versions", "ModelVersionStatus")),
            Route("GET", path + "/metadata", Right.USE, metadata, operation=Operation(_TAG, "A model's signatures", "SignatureMetadata")),
            *(Route("POST", f"{path}:{name}", Right.USE, h, work=True, operation=_OPERATIONS[name], packed=True) for name, h in handlers.items()),
        ]
    return routes


def _named(engine: Engine, request: Request) -> Version:
    names = request.names
    number = names.get("version")
    return engine.find(names["model"], None if number is None else int(number), names.get("label"))


class _Call(Calls):
    """A handler: one of predict, classify, regress."""

    def __init__(self, engine: Engine, settings: Settings, reader: Reader):
        super().__init__(engine, settings)
        self._reader = reader

    def head(self, request: Request) -> int:
        check_type(request)
        return len(request.body)

    def understood(self, request: Request, value: Any, version: Version) -> Call:
        if type(value) is not dict:
            raise invalid("the request is no JSON object", kind(value))
        name = value.get("signature_name")
        if name is not None and type(name) is not str:
            raise invalid("signature_name is no string", kind(name))
        function = version.description.function(name or None)
        inputs, finish = self._reader(value, function)
        return Call(function, inputs, self.settings.request_timeout, 0, lambda _, answer: finish(answer))


def _predict(head: dict[str, Any], function: Function) -> tuple[Arrays, Callable[[Answer], Response]]:
    if ("instances" in head) == ("inputs" in head):
        both = "both instances and inputs" if "inputs" in head else "neither instances nor inputs"
        raise invalid(f"the request has {both}", None, '{"instances": [a row, …]} or {"inputs": columns}')
    if "inputs" in head:
        return from_columns(head["inputs"], function), _columns
    inputs = from_instances(head["instances"], function)
    return inputs, partial(_predictions, next((len(x) for x in inputs.values()), 0))


def _columns(answer: Answer) -> Response:
    return Response(200, b'{"outputs":%b}' % to_columns(answer.outputs))


def _predictions(rows: int, answer: Answer) -> Response:
    return Response(200, b'{"predictions":%b}' % to_predictions(answer.outputs, rows))


def class_port(function: Function) -> Port | None:
    """The output that says classes: the only one (rows, classes) whose classes have labels."""
    ports = [p for p in function.outputs.values() if len(p.shape) == 2 and p.labels and len(p.labels) == p.shape[1]]
    return ports[0] if len(ports) == 1 else None


def regress_port(function: Function) -> Port | None:
    """The output that is one number for each row: the only one there is."""
    ports = list(function.outputs.values())
    fits = len(ports) == 1 and len(ports[0].shape) in (1, 2) and ports[0].shape[1:] in ((), (1,))
    return ports[0] if fits and ports[0].datatype.numpy.kind in "fV" else None


def _classify(head: dict[str, Any], function: Function) -> tuple[Arrays, Callable[[Answer], Response]]:
    port = class_port(function)
    if port is None:
        raise invalid(
            f"classify: {function.name!r} does not say classes", None, "one output (rows, classes) whose classes have labels",
            "predict",
        )  # fmt: skip
    return from_examples(head.get("examples"), head.get("context"), function), partial(_classes, port)


def _classes(port: Port, answer: Answer) -> Response:
    return Response(200, b'{"result":%b}' % to_classes(answer.outputs[port.name], port.labels))


def _regress(head: dict[str, Any], function: Function) -> tuple[Arrays, Callable[[Answer], Response]]:
    port = regress_port(function)
    if port is None:
        raise invalid(
            f"regress: {function.name!r} does not give one number for each row", None, "one output of floats (rows)",
            "predict",
        )  # fmt: skip
    return from_examples(head.get("examples"), head.get("context"), function), partial(_values, port)


def _values(port: Port, answer: Answer) -> Response:
    return Response(200, b'{"result":%b}' % numbers(answer.outputs[port.name].reshape(-1)))
