"""The repository's routes, for the admin listener: what is there, load, unload.

Requests name models, never files: where a model comes from was said when the server was started.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from fanal.serve.access import Right
from fanal.serve.errors import invalid
from fanal.serve.http.infer import check_type
from fanal.serve.http.messages import Request, Response, as_json
from fanal.serve.http.routing import Operation, Route
from fanal.serve.http.text import kind, parsed
from fanal.serve.settings import Settings


class Repository(Protocol):
    """What can load and unload models by their names; ServeError where it can't."""

    def index(self) -> Sequence[dict[str, Any]]:
        """The models there are, loaded or not: {"name", "version"?, "state"?, "reason"?}; a state is one of
        READY, UNAVAILABLE, LOADING, UNLOADING."""

    async def load(self, name: str) -> None:
        """Load a model, or load it anew; it answers when this returns."""

    async def unload(self, name: str) -> None:
        """Take a model away; its memory is given back when this returns."""


_INDEX = Operation("Repository", "The models there are", "RepositoryIndex", "RepositoryIndexRequest", False)
_LOAD = Operation("Repository", "Load a model, or load it anew", "Nothing", "RepositoryRequest", False)
_UNLOAD = Operation("Repository", "Take a model away", "Nothing", "RepositoryRequest", False)


def repository_routes(repository: Repository, settings: Settings) -> list[Route]:
    """The routes of the admin listener."""

    def read(request: Request) -> dict[str, Any]:
        check_type(request)
        head = parsed(request.body, settings.max_depth) if request.body else {}
        if type(head) is not dict:
            raise invalid("the request is no JSON object", kind(head))
        return head

    def index(request: Request) -> Response:
        ready = read(request).get("ready", False)
        if type(ready) is not bool:
            raise invalid("ready is neither true nor false", kind(ready))
        return as_json([m for m in repository.index() if not ready or m.get("state") == "READY"])

    async def load(request: Request) -> Response:
        parameters = read(request).get("parameters")
        if parameters:
            # A configuration or files within a request: what is served was said when the server was started.
            raise invalid("parameters of load are not taken here", None, "", "a manifest in the repository")
        await repository.load(request.names["model"])
        return as_json({})

    async def unload(request: Request) -> Response:
        read(request)
        await repository.unload(request.names["model"])
        return as_json({})

    model = "/v2/repository/models/{model}"
    return [
        Route("POST", "/v2/repository/index", Right.ADMIN, index, operation=_INDEX),
        Route("POST", model + "/load", Right.ADMIN, load, operation=_LOAD),
        Route("POST", model + "/unload", Right.ADMIN, unload, operation=_UNLOAD),
    ]
