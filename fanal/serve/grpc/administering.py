"""RepositoryIndex, RepositoryModelLoad, RepositoryModelUnload: for those who may administer, where there is a repository."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import grpc
from google.protobuf.json_format import ParseDict

from fanal.serve.errors import ServeError, Status
from fanal.serve.grpc.messages import POOL, response_of
from fanal.serve.grpc.requests import check_name


class Admin(Protocol):
    """What loads and unloads models."""

    def index(self) -> Sequence[Mapping[str, Any]]:
        """What there is: name, version, state, reason, as text."""

    async def load(self, name: str) -> None:
        """Load a model, or its newest version; ServeError if it cannot be."""

    async def unload(self, name: str) -> None:
        """Unload a model after what it has in hand is answered."""


class Administration:
    """The methods."""

    def __init__(self, admin: Admin | None):
        self._admin = admin

    async def index(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        models = [m for m in self._given().index() if not request.ready or m.get("state") == "READY"]
        return ParseDict({"models": models}, response_of("RepositoryIndex")(), ignore_unknown_fields=True, descriptor_pool=POOL)

    async def load(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        admin = self._given()
        check_name(request.model_name)
        if any(key == "config" or key.startswith("file:") for key in request.parameters):
            # No one is to put files on the server by a call, nor to change what its owner has set.
            text = "[load] parameters: models come from the server's repository as they are there."
            raise ServeError(Status.UNIMPLEMENTED, text)
        await admin.load(request.model_name)
        return response_of("RepositoryModelLoad")()

    async def unload(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        admin = self._given()
        check_name(request.model_name)
        await admin.unload(request.model_name)
        return response_of("RepositoryModelUnload")()

    def _given(self) -> Admin:
        if self._admin is None:
            raise ServeError(Status.UNIMPLEMENTED, "[serve] this server's models cannot be loaded or unloaded by calls.")
        return self._admin
