"""The OpenAPI 3.1 document, made from the table of routes and the models that are loaded.

Paths with `{model}` say what any model takes; beside them stand the paths of each model, whose bodies are described
to the last dimension, so that programs can be made, and tests be run, from the document alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from fanal.core.errors import message
from fanal.serve.access import Right
from fanal.serve.engine import Engine
from fanal.serve.http.routing import Operation, Route
from fanal.serve.http.schemas import NAME, SCHEMAS, Schema, ref
from fanal.serve.http.typed import typed_paths
from fanal.version import __version__

_PLACES: dict[str, Schema] = {
    "model": {"schema": NAME, "description": "a model's name"},
    "version": {"schema": {"type": "string", "pattern": "^[0-9]{1,18}$"}, "description": "a version's number"},
    "label": {"schema": NAME, "description": "a label of a version"},
}
_TITLES = {
    "4XX": "What is wrong with the request. 429: try again after the seconds in Retry-After.",
    "5XX": "Why there is no answer. 503: try again after the seconds in Retry-After; 504: the deadline passed.",
}


def document(routes: Iterable[Route], engine: Engine, keys: bool) -> dict[str, Any]:
    """The document. `keys`: whether requests must bring one."""
    paths: dict[str, dict[str, Any]] = {}
    by_path: dict[tuple[str, str], Operation] = {}
    for route in routes:
        if route.operation is None:
            continue
        by_path[route.method, route.path] = route.operation
        found = operation(route.operation, route.method, route.path, keys and route.right is not Right.HEALTH)
        paths.setdefault(route.path, _item(route.path))[route.method.lower()] = found
    for path, summary, body in typed_paths(engine):
        generic = _generic(path, by_path)
        if generic is not None:
            found = operation(generic, "POST", path, keys)
            found["requestBody"]["content"] = {"application/json": {"schema": body}}
            paths[path] = {"post": {**found, "summary": summary}}
    components: dict[str, Any] = {"schemas": SCHEMAS}
    if keys:
        components["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Fanal", "version": __version__, "description": "Models behind standard protocols."},
        "paths": paths,
        "components": components,
    }


def operation(of: Operation, method: str, path: str, keys: bool) -> dict[str, Any]:
    """An operation's entry."""
    found: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{method.lower()} {path}").strip("_"),
        "tags": [of.tag],
        "summary": of.summary,
        "responses": {
            "200": {"description": of.summary, "content": _content(of.answer)},
            **{str(n): {"description": of.summary, "content": _content(name)} for n, name in of.answers.items()},
            **{n: {"description": text, "content": _content("Error")} for n, text in _TITLES.items()},
        },
    }
    if of.description:
        found["description"] = of.description
    if of.body is not None:
        found["requestBody"] = {"required": of.body_needed, "content": _content(of.body)}
    if of.body == "InferRequest":
        binary = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        found["requestBody"]["content"].update(binary)
        found["responses"]["200"]["content"].update(binary)
    if keys:
        found["security"] = [{"bearer": []}, {"key": []}]
    return found


def _content(name: str) -> dict[str, Any]:
    if "/" in name:
        return {name: {"schema": {"type": "string"}}}
    return {"application/json": {"schema": ref(name)}}


def _item(path: str) -> dict[str, Any]:
    # Without examples: a body that is right for any model is wrong for most, and each has paths of its own.
    places = [{"name": n, "in": "path", "required": True, **_PLACES[n]} for n in re.findall(r"\{(\w+)\}", path)]
    return {"parameters": places} if places else {}


def _generic(path: str, known: dict[tuple[str, str], Operation]) -> Operation | None:
    """The operation of the route that a model's own path goes to."""
    for place in ("/v2/models/{model}/infer", "/v1/models/{model}:predict", "/v1/models/{model}:classify", "/v1/models/{model}:regress"):
        if re.fullmatch(place.replace("{model}", "[^/:]+"), path):
            return known.get(("POST", place))
    raise LookupError(message("openapi", "a path that no route has", path))
